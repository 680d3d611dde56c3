"""A way to a child process and back, on which one batch travels at a time; a worker has several."""

import asyncio
import socket
from asyncio import Future

from vistok_server.settings import Settings
from vistok_server.shared_memory import SharedMemory
from vistok_server.workers.conversation import Conversation
from vistok_server.workers.messages import BATCH, SETTINGS, Ready, pack_batch, unpack_outcomes
from vistok_server.workers.worker import Batch, Outcomes, WorkerLost

HAS_BEGUN = 0
"""The mark of a batch that the child works on."""
FIRST_ORDER = 1
"""The mark of a batch's first order, when it is not wanted any more; those of the others follow."""


class Lane:
    """The parent's side: a socket for messages, and shared memory for their arrays.

    Attributes:
        descriptors: of what the child inherits.
    """

    def __init__(self) -> None:
        self._ours, self._its = socket.socketpair()
        self._conversation: Conversation | None = None
        self._inputs = SharedMemory()
        # Copies, of what comes back: the memory is the next batch's.
        self._outputs = SharedMemory(copies=True)
        self.descriptors = (self._its.fileno(), self._inputs.descriptor, self._outputs.descriptor)

    @property
    def owes_an_answer(self) -> bool:
        """Whether the child was asked something that it has not answered."""
        return self._conversation is not None and self._conversation.owes_an_answer

    async def open(self) -> Future[None]:
        """Begin to speak with the child, which has its side by now; give what is done when it has ended."""
        self._its.close()
        loop = asyncio.get_running_loop()
        _, self._conversation = await loop.create_unix_connection(Conversation, sock=self._ours)
        return self._conversation.ended

    async def load(self, settings: Settings) -> Ready:
        """Have the child load what settings name; WorkerLost."""
        assert self._conversation is not None
        answer = await self._conversation.ask(SETTINGS, settings.model_dump_json().encode())
        return Ready.model_validate_json(answer)

    async def run(self, batch: Batch) -> Outcomes:
        """Run one batch; WorkerLost when the child has ended."""
        assert self._conversation is not None
        try:
            answer = await self._conversation.ask(BATCH, pack_batch(batch, self._inputs))
        except WorkerLost as error:
            raise WorkerLost(str(error), had_begun=self._inputs.is_marked(HAS_BEGUN)) from None
        return unpack_outcomes(answer, self._outputs)

    def forget(self, index: int) -> None:
        """Tell the child that an order of the batch that runs is not wanted any more."""
        self._inputs.mark(FIRST_ORDER + index)

    def close(self) -> None:
        """Let go of it."""
        self._its.close()
        self._ours.close()
        if self._conversation is not None:
            self._conversation.close()
        self._inputs.close()
        self._outputs.close()
