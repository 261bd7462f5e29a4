"""The pages by their addresses, and the server that answers."""

import re
from collections.abc import Iterable
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.web import Application

from desk.assets import FILES, Asset, Health
from desk.data import Data, DataSets
from desk.doorkeeper import Doorkeeper
from desk.downloads import TYPES, Download
from desk.jobs import Job, Jobs
from desk.models import PICTURES, Model, Models, Picture
from desk.page import Page
from desk.reports import Report
from desk.shelves import Shelves

NAME, NUMBER = r"([^/]{1,200})", r"([0-9]{1,9})"


def any_of(words: Iterable[str]) -> str:
    return f"({'|'.join(map(re.escape, words))})"


def make_server(shelves: Shelves, doorkeeper: Doorkeeper) -> HTTPServer:
    """A server without a socket yet."""
    given = {"shelves": shelves, "doorkeeper": doorkeeper}
    pages = {
        r"/": Jobs,
        r"/older/([1-9][0-9]{0,5})": Jobs,
        rf"/jobs/{NAME}": Job,
        rf"/jobs/{NAME}/report": Report,
        rf"/jobs/{NAME}/records\.{any_of(TYPES)}": Download,
        r"/models": Models,
        rf"/models/{NAME}/{NUMBER}": Model,
        rf"/models/{NAME}/{NUMBER}/{any_of(PICTURES)}": Picture,
        r"/data": DataSets,
        rf"/data/{NAME}/{NUMBER}": Data,
        rf"/{any_of(FILES)}": Asset,
        r"/healthcheck": Health,
    }
    application = Application(
        [(address, page, given) for address, page in pages.items()],
        default_handler_class=Missing,
        default_handler_args=given,
        template_path=str(Path(__file__).with_name("templates")),
        compress_response=False,
    )
    return HTTPServer(
        application,
        max_header_size=16_384,
        max_body_size=1,
        max_buffer_size=65_536,
        idle_connection_timeout=60,
        body_timeout=10,
    )


class Missing(Page):
    """Whatever else is asked for."""

    def get(self, *_: str) -> None:
        self.send_error(404)
