"""Frames to a child process and back, over a socket; belongs to the event loop."""

import asyncio

from vistok_server.workers.messages import HEAD, frame
from vistok_server.workers.worker import WorkerLost


class Conversation(asyncio.Protocol):
    """One question at a time, and its answer.

    Attributes:
        ended: done when the other side is gone.
        owes_an_answer: whether a question was asked that has not been answered.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.owes_an_answer = False
        self._answer: asyncio.Future[bytes] | None = None
        self._came = bytearray()
        self._transport: asyncio.Transport

    async def ask(self, kind: bytes, body: bytes) -> bytes:
        """Send a message and give the one that answers it; WorkerLost."""
        if self.ended.done():
            raise WorkerLost("the worker has ended", had_begun=False)
        self._answer = asyncio.get_running_loop().create_future()
        self.owes_an_answer = True
        self._transport.write(frame(kind, body))
        answer = await self._answer
        self.owes_an_answer = False
        return answer

    def close(self) -> None:
        """End the conversation."""
        self._transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect the answer; what nobody has asked for is not heard."""
        self._came += data
        if len(self._came) < HEAD.size:
            return
        end = HEAD.size + HEAD.unpack_from(self._came)[0]
        if len(self._came) >= end:
            body, self._came = bytes(self._came[HEAD.size : end]), self._came[end:]
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self.ended.set_result(None)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WorkerLost("the worker has ended"))
