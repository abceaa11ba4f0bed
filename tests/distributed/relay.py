"""A way to a store on which the network can swallow what is sent: connections stay, nothing arrives."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Listens on `port`, and passes on to another port of this machine until it swallows."""

    def __init__(self, to: int) -> None:
        self._to, self._open = to, list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._through = threading.Event()
        self._through.set()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """From now on nothing arrives."""
        self._through.clear()

    def close(self) -> None:
        """End all connections."""
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, far = self._listener.accept()[0], socket.create_connection(("127.0.0.1", self._to))
                self._open += near, far
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._through.is_set():
                    sink.sendall(data)


@contextmanager
def relay(to: int) -> Iterator[Relay]:
    """One, closed with the block."""
    made = Relay(to)
    try:
        yield made
    finally:
        made.close()
