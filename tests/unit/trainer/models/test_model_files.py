"""Files that are no Keras model: each is told what it is and what to do."""

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
        ("m.h5", HDF5 + b"model_config", "is a model in Keras' older format. Make a .keras file"),
        ("m.keras", HDF5 + b"model_config", "is an HDF5 file: name it m.h5"),
        ("m.weights.h5", HDF5, "holds weights without their network"),
        ("m.keras", b"", "is empty"),
        ("m.keras", b"PK\3\4" + bytes(100), "is cut off or damaged"),
        ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(100), "is a TensorFlow Lite model"),
        ("m.keras", b"\x1c\0\0\0TFL3" + bytes(100), "is a TensorFlow Lite model"),
        ("m.onnx", b"\x08\x07\x12\x07pytorch", "is an ONNX model"),
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
        ("m.keras", b"something else", "is no Keras file, which is a zip archive"),
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


def test_a_savedmodel_of_keras_2_gets_a_program(tmp_path: Path) -> None:
    write(tmp_path / "saved" / "saved_model.pb", b"graph")
    assert "a graph without its layers" in str(find_obstacle(tmp_path / "saved"))
    write(tmp_path / "saved" / "keras_metadata.pb", b"layers")
    assert "tf_keras.models.load_model" in str(find_obstacle(tmp_path / "saved"))
    assert "name the .keras file" in str(find_obstacle(tmp_path))


def test_archives_of_others_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    assert find_obstacle(pack(path, "config.json", "metadata.json")) is None
    assert "is a PyTorch model" in str(find_obstacle(pack(path, "m/data.pkl")))
    assert "has no config.json" in str(find_obstacle(pack(path, "word.xml")))
    assert "with 'a/b.keras' in it: unpack it" in str(find_obstacle(pack(path, "a/b.keras")))


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    assert find_obstacle(tmp_path / "m.h5") == f"There is no file {tmp_path / 'm.h5'} to import."


def test_sentences_fit_a_terminal(tmp_path: Path) -> None:
    write(tmp_path / "saved" / "saved_model.pb", b"graph")
    write(tmp_path / "saved" / "keras_metadata.pb", b"layers")
    told = str(find_obstacle(tmp_path / "saved")).replace(str(tmp_path), "folder")
    assert max(len(line) for line in told.splitlines()[1:]) <= 80
