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

from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import VistokError
from vistok_server import garbage, logs
from vistok_server.catalogue import load_tokenizers
from vistok_server.orders import Failed
from vistok_server.settings import Settings
from vistok_server.shared_memory import SharedMemory
from vistok_server.workers.execution import Executor
from vistok_server.workers.messages import LENGTH, Ready, frame, pack_outcomes, unpack_batch
from vistok_server.workers.placement import Placement


def main() -> None:
    """Live and die as described above."""
    # Signals of a terminal reach all processes of the service; when to end is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    descriptor, inputs, outputs = map(int, sys.argv[1:4])
    placement = Placement.from_arguments(*sys.argv[4:])
    # A parent that is gone wants no answer.
    with suppress(ConnectionError), socket.socket(fileno=descriptor) as connection:
        serve(connection.makefile("rwb"), SharedMemory(inputs), SharedMemory(outputs), placement)


def serve(stream: BufferedRWPair, inputs: SharedMemory, outputs: SharedMemory, placement: Placement) -> None:
    """Say what is loaded, then answer batches until the stream ends."""
    if not (said := _read_frame(stream)):
        return
    settings = Settings.model_validate_json(said)
    logs.configure(settings.log_format, f"worker {placement.device}")
    torch.set_num_threads(placement.torch_threads)
    try:
        tokenizers = load_tokenizers(settings, placement.device)
        executor = Executor(tokenizers, settings, placement.media_threads)
        executor.warm_up()
    except VistokError as error:
        _say(stream, Ready(failed=Failed.of(error)).model_dump_json().encode())
        return
    garbage.settle()
    _say(stream, _ready(tokenizers).model_dump_json().encode())
    while body := _read_frame(stream):
        _say(stream, pack_outcomes(executor.execute(unpack_batch(body, inputs)), outputs))


def _ready(tokenizers: dict[str, VisualTokenizer]) -> Ready:
    return Ready(tokenizers={name: tokenizer.describe() for name, tokenizer in tokenizers.items()})


def _read_frame(stream: BufferedRWPair) -> bytes:
    """Give the next frame; nothing at the end of the stream."""
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""


def _say(stream: BufferedRWPair, body: bytes) -> None:
    stream.write(frame(body))
    stream.flush()


if __name__ == "__main__":
    main()
