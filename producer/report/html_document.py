"""An HTML file with everything in it, for a browser without a network."""

import base64
import hashlib
from pathlib import Path

from producer.report.html import Markup, element

STYLE = Path(__file__).with_name("report.css")


def page(title: str, body: Markup) -> str:
    """A whole document. The browser may load nothing and run nothing, whatever gets into it."""
    style = STYLE.read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Markup(style)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


def section(title: str, content: Markup) -> Markup:
    anchor = title.lower()
    heading = element("h2", title, id=f"{anchor}-title")
    return element("section", heading, content, id=anchor, aria_labelledby=f"{anchor}-title")
