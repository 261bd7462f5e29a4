"""A small TCP proxy that can stop forwarding, as a broken network does."""

import socket
import threading

from local.redis_server import choose_port


class Proxy:
    """Forwards a free loopback port to another one, until told to swallow everything."""

    def __init__(self, target: int) -> None:
        self.port = choose_port()
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def black_hole(self) -> None:
        """Forward nothing from now on; connections stay open and silent."""
        self._open.clear()

    def restore(self) -> None:
        """Forward again."""
        self._open.set()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()
