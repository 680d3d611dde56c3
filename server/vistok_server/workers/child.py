"""The worker process: `python -m vistok_server.workers.child SOCKET INPUTS OUTPUTS` and its placement.

It owns one device. It reads settings, loads and warms up what they name, then does batches until its
parent closes the socket, which also happens when the parent dies. The three numbers are descriptors.
"""

import signal
import socket
import sys
from contextlib import suppress
from io import BufferedRWPair

import torch

from vistok_protocol.errors import VistokError
from vistok_server import garbage, logs
from vistok_server.orders import Failed
from vistok_server.settings import Settings
from vistok_server.shared_memory import SharedMemory
from vistok_server.workers.catalogue import Catalogue
from vistok_server.workers.execution import Executor
from vistok_server.workers.messages import HEAD, SETTINGS, Ready, frame, pack_outcomes, unpack_batch
from vistok_server.workers.placement import Placement


def main() -> None:
    """Live and die as described above."""
    # Signals of a terminal reach all processes of the service; when to end is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    descriptor, inputs, outputs = map(int, sys.argv[1:4])
    child = Child(SharedMemory(inputs), SharedMemory(outputs), Placement.from_arguments(*sys.argv[4:]))
    # A parent that is gone wants no answer.
    with suppress(ConnectionError), socket.socket(fileno=descriptor) as connection:
        child.serve(connection.makefile("rwb"))


class Child:
    """Answers what its parent sends."""

    def __init__(self, inputs: SharedMemory, outputs: SharedMemory, placement: Placement) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._placement = placement
        self._catalogue: Catalogue | None = None
        self._executor: Executor

    def serve(self, stream: BufferedRWPair) -> None:
        """Answer until the stream ends."""
        while len(head := stream.read(HEAD.size)) == HEAD.size:
            length, kind = HEAD.unpack(head)
            body = stream.read(length)
            stream.write(frame(kind, self._load(body) if kind == SETTINGS else self._do(body)))
            stream.flush()

    def _load(self, body: bytes) -> bytes:
        settings = Settings.model_validate_json(body)
        try:
            if self._catalogue is None:
                self._catalogue = self._begin(settings)
            self._catalogue.load(settings.sources)
        except VistokError as error:
            return Ready(failed=Failed.of(error)).model_dump_json().encode()
        self._executor = Executor(self._catalogue.by_name(), settings, self._placement.media_threads)
        self._executor.warm_up()
        garbage.settle()
        return Ready(tokenizers=self._catalogue.describe()).model_dump_json().encode()

    def _begin(self, settings: Settings) -> Catalogue:
        logs.configure(settings.log_format, f"worker {self._placement.device}")
        torch.set_num_threads(self._placement.torch_threads)
        return Catalogue(self._placement.device, settings.batch_invariant)

    def _do(self, body: bytes) -> bytes:
        outcomes = self._executor.execute(unpack_batch(body, self._inputs))
        return pack_outcomes(outcomes, self._outputs)


if __name__ == "__main__":
    main()
