"""Options that say how pictures become pixels."""

from string import hexdigits
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imaging.preprocessing import Preprocessing


def parse_size(size: str | None) -> tuple[int, int] | None:
    """Height and width from `96` or `96x128`."""
    if size is None:
        return None
    numbers = size.lower().split("x")
    if len(numbers) > 2 or not all(n.isascii() and n.isdigit() and int(n) > 0 for n in numbers):
        raise click.UsageError(f"--size {size!r} is no size: write 96, or 96x128 for H x W.")
    return int(numbers[0]), int(numbers[-1])


def parse_colour(colour: str | None) -> tuple[int, ...] | None:
    """Red, green and blue, 0 to 255, from `ffffff`; none from `none`."""
    if colour is None or colour.lower() == "none":
        return None
    digits = colour.removeprefix("#")
    if len(digits) != 6 or not set(digits) <= set(hexdigits):
        raise click.UsageError(
            f"--background {colour!r} is no colour: write ffffff for white, 000000 for black, "
            "or none."
        )
    return tuple(bytes.fromhex(digits))


def parse_preprocessing(usual: "Preprocessing", **given: object) -> "Preprocessing | None":
    """How pictures become pixels, as usual but for what is given; none if nothing is."""
    from pydantic import ValidationError

    from imaging.preprocessing import Preprocessing

    chosen = {field: value for field, value in given.items() if value is not None}
    if not chosen:
        return None
    try:
        return Preprocessing.model_validate(usual.model_dump() | chosen)
    except ValidationError as error:
        fault = error.errors()[0]
        known = fault["ctx"]["expected"].replace("'", "")
        raise click.UsageError(
            f"--{fault['loc'][0]} {fault['input']!r} is none of {known}."
        ) from None
