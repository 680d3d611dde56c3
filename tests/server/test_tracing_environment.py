"""Where spans are sent: what the environment says about it, and what is said where that is not possible."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import typer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from typer.testing import CliRunner

from vistok_protocol.errors import VistokError
from vistok_server import cli
from vistok_server.tracing import provider_from_environment, send_rest, tracer_of


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


class Collector(HTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        self.came: list[tuple[str, ExportTraceServiceRequest]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["vistok", "vistok-east"])
async def test_spans_go_where_the_environment_says(
    collector: Collector, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    if name != "vistok":
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    provider = provider_from_environment()
    tracer_of(provider).start_span("a span").end()
    await send_rest(provider)
    provider.shutdown()
    ((path, request),) = collector.came
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    said = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert said["service.name"] == name
    assert [span.name for span in resource.scope_spans[0].spans] == ["a span"]


async def test_a_collector_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vistok_server.tracing._LAST_SECONDS", 0.01)
    provider = TracerProvider(shutdown_on_exit=False)
    answers, sent = threading.Event(), threading.Event()
    monkeypatch.setattr(provider, "force_flush", lambda: answers.wait(30) and sent.set())
    await send_rest(provider)
    assert not sent.is_set()
    answers.set()
    assert await asyncio.to_thread(sent.wait, 30)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_nothing_is_sent_unless_it_is_asked_for(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert provider_from_environment() is None


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "expected the exporter otlp or none, got 'zipkin'"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "expected the protocol http/protobuf, got 'grpc'",
        ),
    ],
)
def test_what_is_not_possible_is_said(
    variables: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(VistokError, match=reason):
        provider_from_environment()


def test_what_is_not_installed_is_said_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    command = typer.Typer()
    command.command()(cli.serve)
    result = CliRunner().invoke(command, ["--port", "0"])
    assert result.exit_code == 1
    assert "traces are asked for, but not installed: pip install 'vistok[tracing]'" in result.output
