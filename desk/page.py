"""What all pages have in common: who may see them, and what a browser may do with them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from tornado.web import HTTPError, RequestHandler

from console.counts import counted
from console.errors import BatchsightError
from console.moments import in_utc
from console.tables import DASH
from desk.doorkeeper import Doorkeeper
from desk.shelves import Shelves
from producer.report.formatting import percent
from storage.errors import BadName, NotFound, UnsafePath
from storage.files import printable

POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "batchsight",
}
AT_ONCE = 2
"""Pages that are worked on at the same time; others wait."""
READERS = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reader")

Found = TypeVar("Found")


class Page(RequestHandler):
    """Answers GET and HEAD, and nothing else."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def initialize(self, shelves: Shelves, doorkeeper: Doorkeeper) -> None:
        self.shelves = shelves
        self.doorkeeper = doorkeeper

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        if not self.doorkeeper.knows_host(self.request.host_name):
            raise HTTPError(421, reason="Misdirected Request")
        if not self.doorkeeper.admits(self.request.headers.get("Authorization", "")):
            raise HTTPError(401)

    async def head(self, *parts: str) -> None:
        """The same headers; Tornado leaves out the body."""
        if answer := self.get(*parts):
            await answer

    async def read(
        self, find: Callable[..., Found], *what: Any, pool: ThreadPoolExecutor = READERS
    ) -> Found:
        """What storage has, found in a thread; what it has not is an answer, too."""
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, partial(find, *what))
        except (NotFound, BadName, UnsafePath, FileNotFoundError, NotADirectoryError) as error:
            raise Refusal(404, told(error)) from None
        except (BatchsightError, OSError) as error:
            raise Refusal(500, told(error)) from None

    def get_template_namespace(self) -> dict[str, Any]:
        words = {"percent": percent, "in_utc": in_utc, "counted": counted, "DASH": DASH}
        return {**super().get_template_namespace(), **words, "refresh": False}

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 401:
            self.set_header("WWW-Authenticate", 'Basic realm="batchsight", charset="UTF-8"')
        error = kwargs.get("exc_info", (None, None))[1]
        sentence = error.sentence if isinstance(error, Refusal) else SENTENCES.get(status_code, "")
        self.render("error.html", title=self._reason, sentence=sentence)


class Refusal(HTTPError):
    """An answer without a page, and why."""

    def __init__(self, status_code: int, sentence: str) -> None:
        super().__init__(status_code)
        self.sentence = sentence


SENTENCES = {
    401: "The desk asks for the user and the password of Flower.",
    404: "There is no such page.",
    405: "The desk only shows things: it takes GET and HEAD.",
    421: "The desk listens for this machine alone: call it http://127.0.0.1 or http://localhost.",
    500: "This page could not be made; the log of the desk says why.",
}


def told(error: Exception) -> str:
    """An error in a sentence, without what only the server's own disk is called."""
    if isinstance(error, OSError):
        return f"Storage cannot be read: {error.strerror or error}."
    return printable(str(error))


class View(Page):
    """A page that a template makes of what `look` finds."""

    template: str

    def look(self, *parts: str) -> dict[str, Any]:
        """What the template shows; runs in a thread."""
        raise NotImplementedError

    async def get(self, *parts: str) -> None:
        self.render(self.template, **await self.read(self.look, *parts))
