"""Options that say how pictures become pixels."""

from collections.abc import Callable
from string import hexdigits
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imaging.preprocessing import Preprocessing
    from imaging.scalings import Scaling


def with_preprocessing(interpolation: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that say how pictures come to a size, as `preprocessing`."""
    options = (
        click.option(
            "--resize",
            metavar="HOW",
            help="How pictures come to its size: stretch (default), crop to the middle, letterbox.",
        ),
        click.option(
            "--shorter-side",
            type=int,
            metavar="N",
            help="To how many pixels crop brings the shorter side first: 256 often for 224.",
        ),
        click.option("--fill", metavar="COLOUR", help="The margin of letterbox. Default: 000000."),
        click.option("--interpolation", metavar="HOW", help=interpolation),
        click.option(
            "--background",
            metavar="COLOUR",
            help="What they are laid over where they are transparent: ffffff is white, none drops "
            "their transparency.",
        ),
        click.option(
            "--colours",
            metavar="HOW",
            help="srgb (default): colours of an embedded profile become sRGB; stored: they stay.",
        ),
        click.option(
            "--scaled-decoding/--full-decoding",
            default=None,
            help="Whether antialias may decode large JPEGs at a fraction of their size: faster.",
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def parse_size(size: str | None) -> tuple[int, int] | None:
    """Height and width from `96` or `96x128`."""
    if size is None:
        return None
    numbers = size.lower().split("x")
    if len(numbers) > 2 or not all(n.isascii() and n.isdigit() and int(n) > 0 for n in numbers):
        raise click.UsageError(
            f"--size {size!r} is no size: write 96, or 96x128 for height x width."
        )
    return int(numbers[0]), int(numbers[-1])


def parse_scaling(scale: str | None, channels: str | None) -> "Scaling | None":
    """A scaling by its name or numbers; in BGR if that is the order."""
    from imaging.scalings import NAMES, NONE, parse

    if scale is None and channels is None:
        return None
    try:
        scaling = parse(scale) if scale else NONE
    except ValueError as error:
        raise click.UsageError(
            f"--scale {error}: write {', '.join(NAMES)}, or MEAN/DEVIATION."
        ) from None
    return scaling.model_copy(update={"bgr": channels == "bgr"}) if channels else scaling


def parse_colour(colour: str | None, option: str = "--background") -> tuple[int, ...] | None:
    """Red, green and blue, 0 to 255, from `ffffff`; none from `none`."""
    if colour is None or colour.lower() == "none":
        return None
    digits = colour.removeprefix("#")
    if len(digits) != 6 or not set(digits) <= set(hexdigits):
        raise click.UsageError(
            f"{option} {colour!r} is no colour: write ffffff for white, 000000 for black, or none."
        )
    return tuple(bytes.fromhex(digits))


def parse_preprocessing(usual: "Preprocessing", **given: Any) -> "Preprocessing | None":
    """How pictures become pixels, as usual but for what is given; none if nothing is."""
    from pydantic import ValidationError

    from console.wanted_values import explain
    from imaging.preprocessing import Preprocessing

    for field in ("fill", "background"):
        given[field] = parse_colour(given[field], f"--{field}")
    chosen = {field: value for field, value in given.items() if value is not None}
    if not chosen:
        return None
    try:
        return Preprocessing.model_validate(usual.model_dump() | chosen)
    except ValidationError as error:
        fault = error.errors()[0]
        option = f"--{str(fault['loc'][0]).replace('_', '-')} {fault['input']!r}"
        why = explain(fault, Preprocessing.model_fields)
        raise click.UsageError(f"{option} cannot be used: {why}.") from None
