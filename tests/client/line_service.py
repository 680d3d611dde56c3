"""A service over a real socket that answers as a test tells it, while it reads or instead."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import EncodedGrid, Problem
from vistok_protocol.tokens import PixelSize, TokenGrid

Answer = Callable[["Talk"], None]


def grid_of(start: int, latent: int = 1, side: int = 1) -> TokenGrid:
    """Make a piece of a clip, whose ids tell where in the clip it is."""
    ids = np.arange(start, start + latent).repeat(side * side).reshape(latent, side, side) % 256
    return TokenGrid(ids, "grey", "ab" * 16, "video", 256, PixelSize(8 * side, 8 * side, latent, 25))


class Talk(BaseHTTPRequestHandler):
    """One request, and what a test can do about it."""

    protocol_version = "HTTP/1.1"
    server: "LineService"

    def do_POST(self) -> None:
        self.server.requests.append(self)
        answer = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        with suppress(ConnectionError):
            answer(self)
        self.close_connection = True
        self.server.left.release()

    def log_message(self, *arguments: object) -> None:
        pass

    def pieces(self) -> Iterator[bytes]:
        """Give what the client sends, as it comes."""
        if length := self.headers.get("content-length"):
            yield self.rfile.read(int(length))
            return
        while size := int(self.rfile.readline() or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()

    def begin(self, status: int = 200, media_type: str = media_types.NDJSON, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))

    def line(self, **content: object) -> None:
        self.send(json.dumps(content).encode() + b"\n")

    def grid(self, start: int, latent: int = 1, side: int = 1) -> None:
        grid = grid_of(start, latent, side)
        self.line(start=start, **EncodedGrid.from_grid(grid, include_ids=False).body())

    def end(self, place: int, *warnings: str) -> None:
        self.line(end=place, frames=place, warnings=list(warnings))
        self.wfile.write(b"0\r\n\r\n")

    def refuse(self, code: ErrorCode, **headers: str) -> None:
        problem = Problem.from_error(VistokError(code, "of the script"), "of-the-service")
        self.begin(code.status, media_types.PROBLEM, **headers)
        self.send(json.dumps(problem.body()).encode())
        self.wfile.write(b"0\r\n\r\n")


class LineService(ThreadingHTTPServer):
    """Answers each request with the next of its script, and those after with the last.

    `left` is released when an answer has ended, because it was given or because its client has left.
    """

    block_on_close = False

    def __init__(self, *script: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.script = list(script)
        self.requests: list[Talk] = []
        self.left = threading.Semaphore(0)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


def film(talk: Talk) -> None:
    """Answer as a good service does: here, a grid of two latent frames for each piece that comes."""
    begun = False
    place = 0
    for piece in talk.pieces():
        assert piece
        if not begun:
            talk.begin()
            begun = True
        talk.grid(place, 2)
        place += 2
    talk.end(place)
