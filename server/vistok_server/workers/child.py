"""The worker process: `python -m vistok_server.workers.child SOCKET INPUTS OUTPUTS DEVICE`.

It owns one device. It reads settings, loads and warms up what they name, then runs batches until its
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
from vistok_server import logs
from vistok_server.catalogue import load_tokenizers
from vistok_server.settings import Settings
from vistok_server.workers.execution import execute, warm_up
from vistok_server.workers.messages import LENGTH, Done, Failed, Message, Ready, Task
from vistok_server.workers.shared_memory import SharedMemory
from vistok_server.workers.worker import Outcomes


def main() -> None:
    """Live and die as described above."""
    # Signals of a terminal reach all processes of the service; when to end is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    descriptor, inputs, outputs = map(int, sys.argv[1:4])
    # A parent that is gone wants no answer.
    with suppress(ConnectionError), socket.socket(fileno=descriptor) as connection:
        stream = connection.makefile("rwb")
        serve(stream, SharedMemory(inputs), SharedMemory(outputs), device=sys.argv[4])


def serve(stream: BufferedRWPair, inputs: SharedMemory, outputs: SharedMemory, device: str) -> None:
    """Say what is loaded, then answer tasks until the stream ends."""
    settings = Settings.model_validate_json(_read_frame(stream))
    logs.configure(settings.log_format, f"worker {device}")
    if settings.torch_threads is not None:
        torch.set_num_threads(settings.torch_threads)
    try:
        tokenizers = load_tokenizers(settings, device)
        warm_up(tokenizers)
    except VistokError as error:
        _say(stream, Ready(failed=Failed.of(error)))
        return
    _say(stream, Ready(tokenizers={name: tokenizer.describe() for name, tokenizer in tokenizers.items()}))
    while frame := _read_frame(stream):
        outcomes = _run(Task.model_validate_json(frame), tokenizers, inputs)
        outputs.write([result for result in outcomes.results if not isinstance(result, VistokError)])
        _say(stream, Done.of(outcomes))


def _run(task: Task, tokenizers: dict[str, VisualTokenizer], inputs: SharedMemory) -> Outcomes:
    (joined,) = inputs.read([task.inputs.kind])
    return execute(tokenizers[task.tokenizer], task.operation, joined, task.counts)


def _read_frame(stream: BufferedRWPair) -> bytes:
    """Give the next frame; nothing at the end of the stream."""
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""


def _say(stream: BufferedRWPair, message: Message) -> None:
    stream.write(message.to_frame())
    stream.flush()


if __name__ == "__main__":
    main()
