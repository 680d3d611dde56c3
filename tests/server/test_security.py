"""Keys, limits of one caller, browsers, and TLS."""

import httpx
import pytest

from tests.server.conftest import Serve
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.keys import KeyRing, new_key
from vistok_server.rates import Rates

DECODE = "/v1/tokenizers/fake/decode"
IDS = {"ids": [[1]]}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_only_keys_of_the_service_open_it(serve: Serve) -> None:
    (alice, entry_a), (bob, entry_b) = new_key("alice"), new_key("bob")
    client = await serve(api_keys=(entry_a, entry_b))
    assert alice not in entry_a
    for key in (alice, bob):
        assert (await client.post(DECODE, json=IDS, headers=bearer(key))).status_code == 200
        assert (await client.get("/v1/tokenizers", headers=bearer(key))).status_code == 200
    for headers in ({}, bearer(alice[:-1]), bearer("nonsense"), {"Authorization": f"Basic {alice}"}):
        for answer in (
            await client.post(DECODE, json=IDS, headers=headers),
            await client.get("/v1/tokenizers", headers=headers),
            await client.get("/v1/tokenizers/fake", headers=headers),
            await client.put("/v1/grids", content=b"not even read", headers=headers),
            await client.get(f"/v1/grids/{'0' * 64}", headers=headers),
            await client.get(f"/v1/grids/{'0' * 64}/reconstruction", headers=headers),
        ):
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert (await client.get("/readyz")).status_code == 200


async def test_each_key_has_its_own_rate(serve: Serve) -> None:
    (alice, entry_a), (bob, entry_b) = new_key("alice"), new_key("bob")
    client = await serve(api_keys=(entry_a, entry_b), calls_per_second=0.001)
    assert (await client.get("/v1/tokenizers", headers=bearer(alice))).status_code == 200
    often = await client.get("/v1/tokenizers", headers=bearer(alice))
    assert (often.status_code, often.json()["code"]) == (429, "overloaded")
    assert int(often.headers["retry-after"]) >= 1
    assert (await client.get("/v1/tokenizers", headers=bearer(bob))).status_code == 200


def test_a_bucket_fills_at_its_rate() -> None:
    now = [0.0]
    rates = Rates(2.0, clock=lambda: now[0])
    rates.take("a")
    rates.take("a")
    with pytest.raises(VistokError) as refused:
        rates.take("a")
    assert refused.value.code is ErrorCode.OVERLOADED
    rates.take("b")
    now[0] = 0.5
    rates.take("a")
    with pytest.raises(VistokError):
        rates.take("a")
    now[0] = 100.0
    rates.take("a")
    rates.take("a")
    with pytest.raises(VistokError):
        rates.take("a")


def test_without_keys_everybody_is_let_in() -> None:
    assert KeyRing(()).name_of(None) is None


async def test_browsers_are_let_in_by_name_alone(serve: Serve) -> None:
    closed = await serve()
    page = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in (await closed.get("/v1/tokenizers", headers=page)).headers
    opened = await serve(cors_origins=("https://example.org",))
    answer = await opened.get("/v1/tokenizers", headers=page)
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    other = await opened.get("/v1/tokenizers", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


async def test_answers_are_what_they_say(client: httpx.AsyncClient) -> None:
    for path in ("/livez", "/nowhere", "/v1/tokenizers"):
        assert (await client.get(path)).headers["x-content-type-options"] == "nosniff"
