"""Traces of calls, by OpenTelemetry, for whoever asks for them in the environment.

A call of the API is one span, in its caller's trace where that is named. In it lie `admit`, until the first
of its jobs is in the queue; for each job `queue` and `device`, both again after a lost worker; and `answer`,
from the end of its last job on.
"""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import Scope

from vistok_protocol.errors import ErrorCode, VistokError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from vistok_server.jobs import Job

NAME = "vistok"

# What monitors and browsers ask lies elsewhere, and would be most of what is recorded.
_API = "/v1/"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
# For what is not sent yet when the service stops; a collector that is gone would be tried for much longer.
_LAST_SECONDS = 5.0
_FROM_CALLER = TraceContextTextMapPropagator()


class Trace:
    """The span of one call, and its stages."""

    def __init__(self, tracer: Tracer, span: Span, began: int) -> None:
        self._tracer = tracer
        self._span = span
        self._within = set_span_in_context(span)
        self._began = began
        self._is_admitted = False
        self._worked_until: int | None = None

    @classmethod
    def of(cls, tracer: Tracer | None, scope: Scope, request_id: str) -> "Trace | None":
        """Begin with a call; nothing where it is not traced, or not in the sample."""
        if tracer is None or _API not in scope["path"]:
            return None
        began = time.time_ns()
        attributes = {"http.request.method": scope["method"], "vistok.request_id": request_id}
        caller = _FROM_CALLER.extract(Headers(scope=scope))
        span = tracer.start_span(scope["method"], caller, SpanKind.SERVER, attributes, start_time=began)
        return cls(tracer, span, began) if span.is_recording() else None

    def end(self, method: str, route: str, status: int | None) -> None:
        """End with the answer; its status is None when the caller left before."""
        if self._worked_until is not None:
            self._tracer.start_span("answer", self._within, start_time=self._worked_until).end()
        self._span.update_name(f"{method} {route}")
        self._span.set_attribute("http.route", route)
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
            if status >= 500:
                self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def queue(self, job: "Job") -> Span:
        """Begin the time of one of its jobs in the queue; what was before the first was its admission."""
        if not self._is_admitted:
            self._is_admitted = True
            self._span.set_attribute("vistok.tokenizer", job.tokenizer)
            self._span.set_attribute("vistok.operation", job.order.operation)
            self._tracer.start_span("admit", self._within, start_time=self._began).end()
        return self._tracer.start_span("queue", self._within)

    def device(self, job: "Job", batch_jobs: int) -> Span:
        """Begin the time of one of its jobs at a worker."""
        attributes = {"vistok.pixels": job.pixels, "vistok.batch_jobs": batch_jobs}
        return self._tracer.start_span("device", self._within, attributes=attributes)

    def end_stage(self, stage: Span) -> None:
        """End one of these; what follows the last is the answer."""
        self._worked_until = time.time_ns()
        stage.end(self._worked_until)


def enter_queue(job: "Job") -> None:
    """Tell that a job waits."""
    if job.sender.trace is not None:
        job.stage = job.sender.trace.queue(job)


def enter_device(jobs: "Sequence[Job]") -> None:
    """Tell that jobs go to a worker, as one batch."""
    for job in jobs:
        if job.sender.trace is not None:
            leave((job,))
            job.stage = job.sender.trace.device(job, len(jobs))


def lose_worker(jobs: "Sequence[Job]") -> None:
    """Tell that their worker was lost, and that those without a result wait again."""
    for job in jobs:
        if job.stage is not None:
            job.stage.set_status(StatusCode.ERROR, "the worker was lost")
            leave((job,))
            if not job.result.done():
                enter_queue(job)


def leave(jobs: "Sequence[Job]") -> None:
    """Tell that jobs are done, or given up."""
    for job in jobs:
        if job.stage is not None and job.sender.trace is not None:
            job.sender.trace.end_stage(job.stage)
            job.stage = None


def tracer_of(provider: "TracerProvider | None") -> Tracer | None:
    """Give what begins the spans of this service."""
    return None if provider is None else provider.get_tracer(NAME, version(NAME))


async def send_rest(provider: "TracerProvider | None") -> None:
    """Send what is not sent yet, as far as that is quickly done."""
    if provider is not None:
        # Not the loop's own threads, which would be waited for to their end.
        sending = threading.Thread(target=provider.force_flush, daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, _LAST_SECONDS)


def provider_from_environment() -> "TracerProvider | None":
    """Make what sends spans to the place that the OTEL_ variables name; nothing when they ask for none.

    Raises VistokError(INVALID_REQUEST) for what is not installed or not possible.
    """
    if not _is_asked_for():
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise _wrong("traces are asked for, but not installed: pip install 'vistok[tracing]'") from None
    name = Resource.create({SERVICE_NAME: NAME}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=name, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _is_asked_for() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or ("otlp" if _first_of(_ENDPOINTS) else "none")
    if exporter == "none":
        return False
    if exporter != "otlp":
        raise _wrong(f"expected the exporter otlp or none, got {exporter!r}")
    if (protocol := _first_of(_PROTOCOLS) or _PROTOCOL) != _PROTOCOL:
        raise _wrong(f"expected the protocol {_PROTOCOL}, got {protocol!r}")
    return True


def _first_of(variables: Sequence[str]) -> str | None:
    return next((value for name in variables if (value := os.environ.get(name))), None)


def _wrong(what: str) -> VistokError:
    return VistokError(ErrorCode.INVALID_REQUEST, f"in the OTEL_ variables: {what}")
