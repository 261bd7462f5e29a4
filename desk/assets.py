"""What pages are dressed in: the report's style sheet, what the desk adds to it, and an icon."""

from pathlib import Path

from desk.page import Page
from producer.report.html_document import STYLE

HERE = Path(__file__).parent
FILES = {"report.css": STYLE, "desk.css": HERE / "desk.css", "icon.svg": HERE / "icon.svg"}
TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class Asset(Page):
    def get(self, *parts: str) -> None:
        path = FILES[parts[0]]
        self.set_header("Content-Type", TYPES[path.suffix])
        self.finish(path.read_bytes())


class Health(Page):
    """Whether the desk answers; asks for no password."""

    def prepare(self) -> None:
        return

    def get(self) -> None:
        self.finish("OK")
