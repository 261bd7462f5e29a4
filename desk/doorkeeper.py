"""Who is let in: by the name the desk was called by, and by user and password."""

import base64
import hmac
from collections.abc import Sequence
from ipaddress import ip_address

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Doorkeeper:
    """Knows the logins, `user:password` each; without any everybody is let in."""

    def __init__(self, address: str, logins: Sequence[str]) -> None:
        self._logins = tuple(login.encode() for login in logins)
        self._is_local = is_loopback(address)

    def knows_host(self, name: str) -> bool:
        """Whether a browser may call this server so.

        A page from elsewhere can have its own name point to 127.0.0.1, and would read along.
        """
        return not self._is_local or name.lower() in LOOPBACK_NAMES

    def admits(self, authorization: str) -> bool:
        """Whether a header `Authorization` carries a login; how long it takes tells nothing."""
        if not self._logins:
            return True
        scheme, _, encoded = authorization.partition(" ")
        try:
            shown = base64.b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
        except ValueError:
            shown = b""
        return sum(hmac.compare_digest(shown, login) for login in self._logins) > 0


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return address == "localhost" or ip_address(address).is_loopback
    except ValueError:
        return False
