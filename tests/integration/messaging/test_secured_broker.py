"""Every program reaches a Redis with a password, behind TLS, and keeps the password to itself."""

import json
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from local.redis_server import choose_port
from tests.processes import Program, RedisServer, run, worker

PASSWORD = "s3cret/of:the@broker"


class TlsFront:
    """Speaks TLS to clients and plain TCP to the Redis behind it."""

    def __init__(self, folder: Path, target: int) -> None:
        self.ca = folder / "ca.pem"
        key = folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(key), "-out", str(self.ca)]
        subprocess.run(command, check=True, capture_output=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.ca, key)
        self._target = target
        self.port = choose_port()
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        """One connection. TLS sockets are not for two threads: one loop serves both ways."""
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self._target)) as server,
            self._context.wrap_socket(plain, server_side=True) as client,
        ):
            while True:
                ready: list[socket.socket] = [client] if client.pending() else []
                for source in ready or select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    (server if source is client else client).sendall(data)


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, system: Mapping[str, str]
) -> Iterator[Mapping[str, str]]:
    """The system's storage with a broker that wants TLS and a password."""
    folder = tmp_path_factory.mktemp("secured")
    options = ("--requirepass", PASSWORD, "--appendonly", "yes", "--maxmemory", "100mb")
    redis = RedisServer(folder, *options)
    front = TlsFront(folder, redis.port)
    yield {
        **system,
        "BATCHSIGHT_REDIS_URL": f"rediss://127.0.0.1:{front.port}/0",
        "BATCHSIGHT_REDIS_PASSWORD": PASSWORD,
        "BATCHSIGHT_REDIS_CA": str(front.ca),
        "BATCHSIGHT_SWEEP_SECONDS": "1",
    }
    front.close()
    redis.stop()


def test_every_program_works_through_tls_with_a_password_and_shows_none(
    secured: Mapping[str, str], tmp_path: Path
) -> None:
    celery = [sys.executable, "-m", "celery", "-A", "trainer"]
    programs = [
        worker(tmp_path, secured, concurrency=1),
        Program([*celery, "worker", "-l", "INFO"], tmp_path / "trainer.log", secured),
        Program([*celery, "beat", "-l", "INFO"], tmp_path / "beat.log", secured),
    ]
    try:
        programs[0].wait_for_log("Ready with", 1)
        submitted = run(secured, "producer", "submit", "digits:test", "--json")
        assert json.loads(submitted.stdout)["status"] == "completed"
        trained = run(
            secured,
            *("trainer", "train", "--dataset", "digits", "--network", "mlp"),
            *("--name", "secured", "--epochs", "1", "--queue", "--json"),
        )
        programs[0].wait_for_log("worker.sweep", 2)
        doctor = run(secured, "producer", "doctor", "--json", check=False)
        seen = [submitted, trained, doctor]
        shown = "".join(done.stdout + done.stderr for done in seen)
    finally:
        for program in programs:
            program.terminate()
    shown += "".join(program.log for program in programs)
    assert "s3cret" not in shown
    assert all(check["status"] != "fault" for check in json.loads(doctor.stdout)), doctor.stdout


def test_a_wrong_password_is_one_sentence(secured: Mapping[str, str]) -> None:
    wrong = {**secured, "BATCHSIGHT_REDIS_PASSWORD": "wrong"}
    done = run(wrong, "producer", "submit", "digits:test", "--json", check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "refuses the password" in done.stderr
    assert "BATCHSIGHT_REDIS_PASSWORD" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_certificate_of_an_unknown_authority_is_refused(secured: Mapping[str, str]) -> None:
    strange = {key: value for key, value in secured.items() if key != "BATCHSIGHT_REDIS_CA"}
    done = run(strange, "producer", "submit", "digits:test", check=False)
    assert done.returncode == 1
    assert "certificate" in done.stderr.lower()
    assert "Traceback" not in done.stderr
