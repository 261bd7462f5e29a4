"""Flower, as a stranger sees it."""

import http.client
import socket
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit


class Door(StrEnum):
    """What somebody without a password finds at Flower's address."""

    OPEN = "open"
    LOCKED = "locked"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class FlowerFacts:
    """Flower as a stranger sees it."""

    url: str
    door: Door
    open_at: tuple[str, ...] = ()
    """Addresses beyond this machine's loopback where it is open as well."""


def look_at_flower(url: str) -> FlowerFacts:
    """Knock at Flower without a password, and again at this machine's other addresses.

    That Flower is open at a loopback address says nothing of who else can reach it, so the same
    port is tried where only a server that listens on all interfaces answers.
    """
    door = knock(url)
    if door is not Door.OPEN:
        return FlowerFacts(url=url, door=door)
    parts = urlsplit(url)
    if not is_loopback(parts.hostname or ""):
        return FlowerFacts(url=url, door=door, open_at=(url,))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    others = [parts._replace(netloc=f"{host}:{port}").geturl() for host in other_addresses()]
    return FlowerFacts(url=url, door=door, open_at=tuple(u for u in others if knock(u) is door))


def knock(url: str) -> Door:
    """What a page of Flower answers. Not `/api`, which is shut even where the pages are open."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), StayHere())
    try:
        with opener.open(f"{url.rstrip('/')}/workers", timeout=2) as answer:
            page = answer.read(100_000)
    except urllib.error.HTTPError as error:
        error.close()
        return Door.LOCKED if error.code in (301, 302, 303, 307, 401, 403) else Door.CLOSED
    except (OSError, http.client.HTTPException):
        return Door.CLOSED
    return Door.OPEN if b"Flower</title>" in page else Door.CLOSED


class StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: where Flower sends strangers to log in, it is locked."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def other_addresses() -> list[str]:
    """IPv4 addresses at which a server on all interfaces answers, but not one on 127.0.0.1.

    All of 127.0.0.0/8 is loopback on Linux, yet a server on 127.0.0.1 answers nowhere else in it.
    """
    addresses = ["127.0.0.2"]
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing: it only chooses the interface
        addresses.insert(0, probe.getsockname()[0])
    return addresses
