"""Ways to another size, by hand; `tests/integration/test_keras_pixels.py` has Keras do the same."""

from typing import get_args

import numpy as np
import pytest

from imaging.images import FILTERS, decode_image, fit_pixels
from imaging.interpolation import TAPS
from imaging.preprocessing import Interpolation, Preprocessing
from tests.builders import encode


def preprocessing(interpolation: str) -> Preprocessing:
    return Preprocessing.model_validate({"interpolation": interpolation})


def test_every_interpolation_that_a_manifest_may_name_is_known_once() -> None:
    assert sorted([*FILTERS, *TAPS]) == sorted(get_args(Interpolation))


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [("bilinear", [7, 31, 55, 79, 103]), ("nearest", [10, 30, 60, 80, 100])],
)
def test_a_line_is_sampled_between_the_centres_of_its_pixels(
    interpolation: str, expected: list[int]
) -> None:
    line = np.arange(0, 120, 10).astype(np.uint8)[None].repeat(3, axis=0)
    for fitted in (
        decode_image(encode(line), (1, 5, 1), preprocessing(interpolation)),
        fit_pixels(line, (1, 5, 1), preprocessing(interpolation)),
    ):
        assert fitted.ravel().tolist() == expected
