"""The worker process: `python -m vistok_server.workers.child`, its placement, and descriptors of its lanes.

It owns one device. It reads settings, loads and warms up what they name, then does batches until its
parent closes the lanes, which also happens when the parent dies. Of each lane there are three numbers: a
socket, and the shared memory of what comes in and goes out.
"""

import os
import signal
import socket
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress

import torch

from vistok_protocol.errors import VistokError
from vistok_server import garbage, logs
from vistok_server.orders import Failed
from vistok_server.settings import Settings
from vistok_server.shared_memory import SharedMemory
from vistok_server.workers.catalogue import Catalogue
from vistok_server.workers.execution import Executor
from vistok_server.workers.lane import FIRST_ORDER, HAS_BEGUN
from vistok_server.workers.messages import HEAD, SETTINGS, Ready, frame, pack_outcomes, unpack_batch
from vistok_server.workers.placement import Placement


def main() -> None:
    """Live and die as described above."""
    # Signals of a terminal reach all processes of the service; when to end is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    device, torch_threads, media_threads, *descriptors = sys.argv[1:]
    child = Child(Placement.from_arguments(device, torch_threads, media_threads))
    with ThreadPoolExecutor() as threads:
        lanes = [
            threads.submit(child.serve, *map(int, descriptors[first : first + 3]))
            for first in range(0, len(descriptors), 3)
        ]
        for lane in as_completed(lanes):
            if lane.exception() is not None:
                traceback.print_exception(lane.exception())
                os._exit(1)  # the other lanes wait for a parent that waits for this process


class Child:
    """Answers what its parent sends, on a thread for each lane."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._catalogue: Catalogue | None = None
        self._executor: Executor

    def serve(self, descriptor: int, inputs: int, outputs: int) -> None:
        """Answer on one lane until it is closed."""
        memory = SharedMemory(inputs), SharedMemory(outputs)
        # A parent that is gone wants no answer.
        with suppress(ConnectionError), socket.socket(fileno=descriptor) as connection:
            stream = connection.makefile("rwb")
            while len(head := stream.read(HEAD.size)) == HEAD.size:
                length, kind = HEAD.unpack(head)
                body = stream.read(length)
                stream.write(frame(kind, self._load(body) if kind == SETTINGS else self._do(body, *memory)))
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

    def _do(self, body: bytes, inputs: SharedMemory, outputs: SharedMemory) -> bytes:
        batch = unpack_batch(body, inputs)
        inputs.mark(HAS_BEGUN)
        outcomes = self._executor.execute(batch, lambda index: inputs.is_marked(FIRST_ORDER + index))
        return pack_outcomes(outcomes, outputs)


if __name__ == "__main__":
    main()
