"""Which images a network takes, told by the shape of its input."""

from pathlib import Path

import pytest

from imaging.images import Shape
from storage.models.contract import Layout
from trainer.errors import ImportFailed
from trainer.importing.originals.shapes import Declared, layout_of, shape_of

PATH = Path("net.keras")


def shape(
    declared: Declared,
    layout: Layout | None = None,
    size: tuple[int, int] | None = None,
    known: Shape | None = None,
) -> tuple[Layout, Shape]:
    found = layout_of(declared, PATH, layout)
    return found, shape_of(declared, found, PATH, size=size, known=known)


@pytest.mark.parametrize(
    ("declared", "layout", "expected"),
    [
        ((224, 224, 3), "nhwc", (224, 224, 3)),
        ((3, 224, 224), "nchw", (224, 224, 3)),
        ((1, 28, 28), "nchw", (28, 28, 1)),
        ((3, 32, 48), "nchw", (32, 48, 3)),
        ((4, 4, 1), "nhwc", (4, 4, 1)),
        ((3, 3, 3), "nhwc", (3, 3, 3)),
        ((28, 28), "nhw", (28, 28, 1)),
        ((784,), "flat", (28, 28, 1)),
        ((3072,), "flat", (32, 32, 3)),
    ],
)
def test_a_layout_is_told_by_where_the_channels_are(
    declared: Declared, layout: Layout, expected: Shape
) -> None:
    assert shape(declared) == (layout, expected)


def test_what_is_open_comes_from_the_size_or_the_data_set() -> None:
    assert shape((None, None, 3), size=(80, 64)) == ("nhwc", (80, 64, 3))
    assert shape((3, None, None), size=(80, 64)) == ("nchw", (80, 64, 3))
    assert shape((None, None, None), known=(32, 32, 1)) == ("nhwc", (32, 32, 1))
    assert shape((600,), size=(20, 30)) == ("flat", (20, 30, 1))
    assert shape((None, None, None), "nchw", (8, 8)) == ("nchw", (8, 8, 3))


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ((4, 4, 2), "takes 4 x 4 x 2, and images are height x width x channels"),
        ((5, 4, 4, 1), "takes 5 x 4 x 4 x 1, .* it is no model for images"),
        ((7,), "takes 7 numbers, which are no square image: name its --size"),
        ((), "takes single numbers"),
        ((None, None, 3), "takes images of any size, .* by --size 224"),
        ((None,), "takes any, and images are"),
    ],
)
def test_what_is_no_image_is_refused_by_name(declared: Declared, sentence: str) -> None:
    with pytest.raises(ImportFailed, match=sentence):
        shape(declared)


def test_another_size_than_its_own_is_refused() -> None:
    with pytest.raises(ImportFailed, match="takes images 224 pixels high, whatever --size says"):
        shape((224, 224, 3), size=(96, 96))


@pytest.mark.parametrize(
    ("declared", "layout", "sentence"),
    [
        ((28, 28, 1), "flat", "takes 28 x 28 x 1, and --layout flat is for networks that take all"),
        ((784,), "nhwc", "takes 784, and --layout nhwc is for networks that take height x width"),
        ((28, 28, 1), "nhw", "takes 28 x 28 x 1, and --layout nhw is for"),
        ((28, 28), "nchw", "takes 28 x 28, and --layout nchw is for networks that take channels"),
        ((), "flat", "takes single numbers, and --layout flat"),
    ],
)
def test_a_layout_must_have_as_many_dimensions(
    declared: Declared, layout: Layout, sentence: str
) -> None:
    with pytest.raises(ImportFailed, match=sentence):
        shape(declared, layout)


def test_images_that_no_memory_holds_are_refused() -> None:
    with pytest.raises(ImportFailed, match="100,000 x 100,000 x 3: 100,000,000 numbers an image"):
        shape((None, None, 3), size=(100_000, 100_000))
