"""HTML and SVG, element by element. Whatever is no `Markup` is escaped: nothing slips through."""

import re
from html import escape

UNSAFE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What neither HTML nor UTF-8 can hold; user text may contain it."""
VOID = frozenset({"col", "img", "link", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(content: str) -> Markup:
    """Plain text as HTML; what is markup already stays as it is."""
    if isinstance(content, Markup):
        return content
    return Markup(escape(UNSAFE.sub("�", content)))


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """One element with its attributes and children.

    In the names of attributes an underscore at the end is dropped (`class_`), any other one is a
    dash (`aria_label`); an attribute that is None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(written_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*parts: str) -> Markup:
    return Markup("".join(map(text, parts)))


def written_value(value: str | float) -> str:
    """A number with two decimals at most, so that the same picture is the same text."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
