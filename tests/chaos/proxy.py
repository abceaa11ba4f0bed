"""A TCP forwarder whose connections can be cut, also in the middle of a frame."""

import asyncio
import threading
from types import TracebackType
from typing import Self

from tests.end_to_end.program import free_port


class Proxy:
    """Forwards `port` of the loopback to another one; as a context manager, in a thread of its own."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.cuts = 0
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._left_bytes: int | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def cut(self, after_bytes: int = 0) -> None:
        """Reset every connection: now, or when so many bytes more have passed."""
        self._loop.call_soon_threadsafe(self._cut, after_bytes)

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        self._abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=5) if others else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            self._let_go(writer)
            return
        self._open.add(back)
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(self._passing(data))
                await writer.drain()
        except OSError:
            pass
        self._open.discard(writer)
        writer.close()  # and not an abort: what a broker says before it hangs up must arrive

    def _passing(self, data: bytes) -> bytes:
        """What may pass of it; when a cut falls into it, all connections end behind that."""
        if self._left_bytes is None:
            return data
        passing = data[: self._left_bytes]
        self._left_bytes -= len(passing)
        if self._left_bytes <= 0:
            self._loop.call_soon(self._cut, 0)
        return passing

    def _cut(self, after_bytes: int) -> None:
        if after_bytes:
            self._left_bytes = after_bytes
            return
        self._left_bytes = None
        if self._open:
            self.cuts += 1
        self._abort()

    def _abort(self) -> None:
        for writer in [*self._open]:
            self._let_go(writer)

    def _let_go(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.transport.abort()
