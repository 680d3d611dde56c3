"""The spans of calls."""

import asyncio

import httpx
import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.server.conftest import Serve, encoded, picture, until_waiting
from tests.server.fakes import BrightnessTokenizer
from tests.server.test_supervision import MortalWorker

ENCODE = "/v1/tokenizers/fake/encode"
PNG = {"Content-Type": "image/png"}
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["admit", "queue", "device", "answer"]


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


@pytest.fixture
async def traced(serve: Serve, provider: TracerProvider) -> httpx.AsyncClient:
    return await serve(provider)


def by_start(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    """Give the spans as they began; a call before its admission."""
    return sorted(spans.get_finished_spans(), key=lambda span: (span.start_time, span.parent is not None))


def of_call(spans: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """Give the span of the only call that has ended, and its stages."""
    (call,) = (span for span in by_start(spans) if span.kind is SpanKind.SERVER)
    trace = call.context.trace_id
    return call, [span for span in by_start(spans) if span is not call and span.context.trace_id == trace]


async def encode(client: httpx.AsyncClient, pixels: np.ndarray, **headers: str) -> httpx.Response:
    return await client.post(ENCODE, content=encoded(pixels), headers={**PNG, **headers})


async def test_the_stages_of_a_call_follow_each_other_in_its_callers_trace(
    traced: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    await encode(traced, picture(8, 12), traceparent=f"00-{TRACE}-{CALLER}-01", **{"X-Request-Id": "mine"})
    call, stages = of_call(spans)
    assert call.name == "POST /v1/tokenizers/{name}/encode"
    assert call.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/tokenizers/{name}/encode",
        "http.response.status_code": 200,
        "vistok.request_id": "mine",
        "vistok.tokenizer": "fake",
        "vistok.operation": "encode",
    }
    assert f"{call.parent.span_id:016x}" == CALLER
    assert call.status.status_code is StatusCode.UNSET
    assert [stage.name for stage in stages] == STAGES
    assert {f"{span.context.trace_id:032x}" for span in (call, *stages)} == {TRACE}
    assert {stage.parent.span_id for stage in stages} == {call.context.span_id}
    times = [time for stage in stages for time in (stage.start_time, stage.end_time)]
    assert times == sorted(times)
    assert call.start_time == times[0]
    assert call.end_time >= times[-1]
    assert stages[2].attributes == {"vistok.pixels": 96, "vistok.batch_jobs": 1}


async def test_every_file_of_a_call_has_its_queue_and_its_device(
    traced: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    files = [("a", encoded(picture())), ("b", b"no picture"), ("c", encoded(picture()))]
    await traced.post(ENCODE, files=files)
    _, stages = of_call(spans)
    assert sorted(stage.name for stage in stages) == ["admit", "answer", *["device"] * 3, *["queue"] * 3]
    assert (stages[0].name, stages[-1].name) == ("admit", "answer")
    assert stages[-1].start_time == max(stage.end_time for stage in stages if stage.name == "device")


async def test_jobs_of_one_batch_say_how_many_they_were(
    traced: httpx.AsyncClient, spans: InMemorySpanExporter, tokenizer: BrightnessTokenizer
) -> None:
    tokenizer.open.clear()
    calls = [asyncio.create_task(encode(traced, picture(4, 4)))]
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    calls += [asyncio.create_task(encode(traced, picture())) for _ in range(2)]
    await until_waiting(traced, 2)
    tokenizer.open.set()
    await asyncio.gather(*calls)
    devices = [span for span in by_start(spans) if span.name == "device"]
    assert [span.attributes["vistok.batch_jobs"] for span in devices] == [1, 2, 2]
    assert len({span.context.trace_id for span in devices}) == 3


async def test_a_job_whose_time_ends_in_the_queue_never_reaches_the_device(
    traced: httpx.AsyncClient, spans: InMemorySpanExporter, tokenizer: BrightnessTokenizer
) -> None:
    tokenizer.open.clear()
    first = asyncio.create_task(encode(traced, picture(4, 4)))
    assert await asyncio.to_thread(tokenizer.entered.acquire, timeout=30)
    assert (await encode(traced, picture(), **{"X-Timeout-Ms": "50"})).status_code == 504
    call, stages = of_call(spans)
    assert [stage.name for stage in stages] == ["admit", "queue", "answer"]
    assert call.attributes["http.response.status_code"] == 504
    assert call.status.status_code is StatusCode.ERROR
    tokenizer.open.set()
    await first


async def test_a_lost_worker_is_seen_and_so_is_the_second_try(
    serve: Serve,
    provider: TracerProvider,
    spans: InMemorySpanExporter,
    tokenizer: BrightnessTokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vistok_server.supervision._FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("vistok_server.app._workers", lambda *_: [MortalWorker(tokenizer, losses=1)])
    client = await serve(provider)
    await client.post("/v1/tokenizers/fake/decode", json={"ids": [[1, 2]]})
    _, stages = of_call(spans)
    assert [stage.name for stage in stages] == ["admit", "queue", "device", "queue", "device", "answer"]
    failed = [stage.status.description for stage in stages if stage.status.status_code is StatusCode.ERROR]
    assert failed == ["the worker was lost"]


async def test_a_call_that_is_refused_has_no_stages(
    traced: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    await traced.post("/v1/tokenizers/nobody/encode", content=b"", headers=PNG)
    call, stages = of_call(spans)
    assert call.attributes["http.response.status_code"] == 404
    assert call.status.status_code is StatusCode.UNSET
    assert stages == []


async def test_what_monitors_ask_and_what_callers_do_not_sample_is_left_out(
    traced: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        await traced.get(path)
    await encode(traced, picture(), traceparent=f"00-{TRACE}-{CALLER}-00")
    assert by_start(spans) == []


async def test_without_a_provider_nothing_is_recorded_not_even_by_fastapi(
    serve: Serve, provider: TracerProvider, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)
    client = await serve()
    assert (await encode(client, picture())).status_code == 200
    assert by_start(spans) == []
