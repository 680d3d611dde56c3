"""The process of one clip: `python -m vistok_server.clips.child read|write`; see `messages.py`.

It reads a request from standard input, and then the clip's bytes or its frames; what becomes of them goes
to standard output. It ends when that is done, and when its parent has gone: its input ends, or its output
breaks.
"""

import os
import resource
import signal
import sys
from contextlib import suppress
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from vistok.media.clips.reading import open_clip
from vistok.media.clips.writing import ClipWriter
from vistok.media.fitting import Prepared, prepare
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.clips.arriving import decodable
from vistok_server.clips.messages import (
    END,
    FAILED,
    FRAME,
    HEAD,
    LENGTH,
    MESSAGE,
    PIECE,
    ClipHead,
    Ended,
    Failed,
    ReadRequest,
    WriteRequest,
)

# A decoder keeps up to about twenty frames, of 16 million pixels some 1.5 GiB. What takes more is a bomb,
# and costs this process instead of the machine.
_MOST_MEMORY = 4 * 2**30


def main() -> None:
    """Live and die as described above."""
    # Signals of a terminal reach all processes of the service; when to end is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _limit(resource.RLIMIT_AS, _MOST_MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    # A parent that is gone wants no answer.
    with suppress(BrokenPipeError):
        serve(sys.argv[1], sys.stdin.buffer, Answers())


def serve(work: str, source: BinaryIO, answers: "Answers") -> None:
    """Do the work that is requested in front of `source`, and say it when that fails."""
    request = source.read(LENGTH.unpack(source.read(LENGTH.size))[0])
    try:
        if work == "read":
            read(ReadRequest.from_json(request), source, answers)
        else:
            write(WriteRequest.from_json(request), source, answers)
    except VistokError as error:
        answers.send(FAILED, Failed(error.code, error.detail).to_json())
    except MemoryError:
        detail = f"expected a clip that takes at most {_MOST_MEMORY // 2**30} GiB of memory"
        answers.send(FAILED, Failed(ErrorCode.TOO_LARGE, detail).to_json())


class Answers:
    """Standard output, which is for messages alone: what else is printed goes to standard error."""

    def __init__(self) -> None:
        self._descriptor = os.dup(sys.stdout.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(self, kind: bytes, body: bytes | memoryview) -> None:
        """Send one message, waiting until it has room; BrokenPipeError when nobody listens."""
        for part in (MESSAGE.pack(len(body), kind), body):
            rest = memoryview(part)
            while len(rest):
                rest = rest[os.write(self._descriptor, rest) :]

    def write(self, data: bytes) -> int:
        """Send encoded bytes: to a `ClipWriter`, this is a stream."""
        self.send(PIECE, data)
        return len(data)


def read(request: ReadRequest, source: BinaryIO, answers: Answers) -> None:
    """Send the frames of the clip in `source`: uint8 `(rows columns 3)`; VistokError."""
    count, last, pixels = 0, np.empty(0), memoryview(b"")
    with (
        decodable(source, request.max_collected) as stream,
        open_clip(stream, request.selection, request.limits) as clip,
    ):
        for frame in clip.frames:
            # A frame that is repeated is the same array again.
            if frame is not last:
                last, prepared = frame, prepare(frame, request.fit, request.factor)
                pixels = np.ascontiguousarray(prepared.pixels).data.cast("B")
            if count == 0:
                answers.send(HEAD, _head(prepared, clip.fps, clip.seconds).to_json())
            answers.send(FRAME, pixels)
            count += 1
        answers.send(END, Ended(count, clip.warnings).to_json())


def write(request: WriteRequest, source: BinaryIO, answers: Answers) -> None:
    """Send the encoded bytes of the frames in `source`: uint8 `(height width 3)`; VistokError."""
    count = 0
    # ClipWriter takes anything with `write`.
    target: BinaryIO = answers  # type: ignore[assignment]
    with ClipWriter(target, request.clip_format, request.height, request.width, request.fps) as clip:
        frame = np.empty((request.height, request.width, 3), np.uint8)
        while came := source.readinto(frame.data.cast("B")):  # type: ignore[attr-defined]
            if came < frame.nbytes:
                raise VistokError(ErrorCode.INTERNAL, "the frames end in the middle of one")
            clip.write(frame)
            count += 1
    answers.send(END, Ended(count, []).to_json())


def _head(first: Prepared, fps: Fraction, seconds: Fraction | None) -> ClipHead:
    rows, columns = first.pixels.shape[:2]
    return ClipHead(first.size.height, first.size.width, rows, columns, fps, seconds)


def _limit(kind: int, most: int) -> None:
    """Lower what this process may use, for good; a limit that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (least, least))


if __name__ == "__main__":
    main()
