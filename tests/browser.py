"""Chromium without a window, driven by chromedriver over its plain HTTP protocol."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and CHROMEDRIVER else "there is no chromium with chromedriver"


class Browser:
    """One browser with one page."""

    def __init__(self, driver: str, session: str) -> None:
        self._url = f"{driver}/session/{session}"

    def open(self, path: Path, *, width: int, scheme: str) -> None:
        """Show a file in a window of this width, for a user who prefers `light` or `dark`."""
        self.visit(path.as_uri(), width=width, scheme=scheme)

    def visit(self, url: str, *, width: int, scheme: str) -> None:
        """The same of any page."""
        self._devtools(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        call("POST", f"{self._url}/url", {"url": url})

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return call("POST", f"{self._url}/execute/sync", {"script": f"return {script}", "args": []})

    def messages(self) -> list[str]:
        """What has been said on the console since the last call."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """What has been asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = call("POST", f"{self._url}/se/log", {"type": kind})
        return entries

    def _devtools(self, command: str, **parameters: Any) -> Any:
        body = {"cmd": command, "params": parameters}
        return call("POST", f"{self._url}/goog/cdp/execute", body)


@contextmanager
def open_browser(log: Path) -> Iterator[Browser]:
    """A browser; what its driver says goes to `log`."""
    assert CHROMIUM and CHROMEDRIVER
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    driver = f"http://127.0.0.1:{port}"
    options = {
        "browserName": "chrome",
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        "goog:chromeOptions": {
            "binary": CHROMIUM,
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"],
        },
    }
    with log.open("wb") as output:
        process = subprocess.Popen([CHROMEDRIVER, f"--port={port}"], stdout=output, stderr=output)
        try:
            wait_for(f"{driver}/status")
            wanted = {"capabilities": {"alwaysMatch": options}}
            session = call("POST", f"{driver}/session", wanted)["sessionId"]
            yield Browser(driver, session)
            call("DELETE", f"{driver}/session/{session}")
        finally:
            process.terminate()
            process.wait()


def wait_for(url: str, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            call("GET", url)
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def call(method: str, url: str, body: Any = None) -> Any:
    """The value that chromedriver answers."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["value"]
