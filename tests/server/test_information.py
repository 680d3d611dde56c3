import httpx
import pytest

from vistok_protocol.schemas import TokenizerInfo, TokenizerList
from vistok_server.settings import Settings


async def test_tokenizers_are_listed_and_described(client: httpx.AsyncClient) -> None:
    listed = TokenizerList.model_validate((await client.get("/v1/tokenizers")).json()).tokenizers
    one = TokenizerInfo.model_validate((await client.get("/v1/tokenizers/fake")).json())
    assert listed == [one]
    assert (one.name, one.spatial_factor, one.vocabulary_size) == ("fake", 4, 16)
    assert one.quality == {"psnr": 12.5}


async def test_health(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "alive"}
    assert (await client.get("/readyz")).json() == {"status": "ready", "tokenizers": ["fake"]}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v1/tokenizers", "/v1/tokenizers/fake"])
async def test_head_answers_as_get_without_a_body(client: httpx.AsyncClient, path: str) -> None:
    whole, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]


async def test_the_description_of_the_calls_is_complete(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    one = "/v1/tokenizers/{name}"
    posts = {f"{one}/{call}" for call in ("encode", "decode", "reconstruct", "quantize", "lookup")}
    assert set(paths) == posts | {
        "/v1/tokenizers",
        one,
        f"{one}/reconstruction",
        "/v1/grids",
        "/v1/grids/{id}",
        "/v1/grids/{id}/reconstruction",
        "/livez",
        "/readyz",
        "/metrics",
    }
    assert all("requestBody" in paths[path]["post"] for path in posts)
    assert {p["name"] for p in paths[f"{one}/encode"]["post"]["parameters"]} >= {
        "max_side",
        "fit",
        "size",
        "ids",
    }


@pytest.mark.parametrize("path", ["/livez", "/v1/tokenizers/nobody", "/nowhere"])
async def test_every_answer_has_a_request_id(client: httpx.AsyncClient, path: str) -> None:
    ids = {(await client.get(path)).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize(("given", "kept"), [("job-17.a:b_c", True), ("a b", False), ("x" * 129, False)])
async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient, given: str, kept: bool) -> None:
    response = await client.get("/livez", headers={"X-Request-Id": given})
    assert (response.headers["x-request-id"] == given) is kept


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISTOK_TOKENIZERS", "image-fsq-f8, /models/mine")
    monkeypatch.setenv("VISTOK_MAX_QUEUE", "512")
    assert Settings().tokenizers == ("image-fsq-f8", "/models/mine")
    assert Settings(max_queue=100).max_queue == 100
    assert Settings().max_queue == 512


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_files \(64\) is larger than max_queue \(10\)"):
        Settings(max_queue=10)
