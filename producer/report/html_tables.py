"""Tables of the report, and lists of pairs."""

from collections.abc import Iterable, Sequence

from console.tables import DASH
from producer.report.formatting import cut
from producer.report.html import Markup, element, join


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    bad: Iterable[int] = (),
    class_: str | None = None,
) -> Markup:
    """A table in a box of its own that scrolls; columns of metrics stand at the right.

    The first column names the row. The rows numbered `bad` are marked.
    """
    body = list(rows)
    marked = set(bad)
    kinds = [kind_of_column([row[i] for row in body]) for i in range(len(head))]
    heads = [
        element("th", title, scope="col", class_=kind if kind == "n" else None)
        for title, kind in zip(head, ("", *kinds[1:]), strict=True)
    ]
    lines = [
        element(
            "tr",
            element("th", first, scope="row"),
            *(
                element("td", cell, class_=kind)
                for cell, kind in zip(cells, kinds[1:], strict=True)
            ),
            class_="bad" if number in marked else None,
        )
        for number, (first, *cells) in enumerate(body)
    ]
    return scroll(
        caption, element("thead", element("tr", *heads)), element("tbody", *lines), class_=class_
    )


def kind_of_column(cells: Sequence[str]) -> str | None:
    """The class of a column of metrics, of plain words, or of neither."""
    if any(isinstance(cell, Markup) for cell in cells):
        return None
    return "n" if all(cell[:1].isdigit() or cell == DASH for cell in cells) else "words"


def scroll(caption: str, *parts: Markup, class_: str | None = None) -> Markup:
    """A table below its caption, in a box that scrolls sideways, by keyboard as well."""
    content = element("table", *parts, class_=class_, aria_label=cut(caption, 120))
    hint = element("p", "Scrolls sideways where the page is too narrow.", class_="faint hint")
    box = element("div", hint, content, class_="scroll", tabindex=0)
    return join(element("p", caption, class_="faint"), box)


def definitions(rows: Iterable[tuple[str, str]]) -> Markup:
    """Pairs of a word and what it is."""
    pairs = (join(element("dt", word), element("dd", said)) for word, said in rows)
    return element("dl", *pairs, class_="facts")
