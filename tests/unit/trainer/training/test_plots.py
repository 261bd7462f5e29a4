"""The pictures beside a model: they show what they should, whatever the labels and shapes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.confusion import Evaluation
from storage.datasets.store import DataSet, DatasetStore
from tests.processes import REPOSITORY
from trainer.datasets.arrays import LabelledArrays, LabelledImages
from trainer.training.drawing import WRONG_COLOUR, confusion_picture, image_grid, shorten
from trainer.training.plots import draw_curves, draw_pictures, draw_predictions
from trainer.training.progress import EpochReport

ORANGE = tuple(int(WRONG_COLOUR[i : i + 2], 16) for i in (1, 3, 5))
CLASSES = ("a", "b", "c")


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path, formats=["PNG"]) as image:
        image.load()
        return np.asarray(image.convert("RGB"))


def title_of(path: Path) -> str:
    with Image.open(path, formats=["PNG"]) as image:
        return str(image.info["Title"])


def share_of(colour: Sequence[int], path: Path) -> float:
    return float((pixels_of(path) == colour).all(axis=-1).mean())


def history(epochs: int = 3) -> list[EpochReport]:
    return [
        EpochReport(
            epoch=i + 1,
            epochs=epochs,
            accuracy=0.5 + 0.1 * i,
            val_accuracy=0.6 + 0.1 * i,
            loss=2.0 / (i + 1),
            val_loss=1.5 / (i + 1),
            seconds=1.0,
        )
        for i in range(epochs)
    ]


def dataset(store: DatasetStore, channels: int = 1, count: int = 12) -> DataSet:
    random = np.random.default_rng(1)
    part = LabelledImages(
        images=random.integers(0, 256, (count, 6, 5, channels), np.uint8),
        labels=np.arange(count) % 3,
    )
    arrays = LabelledArrays(train=part, test=part, classes=CLASSES, origin="here")
    return arrays.save(store, "small")


def test_mistakes_are_orange_and_right_answers_are_not(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.png", tmp_path / "wrong.png"
    confusion_picture(Evaluation(labels=("a", "b"), confusion=((9, 0), (0, 9))), right, "right")
    confusion_picture(Evaluation(labels=("a", "b"), confusion=((0, 9), (9, 0))), wrong, "wrong")
    assert share_of(ORANGE, right) == 0
    assert share_of(ORANGE, wrong) > 0.1


@pytest.mark.parametrize(
    "labels",
    [
        ["only"],
        ["$x^", "_y$"],
        ["猫", "狗"],
        ["a very long name of a class indeed", "b"],
        [f"class {i}" for i in range(120)],
    ],
    ids=["one", "markup", "chinese", "long", "many"],
)
def test_any_labels_make_a_confusion_picture(tmp_path: Path, labels: list[str]) -> None:
    matrix = np.eye(len(labels), dtype=np.int64)
    confusion_picture(Evaluation.from_matrix(labels, matrix), tmp_path / "c.png", "$title")
    height, width, _ = pixels_of(tmp_path / "c.png").shape
    assert min(height, width) > 250
    assert max(height, width) < 2200


def test_a_matrix_without_a_single_image_is_drawn(tmp_path: Path) -> None:
    empty = np.zeros((3, 3), np.int64)
    confusion_picture(Evaluation.from_matrix(CLASSES, empty), tmp_path / "c.png", "nothing")
    assert share_of(ORANGE, tmp_path / "c.png") == 0


def test_wrong_images_are_marked_in_the_grid(tmp_path: Path) -> None:
    images = [np.zeros((8, 8, 1), np.uint8)] * 7
    captions = [str(i) for i in range(7)]
    for name, wrong in (("none", [False] * 7), ("one", [True] + [False] * 6), ("all", [True] * 7)):
        image_grid(images, captions, wrong, tmp_path / f"{name}.png", "grid")
    shares = [share_of(ORANGE, tmp_path / f"{name}.png") for name in ("none", "one", "all")]
    assert shares[0] == 0
    assert 0 < 5 * shares[1] < shares[2]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_grid_shows_the_pixels_themselves(tmp_path: Path, channels: int) -> None:
    image = np.full((4, 4, channels), 255, np.uint8)
    image[..., 0] = 77
    shown = (77, 77, 77) if channels == 1 else (77, 255, 255)
    image_grid([image], ["it"], [False], tmp_path / "g.png", "grid")
    assert share_of(shown, tmp_path / "g.png") > 0.05


def test_grey_images_are_not_stretched_to_full_contrast(tmp_path: Path) -> None:
    image_grid([np.full((4, 4, 1), 60, np.uint8)], ["dark"], [False], tmp_path / "g.png", "grid")
    assert share_of((60, 60, 60), tmp_path / "g.png") > 0.05


def test_an_empty_grid_is_a_picture_too(tmp_path: Path) -> None:
    image_grid([], [], [], tmp_path / "g.png", "nothing")
    assert pixels_of(tmp_path / "g.png").size


@pytest.mark.parametrize("epochs", [1, 2, 60])
def test_any_number_of_epochs_makes_curves(tmp_path: Path, epochs: int) -> None:
    draw_curves(tmp_path / "curves.png", history(epochs), "title")
    assert pixels_of(tmp_path / "curves.png").shape[1] > 1000


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_gets_four_pictures_and_wrong_predictions_are_marked(
    tmp_path: Path, channels: int
) -> None:
    data = dataset(DatasetStore(tmp_path), channels)
    actual = np.asarray(data.labels("test"))
    right = np.eye(3, dtype=np.float32)[actual]
    for name, probabilities in (("right", right), ("wrong", np.roll(right, 1, axis=1))):
        folder = tmp_path / name
        folder.mkdir()
        evaluation = Evaluation.of(CLASSES, actual, probabilities.argmax(axis=1))
        draw_pictures(folder, "small, mlp", data, history(), evaluation, probabilities)
        assert {path.name for path in folder.iterdir()} == {
            "samples.png",
            "curves.png",
            "confusion.png",
            "predictions.png",
        }
    assert share_of(ORANGE, tmp_path / "right" / "predictions.png") == 0
    assert share_of(ORANGE, tmp_path / "wrong" / "predictions.png") > 0.01
    assert share_of(ORANGE, tmp_path / "wrong" / "samples.png") == 0


def test_the_surest_mistakes_come_first_and_the_title_counts_them(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    data = dataset(store, count=60)
    actual = np.asarray(data.labels("test"))
    probabilities = np.eye(3, dtype=np.float32)[actual]
    draw_predictions(tmp_path / "right.png", data, probabilities, "small@3, mlp")
    probabilities[50] = np.roll(probabilities[50], 1)
    draw_predictions(tmp_path / "wrong.png", data, probabilities, "small@3, mlp")
    told = {name: title_of(tmp_path / f"{name}.png") for name in ("right", "wrong")}
    assert told["right"] == "small@3, mlp\n0 of 60 test images are wrong"
    assert told["wrong"] == (
        "small@3, mlp\n1 of 60 test images are wrong, the surest mistakes first"
    )
    assert share_of(ORANGE, tmp_path / "right.png") == 0
    assert share_of(ORANGE, tmp_path / "wrong.png") > 0.002, "though it is the fiftieth"


def test_pictures_are_the_same_for_the_same_content(tmp_path: Path) -> None:
    evaluation = Evaluation(labels=("a", "b"), confusion=((9, 1), (0, 9)))
    for name in ("one.png", "two.png"):
        confusion_picture(evaluation, tmp_path / name, "title")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_drawing_leaves_no_global_state(tmp_path: Path) -> None:
    program = """
import sys, matplotlib, numpy
from pathlib import Path
from trainer.training.drawing import image_grid

before = matplotlib.rcParams.copy()
image_grid([numpy.zeros((4, 4, 1), numpy.uint8)], ["x"], [False], Path(sys.argv[1]), "grid")
print("matplotlib.pyplot" in sys.modules)  # looking at the settings may import it
print(all(matplotlib.rcParams[key] == before[key] for key in before if key != "backend"))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "g.png")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]


def test_long_labels_lose_their_middle() -> None:
    assert shorten("short") == "short"
    assert shorten("a very long name of a class") == "a very lo… a class"
    assert len(shorten("x" * 100)) == 18
