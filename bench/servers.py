"""The servers that `serving.py` compares, each in processes of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.work import AS_IT_IS

PEERS = {"batcher by hand": "batcher", "LitServe": "lit", "mosec": "stages"}
_START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """One that runs: what to post pictures to, and its first process."""

    url: str
    process_id: int

    def memory(self) -> float:
        """Give the MiB of all its processes, shared pages counted once."""
        return sum(_proportional_kilobytes(process) for process in _family(self.process_id)) / 1024


@contextmanager
def vistok(source: str, name: str, size: str, picture: bytes) -> Iterator[Server]:
    """Run `vistok serve`."""
    port = _free_port()
    query = "" if size == AS_IT_IS else f"?size={size}&fit=resize"
    command = ["-m", "vistok", "serve", "--port", str(port), "--tokenizer", source, "--device", "cpu"]
    with _running(command, f"http://127.0.0.1:{port}/v1/tokenizers/{name}/encode{query}", picture) as server:
        yield server


@contextmanager
def peer(module: str, source: str, size: str, picture: bytes) -> Iterator[Server]:
    """Run one of `PEERS`."""
    port = _free_port()
    path = "inference" if module == "stages" else "encode"
    command = ["-m", f"bench.peers.{module}", source, size, str(port)]
    with _running(command, f"http://127.0.0.1:{port}/{path}", picture) as server:
        yield server


@contextmanager
def _running(arguments: list[str], url: str, picture: bytes) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that what a server leaves behind can be ended with it
    )
    try:
        _wait_until_it_works(url, picture)
        yield Server(url, process.pid)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_it_works(url: str, picture: bytes) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            answer = httpx.post(url, content=picture, headers={"Content-Type": "image/jpeg"}, timeout=30)
            if answer.status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, f"{url} does not work"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _family(process_id: int) -> Iterator[int]:
    yield process_id
    with suppress(OSError):  # it may end meanwhile
        for task in Path(f"/proc/{process_id}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _proportional_kilobytes(process_id: int) -> int:
    text = ""
    with suppress(OSError):
        text = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0
