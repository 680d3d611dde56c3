"""What the service counts and times, in Prometheus's words; `/metrics` shows it."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vistok_protocol.schemas import TokenizerInfo
from vistok_server.jobs import Job

# Prometheus asks for no time of creation, and it would double the number of series.
disable_created_metrics()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_JOBS = (1, 2, 4, 8, 16, 32, 64, 128)
_SHARES = tuple(tenth / 10 for tenth in range(1, 11))
# A count for each id, which for larger vocabularies would take too much memory.
_LARGEST_VOCABULARY = 2**22


class Metrics:
    """All figures of one application; each has its meaning beside its name."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        batch = ("tokenizer", "operation")
        self.requests = self._counter("requests", "Calls answered.", "route", "status")
        self.refusals = self._counter("refusals", "Calls that ended in an error.", "code")
        self.pixels = self._counter("pixels", "Pixels that workers did.", *batch)
        self.worker_losses = self._counter("worker_losses", "Workers that died or hung, and were replaced.")
        self.request_seconds = self._histogram(
            "request_seconds", "From the head of a call to the end of its answer.", _SECONDS, "route"
        )
        self.queue_seconds = self._histogram(
            "queue_seconds", "A job in the queue, until its batch begins.", _SECONDS, *batch
        )
        self.device_seconds = self._histogram("device_seconds", "A batch at a worker.", _SECONDS, *batch)
        self.batch_jobs = self._histogram("batch_jobs", "Jobs of a batch.", _JOBS, *batch)
        self.batch_fill = self._histogram(
            "batch_fill", "Pixels of a batch, as a share of the most.", _SHARES, *batch
        )
        self.vocabulary = VocabularyUse()
        self._registry.register(self.vocabulary)

    def count_batch(
        self, jobs: Sequence[Job], start: float, seconds: float, pixels: int, fill: float
    ) -> None:
        """Count a batch that was at its worker from `start` on, for so many seconds."""
        labels = jobs[0].kind
        waited = self.queue_seconds.labels(*labels)
        for job in jobs:
            waited.observe(start - job.arrived)
        self.device_seconds.labels(*labels).observe(seconds)
        self.batch_jobs.labels(*labels).observe(len(jobs))
        self.batch_fill.labels(*labels).observe(fill)
        self.pixels.labels(*labels).inc(pixels)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show a number that somebody else keeps."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """Give all figures as Prometheus reads them."""
        return generate_latest(self._registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"vistok_{name}", meaning, labels, registry=self._registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"vistok_{name}", meaning, labels, registry=self._registry, buckets=buckets)


class VocabularyUse(Collector):
    """Which ids encoding has given since the start: how many, and how evenly."""

    def __init__(self) -> None:
        self._counts: dict[str, np.ndarray] = {}
        self._fingerprints: dict[str, str] = {}

    def add(self, tokenizer: TokenizerInfo, ids: np.ndarray) -> None:
        """Count ids of any shape; those of another tokenizer that had this name before are forgotten."""
        if tokenizer.vocabulary_size > _LARGEST_VOCABULARY:
            return
        if self._fingerprints.get(tokenizer.name) != tokenizer.fingerprint:
            self._fingerprints[tokenizer.name] = tokenizer.fingerprint
            self._counts[tokenizer.name] = np.zeros(tokenizer.vocabulary_size, np.int64)
        np.add.at(self._counts[tokenizer.name], ids.reshape(-1), 1)

    def collect(self) -> Iterable[Metric]:
        """Give both figures of every tokenizer that has encoded something."""
        yield _family("vistok_vocabulary_used", "Distinct ids given.", self._counts, np.count_nonzero)
        meaning = "Number of equally likely ids that would have the entropy of those given."
        yield _family("vistok_vocabulary_perplexity", meaning, self._counts, _perplexity)


def _family(
    name: str, meaning: str, counts: Mapping[str, np.ndarray], figure: Callable[[np.ndarray], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=["tokenizer"])
    for tokenizer, of_ids in counts.items():
        family.add_metric([tokenizer], float(figure(of_ids)))
    return family


def _perplexity(counts: np.ndarray) -> float:
    probability = counts[counts > 0] / counts.sum()
    return float(np.exp(-(probability * np.log(probability)).sum()))
