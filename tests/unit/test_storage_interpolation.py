"""Every way to another size gives the pixels that an independent reading gives."""

import numpy as np
import pytest

from storage.images import decode_image, fit_pixels
from storage.preprocessing import Preprocessing
from tests.builders import encode


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [("bilinear", [7, 31, 55, 79, 103]), ("nearest", [10, 30, 60, 80, 100])],
)
def test_a_line_is_sampled_between_the_centres_of_its_pixels(
    interpolation: str, expected: list[int]
) -> None:
    line = np.arange(0, 120, 10, np.uint8)[None].repeat(3, axis=0)
    preprocessing = Preprocessing.model_validate({"interpolation": interpolation})
    for fitted in (
        decode_image(encode(line), (1, 5, 1), preprocessing),
        fit_pixels(line, (1, 5, 1), preprocessing),
    ):
        assert fitted.ravel().tolist() == expected
