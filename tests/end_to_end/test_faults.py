"""A service in processes of its own, hurt from outside while it works."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.conftest import tiny_tokenizer_of
from tests.end_to_end.watching import PATIENCE_SECONDS, figure, has_ended, until, workers_of
from tests.server.conftest import encoded
from tests.service import Service, started
from vistok import VisualTokenizer
from vistok.grids import encode_picture

PNG = {"Content-Type": "image/png"}
# More threads than there are cores: one worker of each device has them all.
ONE_WORKER = {"VISTOK_TORCH_THREADS": "1024"}
# Of each, one worker is killed at work, and then the one that is started for it.
ROUNDS, SERVING_AGAIN_SECONDS = 10, 20


def noise(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (64, 48, 3), np.uint8) for _ in range(count)]


@pytest.mark.slow
def test_nothing_is_left_of_a_service_that_is_killed(tiny_folder: Path) -> None:
    with started("--tokenizer", str(tiny_folder), "--device", "cpu,cpu", **ONE_WORKER) as service:
        workers = workers_of(service)
        assert len(workers) == 2
        service.process.kill()
        until(lambda: all(has_ended(worker) for worker in workers))


@pytest.mark.slow
def test_a_signal_under_load_loses_nothing_that_was_admitted(tiny_folder: Path) -> None:
    pictures = noise(60)
    tokenizer = VisualTokenizer.from_pretrained(tiny_folder)
    with started("--tokenizer", str(tiny_folder), "--device", "cpu") as service:
        workers = workers_of(service)
        with httpx.Client(base_url=service.url, timeout=PATIENCE_SECONDS) as client:

            def ask(picture: np.ndarray) -> httpx.Response | None:
                try:
                    return client.post("/v1/tokenizers/tiny/encode", content=encoded(picture), headers=PNG)
                except httpx.TransportError:
                    return None  # the door was closed before it was in

            with ThreadPoolExecutor(16) as threads:
                answers = [threads.submit(ask, picture) for picture in pictures]
                assert answers[0].result() is not None
                service.process.send_signal(signal.SIGTERM)
                results = [answer.result() for answer in answers]
        assert service.process.wait(PATIENCE_SECONDS) in (0, -signal.SIGTERM)
        until(lambda: all(has_ended(worker) for worker in workers))
    assert results[0] is not None
    assert results[0].status_code == 200
    for picture, result in zip(pictures, results, strict=True):
        if result is not None and result.status_code == 200:
            assert result.json()["ids"] == encode_picture(tokenizer, picture).ids.tolist()
        else:
            assert result is None or result.json()["code"] == "not_ready"


@pytest.mark.slow
def test_workers_are_killed_again_and_again_under_load(tiny_folder: Path) -> None:
    """Twenty times, one of two at a time, so that there is always one: every answer is right."""
    pictures = noise(30)
    tokenizer = VisualTokenizer.from_pretrained(tiny_folder)
    expected = [encode_picture(tokenizer, picture).ids.tolist() for picture in pictures]
    with (
        started("--tokenizer", str(tiny_folder), "--device", "cpu,cpu", **ONE_WORKER) as service,
        httpx.Client(base_url=service.url, timeout=PATIENCE_SECONDS) as client,
        ThreadPoolExecutor(8) as threads,
    ):

        def ask(picture: np.ndarray) -> httpx.Response:
            return client.post("/v1/tokenizers/tiny/encode", content=encoded(picture), headers=PNG)

        for number in range(ROUNDS):
            before = workers_of(service)
            answers = [threads.submit(ask, picture) for picture in pictures]
            answers[number].result()
            os.kill(before[number % 2], signal.SIGKILL)
            kill = time.monotonic()
            assert [answer.result().json().get("ids") for answer in answers] == expected
            assert time.monotonic() < kill + SERVING_AGAIN_SECONDS
            until(lambda known=set(before): set(workers_of(service)) - known)
            os.kill(*set(workers_of(service)) - set(before), signal.SIGKILL)
            until(lambda: figure(service, "vistok_workers_up") == 2)
        assert figure(service, "vistok_worker_losses_total") >= ROUNDS


@pytest.mark.slow
@pytest.mark.parametrize(("grace", "signals"), [("1", 1), ("60", 2)])
def test_a_service_that_cannot_finish_drops_what_it_has(tiny_folder: Path, grace: str, signals: int) -> None:
    """Its worker is stopped, so that nothing is ever finished."""
    with (
        started(
            "--tokenizer",
            str(tiny_folder),
            "--device",
            "cpu",
            **ONE_WORKER,
            VISTOK_GRACE_SECONDS=grace,
            VISTOK_LOG_FORMAT="json",
        ) as service,
        ThreadPoolExecutor() as threads,
    ):
        (worker,) = workers_of(service)
        os.kill(worker, signal.SIGSTOP)
        url = f"{service.url}/v1/tokenizers/tiny/encode"
        call = threads.submit(httpx.post, url, content=encoded(noise(1)[0]), headers=PNG, timeout=60)
        until(lambda: "vistok_items 1.0" in httpx.get(f"{service.url}/metrics").text)
        for _ in range(signals):
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        service.process.wait(PATIENCE_SECONDS)
        if signals == 1:
            assert (call.result().status_code, call.result().json()["code"]) == (503, "not_ready")
        else:
            with pytest.raises(httpx.TransportError):
                call.result()
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
        until(lambda: has_ended(worker))
    said = [json.loads(line)["message"] for line in service.lines if line.startswith("{")]
    assert len(said) >= len(service.lines) - 2, "all but the two lines of the command itself"
    assert signals == 2 or any("1 items are dropped" in message for message in said)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer_of().save_pretrained(folder)
    limits = {"VISTOK_MAX_QUEUE": "64", "VISTOK_MAX_BODY_BYTES": "2000000"}
    with started("--tokenizer", str(folder), "--device", "cpu", **limits) as running:
        yield running


def ask(service: Service, body: bytes) -> httpx.Response:
    url = f"{service.url}/v1/tokenizers/tiny/encode"
    return httpx.post(url, content=body, headers=PNG, timeout=PATIENCE_SECONDS)


@pytest.mark.slow
def test_broken_pictures_spoil_no_good_ones(service: Service) -> None:
    good = encoded(noise(1)[0])
    expected = ask(service, good).json()["ids"]
    random = np.random.default_rng(1)
    broken = [good[: random.integers(1, len(good) - 100)] for _ in range(20)]
    bodies = [broken[i // 16] if i % 16 == 7 else good for i in range(320)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda body: ask(service, body), bodies))
    for body, answer in zip(bodies, answers, strict=True):
        if body is good:
            assert answer.json()["ids"] == expected
        else:
            assert answer.status_code == 422


@pytest.mark.slow
def test_more_callers_than_places_get_their_answer_or_are_told_when(service: Service) -> None:
    body = encoded(noise(1)[0])
    with ThreadPoolExecutor(150) as threads:
        answers = list(threads.map(lambda _: ask(service, body), range(450)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.json()["code"] for answer in refused} <= {"overloaded"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert len(refused) < len(answers)
    assert ask(service, body).status_code == 200


def connected(service: Service) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)


HEAD = "POST /v1/tokenizers/tiny/{call} HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\n"


@pytest.mark.slow
def test_a_body_without_end_is_ended(service: Service) -> None:
    chunk = b"%x\r\n%s\r\n" % (100_000, bytes(100_000))
    with connected(service) as connection:
        head = HEAD.format(call="encode", media="image/png") + "Transfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        answer = b""
        with suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(chunk)
        with suppress(ConnectionError):
            answer = connection.recv(10_000)
    assert not answer or answer.startswith(b"HTTP/1.1 413")
    assert ask(service, encoded(noise(1)[0])).status_code == 200


@pytest.mark.slow
def test_callers_who_never_read_keep_nobody_waiting(service: Service) -> None:
    ids = np.zeros((200, 200), np.int64).tolist()
    body = json.dumps({"ids": ids}).encode()
    head = HEAD.format(call="decode", media="application/json") + "Accept: application/x-npy\r\n"
    lazy = [connected(service) for _ in range(8)]
    for connection in lazy:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    picture = encoded(noise(1)[0])
    assert [ask(service, picture).status_code for _ in range(10)] == [200] * 10
    for connection in lazy:
        connection.close()
    until(lambda: "vistok_items 0.0" in httpx.get(f"{service.url}/metrics").text)
