"""Load, deadlines, callers who leave, and stopping: the application with its tokenizer held up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from tests.server.conftest import Serve, encoded, picture, until_waiting
from tests.server.fakes import POISON, BrightnessTokenizer
from vistok_protocol.errors import VistokError
from vistok_server.app import create_app
from vistok_server.settings import Settings

DECODE = "/v1/tokenizers/fake/decode"
ENCODE = "/v1/tokenizers/fake/encode"


def decoding(client: httpx.AsyncClient, *ids: int) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(client.post(DECODE, json={"ids": [list(ids)]}))


async def until_working(tokenizer: BrightnessTokenizer) -> None:
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)


async def test_a_full_house_refuses_at_the_door_and_recovers(
    serve: Serve, tokenizer: BrightnessTokenizer
) -> None:
    client = await serve(max_queue=3, max_files=3)
    tokenizer.open.clear()
    held = [decoding(client, 1, 2, 3)]
    await until_working(tokenizer)
    held += [decoding(client, 4), decoding(client, 5)]
    await until_waiting(client, 2)
    refused = await client.post(DECODE, content=b"not even read")
    assert refused.status_code == 429
    assert refused.json()["code"] == "overloaded"
    assert "3 of 3 places" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) >= 1
    assert (await client.get("/readyz")).status_code == 200
    tokenizer.open.set()
    assert [response.status_code for response in await asyncio.gather(*held)] == [200, 200, 200]
    assert (await decoding(client, 6)).status_code == 200


async def test_files_count_as_items_not_as_one_call(serve: Serve, tokenizer: BrightnessTokenizer) -> None:
    client = await serve(max_queue=3, max_files=3)
    files = [("file", ("white.png", encoded(picture()), "image/png"))] * 3
    tokenizer.open.clear()
    held = decoding(client, 1)
    await until_working(tokenizer)
    refused = await client.post(ENCODE, files=files)
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
    tokenizer.open.set()
    assert (await held).status_code == 200
    assert len((await client.post(ENCODE, files=files)).json()["items"]) == 3


@pytest.mark.parametrize("max_wait_ms", [0, 1e6])
async def test_a_call_past_its_deadline_is_answered_and_its_job_not_run(
    serve: Serve, tokenizer: BrightnessTokenizer, max_wait_ms: float
) -> None:
    """Whether it waits in the room or lies ready at the worker."""
    client = await serve(timeout_seconds=0.5, max_wait_ms=max_wait_ms)
    tokenizer.open.clear()
    running, waiting = decoding(client, 1, 2, 3), decoding(client, 4)
    await until_working(tokenizer)
    await until_waiting(client, 1 if max_wait_ms else 0)
    for response in await asyncio.gather(running, waiting):
        assert (response.status_code, response.json()["code"]) == (504, "timed_out")
        assert "0.5 seconds" in response.json()["detail"]
        assert response.json()["request_id"] == response.headers["x-request-id"]
    tokenizer.open.set()
    assert (await decoding(client, 5, 6)).status_code == 200
    assert ("decode", (1, 1, 1)) not in tokenizer.batches


async def test_a_caller_can_set_a_shorter_deadline(serve: Serve, tokenizer: BrightnessTokenizer) -> None:
    client = await serve(timeout_seconds=30)
    tokenizer.open.clear()
    late = await client.post(DECODE, json={"ids": [[1]]}, headers={"X-Timeout-Ms": "50"})
    assert (late.status_code, late.json()["code"]) == (504, "timed_out")
    assert "0.05 seconds" in late.json()["detail"]
    for wrong in ("0", "-5", "1e3", "soon", "9" * 13, "\u0663"):
        header = {"X-Timeout-Ms": wrong.encode()}
        answer = await client.post(DECODE, json={"ids": [[1]]}, headers=header)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_one_callers_many_do_not_keep_anothers_one_waiting(
    serve: Serve, tokenizer: BrightnessTokenizer
) -> None:
    """Each of the many has a shape of its own, so that each is a batch."""
    client = await serve(max_queue=16, max_files=4)
    transport = httpx.ASGITransport(client._transport.app, client=("10.0.0.2", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://vistok") as other:
        tokenizer.open.clear()
        many = [decoding(client, *[1] * (1 + i)) for i in range(14)]
        await until_waiting(client, 13)
        refused = await decoding(client, 1)
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert "14 of them by this caller" in refused.json()["detail"]
        one = decoding(other, 7, 7)
        await until_waiting(client, 14)
        tokenizer.open.set()
        assert (await one).status_code == 200
        assert sum(call.done() for call in many) < 4
        assert {answer.status_code for answer in await asyncio.gather(*many)} == {200}


async def test_bulk_work_goes_last(client: httpx.AsyncClient, tokenizer: BrightnessTokenizer) -> None:
    tokenizer.open.clear()
    held = decoding(client, 1)
    await until_working(tokenizer)
    bulk = asyncio.create_task(client.post(DECODE, json={"ids": [[1, 2]]}, headers={"X-Priority": "bulk"}))
    await until_waiting(client, 1)
    online = decoding(client, 1, 2, 3)
    await until_waiting(client, 2)
    tokenizer.open.set()
    await asyncio.gather(held, bulk, online)
    assert [shape for _, shape in tokenizer.batches] == [(1, 1, 1), (1, 1, 3), (1, 1, 2)]
    wrong = await client.post(DECODE, json={"ids": [[1]]}, headers={"X-Priority": "first"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_request")
    assert "header 'x-priority'" in wrong.json()["detail"]


async def test_an_upload_that_stalls_ends_at_the_deadline(serve: Serve) -> None:
    client = await serve(timeout_seconds=0.2)

    async def stalling():  # type: ignore[no-untyped-def]
        yield b"\x89PNG"
        await asyncio.sleep(30)

    response = await client.post(ENCODE, content=stalling(), headers={"Content-Type": "image/png"})
    assert response.json()["code"] == "timed_out"


async def test_the_job_of_a_caller_who_has_left_is_not_run(
    client: httpx.AsyncClient, tokenizer: BrightnessTokenizer
) -> None:
    tokenizer.open.clear()
    first = decoding(client, 1, 2, 3)
    await until_working(tokenizer)
    left = asyncio.Event()
    messages = iter([{"type": "http.request", "body": b'{"ids": [[7]]}', "more_body": False}])
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        for message in messages:
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": DECODE,
        "raw_path": DECODE.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    call = asyncio.ensure_future(client._transport.app(scope, receive, send))
    await until_waiting(client, 1)
    left.set()
    await call
    assert sent == []
    await until_waiting(client, 0)
    second = decoding(client, 4, 5)
    await until_waiting(client, 1)
    tokenizer.open.set()
    assert [response.status_code for response in await asyncio.gather(first, second)] == [200, 200]
    assert [shape for _, shape in tokenizer.batches] == [(1, 1, 3), (1, 1, 2)]


async def test_one_bad_grid_among_concurrent_ones_fails_alone(
    client: httpx.AsyncClient, tokenizer: BrightnessTokenizer
) -> None:
    tokenizer.open.clear()
    first = decoding(client, 0, 0, 0)
    await until_working(tokenizer)
    calls = [decoding(client, value) for value in (1, 2, POISON, 3, 4)]
    await until_waiting(client, 5)
    tokenizer.open.set()
    answers = await asyncio.gather(first, *calls)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 500, 200, 200]
    assert answers[3].json()["code"] == "internal"


async def test_stopping_finishes_what_was_admitted(tokenizer: BrightnessTokenizer) -> None:
    app = create_app(Settings(max_wait_ms=1e6), {"fake": tokenizer})
    lifespan = app.router.lifespan_context(app)
    await lifespan.__aenter__()
    engine = app.state.engine
    await engine.served.loaded
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vistok") as client:
        tokenizer.open.clear()
        round_trip = asyncio.create_task(
            client.post(
                "/v1/tokenizers/fake/reconstruct",
                content=encoded(picture()),
                headers={"Content-Type": "image/png"},
            )
        )
        await until_working(tokenizer)
        waiting = [decoding(client, value) for value in range(4)]
        await until_waiting(client, 4)
        stopping = asyncio.create_task(lifespan.__aexit__(None, None, None))
        await asyncio.sleep(0)
        for late in (await decoding(client, 5), await client.get("/readyz")):
            assert (late.status_code, late.json()["code"]) == (503, "not_ready")
            assert "stopping" in late.json()["detail"]
            assert int(late.headers["retry-after"]) >= 1
        assert (await client.get("/livez")).json() == {"status": "alive"}
        assert not stopping.done()
        tokenizer.open.set()
        answers = await asyncio.gather(round_trip, *waiting)
        assert [answer.status_code for answer in answers] == [200] * 5
        await stopping


@asynccontextmanager
async def starting(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, FastAPI]]:
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vistok") as client,
    ):
        yield client, app


async def test_not_ready_until_the_tokenizers_are_loaded(tiny_folder: Path) -> None:
    async with starting(Settings(tokenizers=(str(tiny_folder),), devices=("cpu",))) as (client, app):
        for early in (await client.get("/readyz"), await decoding(client, 1)):
            assert (early.status_code, early.json()["code"]) == (503, "not_ready")
            assert "being loaded" in early.json()["detail"]
        assert (await client.get("/livez")).status_code == 200
        await app.state.engine.served.loaded
        assert (await client.get("/readyz")).json() == {"status": "ready", "tokenizers": ["tiny"]}


async def test_stopping_while_loading_waits_for_nothing(tiny_folder: Path) -> None:
    async with starting(Settings(tokenizers=(str(tiny_folder),), devices=("cpu",))) as (_, app):
        pass
    assert not app.state.engine.served.loaded.done()


async def test_a_failure_to_load_is_reported_and_never_ready(tmp_path: Path) -> None:
    async with starting(Settings(tokenizers=(str(tmp_path / "nothing"),), devices=("cpu",))) as (client, app):
        with pytest.raises(VistokError, match="expected a bundled tokenizer"):
            await app.state.engine.served.loaded
        ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")


async def test_the_event_loop_is_free_while_media_is_decoded(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, tokenizer: BrightnessTokenizer
) -> None:
    def slow(data: bytes, limits: object) -> np.ndarray:
        assert tokenizer.open.wait(30)
        return picture()

    monkeypatch.setattr("vistok_server.workers.media.read_image", slow)
    tokenizer.open.clear()
    call = asyncio.create_task(
        client.post(ENCODE, content=encoded(picture()), headers={"Content-Type": "image/png"})
    )
    await asyncio.sleep(0.05)
    assert (await client.get("/livez")).status_code == 200
    assert not call.done()
    tokenizer.open.set()
    assert (await call).json()["ids"] == [[15, 15], [15, 15]]
