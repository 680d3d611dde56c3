"""The service on a real socket: the `serve` command, and a caller who hangs up."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
import typer
from fastapi import FastAPI
from typer.testing import CliRunner

from tests.server.conftest import pixels_of
from tests.server.fakes import BrightnessTokenizer
from vistok.tokenizer import VisualTokenizer
from vistok_server.app import create_app
from vistok_server.cli import ready_message, serve
from vistok_server.engine import Engine
from vistok_server.http_server import HttpServer
from vistok_server.settings import Settings

COMMAND = [sys.executable, "-c", "import typer; from vistok_server.cli import serve; typer.run(serve)"]


@pytest.fixture
def served(tiny_folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """Run `serve` on a free port; give the process, the address and the command that it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--tokenizer", str(tiny_folder), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            while not (line := process.stdout.readline()).startswith("Vistok serves tiny on "):
                assert line, "the service ended before it was ready"
            url = line.split()[4]
            while not (line := process.stdout.readline()).startswith("curl "):
                assert line
            yield process, url, line
        finally:
            process.kill()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_printed_command_works_and_a_signal_ends_the_service_in_peace(
    served: tuple["subprocess.Popen[str]", str, str], tmp_path: Path
) -> None:
    process, url, command = served
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready", "tokenizers": ["tiny"]}
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, capture_output=True)
    assert pixels_of((tmp_path / "four-tokens.png").read_bytes()).shape == (16, 16, 3)
    connection = HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/v1/tokenizers/tiny/reconstruction?tokens=" + "A" * 100_000)
    assert connection.getresponse().status == 400
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def test_a_port_in_use_is_said_in_one_sentence() -> None:
    command = typer.Typer()
    command.command()(serve)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(command, ["--port", str(port)])
    assert result.exit_code == 1
    assert result.output == (
        f"vistok serve: cannot listen on 127.0.0.1, port {port}: Address already in use; "
        "choose others with --host and --port\n"
    )


def test_a_host_that_nobody_knows_is_said_in_the_words_of_the_system() -> None:
    command = typer.Typer()
    command.command()(serve)
    result = CliRunner().invoke(command, ["--host", "nosuch.invalid", "--port", "0"])
    assert result.exit_code == 1
    assert "cannot listen on nosuch.invalid, port 0: " in result.output
    assert "name" in result.output.partition("port 0: ")[2].partition(";")[0].lower()
    assert "Unknown error" not in result.output


def test_a_signal_ends_an_upload_that_stalls(served: tuple["subprocess.Popen[str]", str, str]) -> None:
    process, url, _ = served
    host, port = url.removeprefix("http://").split(":")
    head = "POST /v1/tokenizers/tiny/encode HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        # The answer to Expect says that the service has begun to read the body.
        connection.sendall(f"{head}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(b"\x89PNG")
        process.send_signal(signal.SIGTERM)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"code":"not_ready"' in answer
    assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def test_what_cannot_be_loaded_ends_the_command(tmp_path: Path) -> None:
    result = subprocess.run(
        [*COMMAND, "--port", "0", "--tokenizer", str(tmp_path / "nothing")], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "vistok serve: the tokenizers could not be loaded: " in result.stderr
    assert "Traceback" not in result.stderr.split("vistok serve:")[1]


def test_settings_that_are_not_valid_end_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISTOK_MAX_QUEUE", "many")
    command = typer.Typer()
    command.command()(serve)
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1
    assert "vistok serve: the settings are not valid: max_queue: " in result.output


def test_the_example_has_an_id_for_each_codebook() -> None:
    described = BrightnessTokenizer().describe().model_copy(update={"codebooks": 2})
    assert '{"ids": [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]}' in ready_message("http://x", {"fake": described})


def test_the_example_for_clips_is_a_clip(tiny_video_tokenizer: VisualTokenizer) -> None:
    message = ready_message("http://x", {"tiny": tiny_video_tokenizer.describe()})
    assert '{"ids": [[[0, 1], [2, 3]]]}' in message
    assert "four-tokens.mp4" in message


@dataclass
class Running:
    url: str
    app: FastAPI

    async def until(self, condition: Callable[[Engine], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(self.app.state.engine):
                await asyncio.sleep(0.001)


@pytest.fixture
def running(tokenizer: BrightnessTokenizer) -> Iterator[Running]:
    """Serve the fake tokenizer on a socket, from a thread."""
    settings = Settings()
    app = create_app(settings, {"fake": tokenizer})
    server = HttpServer(app, settings)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    while httpx.get(f"{url}/readyz").status_code != 200:
        assert thread.is_alive()
    yield Running(url, app)
    tokenizer.open.set()
    server.should_exit = True
    thread.join()


async def test_the_job_of_a_caller_who_hangs_up_is_not_run(
    running: Running, tokenizer: BrightnessTokenizer
) -> None:
    tokenizer.open.clear()
    async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
        held = asyncio.create_task(client.post("/v1/tokenizers/fake/decode", json={"ids": [[1, 2, 3]]}))
        assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
        leaving = asyncio.create_task(client.post("/v1/tokenizers/fake/decode", json={"ids": [[4]]}))
        await running.until(lambda engine: engine.waiting == 1)
        leaving.cancel()
        await running.until(lambda engine: (engine.in_house, engine.waiting) == (1, 0))
        staying = asyncio.create_task(client.post("/v1/tokenizers/fake/decode", json={"ids": [[5, 6]]}))
        await running.until(lambda engine: engine.waiting == 1)
        tokenizer.open.set()
        assert [answer.status_code for answer in await asyncio.gather(held, staying)] == [200, 200]
    assert [shape for _, shape in tokenizer.batches] == [(1, 1, 3), (1, 1, 2)]


async def test_a_caller_who_leaves_while_sending_is_no_fault_of_the_service(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(running) as caller:
        head = b"POST /v1/tokenizers/fake/encode HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        caller.sendall(head + b"Content-Length: 100\r\n\r\n" + b"half of it")
        await running.until(lambda engine: engine.in_house == 1)
    await running.until(lambda engine: engine.in_house == 0)
    assert httpx.get(f"{running.url}/readyz").status_code == 200
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_a_refused_upload_leaves_the_connection_and_the_service_usable(running: Running) -> None:
    with httpx.Client(base_url=running.url, timeout=30) as client:
        large = client.post(
            "/v1/tokenizers/fake/encode", content=bytes(80_000_000), headers={"Content-Type": "image/png"}
        )
        assert (large.status_code, large.json()["code"]) == (413, "too_large")
        assert client.post("/v1/tokenizers/fake/decode", json={"ids": [[1]]}).status_code == 200


def connected(running: Running) -> socket.socket:
    host, port = running.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def test_headers_without_end_are_refused(running: Running) -> None:
    with connected(running) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        try:
            for _ in range(100):
                connection.sendall(b"X-More: " + b"a" * 10_000 + b"\r\n")
            answer = connection.recv(1000)
        except ConnectionError:
            answer = b""
        assert answer.startswith(b"HTTP/1.1 400") or not answer
    assert httpx.get(f"{running.url}/livez").status_code == 200


@pytest.mark.parametrize("beginning", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_never_comes_whole_ends_its_connection(
    running: Running, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vistok_server.http_protocol.HEAD_SECONDS", 0.2)
    with connected(running) as connection:
        connection.sendall(beginning)
        assert connection.recv(1000) == b""


def test_calls_on_one_connection_come_one_after_the_other(running: Running) -> None:
    """Sent at once, the second with a body in pieces."""
    body = b'{"ids": [[1, 2]]}'
    head = "POST /v1/tokenizers/fake/decode HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with connected(running) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + head.encode())
        connection.sendall(f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body[:5])
        connection.sendall(body[5:])
        answers = connection.makefile("rb").read()
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b'{"status":"alive"}' in answers
    assert b"\x89PNG" in answers
