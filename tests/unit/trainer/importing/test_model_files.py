"""Files that are no model to import: each is told what it is and what to do."""

import zipfile
from pathlib import Path

import pytest

from trainer.importing.model_files import find_obstacle


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pack(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return path


HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(1000)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m.keras", HDF5 + b"model_config", "is an HDF5 file: name it m.h5"),
        ("m.weights.h5", HDF5, "holds weights without their network"),
        ("m.keras", b"", "is empty"),
        ("m.keras", b"PK\3\4" + bytes(100), "is cut off or damaged"),
        ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(100), "is a TensorFlow Lite model"),
        ("m.keras", b"\x1c\0\0\0TFL3" + bytes(100), "is a TensorFlow Lite model"),
        ("m.pt", b"\x80\x02\x8a\nl\xfc", "is a PyTorch model"),
        ("m.pth", b"\x80\x02\x8a\nl\xfc", "is a PyTorch model"),
        ("m.pkl", b"\x80\x04cos\nsystem\n", "is pickled, which is code"),
        ("m.keras", b"\x80\x04cos\nsystem\n", "is pickled, which is code"),
        ("m.joblib", b"\x80\x03cos\nsystem\n", "is pickled, which is code"),
        ("m.pb", b"\x08\x01\x12", "is a TensorFlow graph"),
        ("m.safetensors", b"\x08\0\0\0\0\0\0\0{}", "is a file of weights"),
        ("m.keras", b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
        ("m.keras", b"\n<!DOCTYPE html><html>", "is a web page"),
        ("m.json", b'{"class_name": "Sequential"}', "is a network without its weights"),
        ("m.keras.gz", b"\x1f\x8b\x08\0", "is compressed: unpack it first"),
        ("m.keras", b"something else", "is no model that is known here"),
    ],
)
def test_a_file_is_told_what_it_is(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    path = write(tmp_path / name, content)
    told = find_obstacle(path)
    assert told is not None
    assert told.startswith(f"{path} ")
    assert sentence in told


def test_what_can_be_opened_has_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path / "saved" / "saved_model.pb", b"graph")
    assert find_obstacle(tmp_path / "saved") is None
    assert find_obstacle(write(tmp_path / "m.h5", HDF5 + b"model_config")) is None
    assert find_obstacle(write(tmp_path / "m.onnx", b"\x08\x07\x12\x07pytorch")) is None
    assert "name the model's file in it" in str(find_obstacle(tmp_path))


def test_archives_of_others_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    assert find_obstacle(pack(path, "config.json", "metadata.json")) is None
    assert "is a PyTorch model" in str(find_obstacle(pack(path, "m/data.pkl")))
    assert "has no config.json" in str(find_obstacle(pack(path, "word.xml")))
    assert "with 'a/b.keras' in it: unpack it" in str(find_obstacle(pack(path, "a/b.keras")))


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    assert find_obstacle(tmp_path / "m.h5") == f"There is no file {tmp_path / 'm.h5'} to import."
