"""`vistok top URL`: a live view of a service, from its `/metrics`."""

import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Annotated
from urllib.error import URLError

import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

_Labels = tuple[tuple[str, str], ...]


@dataclass
class Figures:
    """One reading of `/metrics`: each sample by its name and labels."""

    at: float
    samples: dict[str, dict[_Labels, float]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def parse(cls, text: str, at: float) -> "Figures":
        """Read Prometheus's format."""
        figures = cls(at)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                figures.samples[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
        return figures

    def value(self, name: str) -> float:
        """Give a sample without labels."""
        return self.samples[name].get((), 0.0)


def frame(before: Figures, now: Figures) -> Group:
    """Draw what happened between two readings."""
    return Group(_house(now), _calls(before, now), _batches(before, now), _vocabularies(now))


def top(
    url: Annotated[str, typer.Argument(help="The service's address.")] = "http://127.0.0.1:8000",
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two readings.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show one frame and end.")] = False,
) -> None:
    """Watch a service: calls, queue, batches, workers, and the use of vocabularies."""
    try:
        before = _read(url)
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                time.sleep(every)
                now = _read(url)
                live.update(frame(before, now), refresh=True)
                before = now
                if once:
                    return
    except KeyboardInterrupt:
        return
    except (URLError, OSError, ValueError) as error:
        typer.echo(f"vistok top: cannot read {url}/metrics: {error}", err=True)
        raise typer.Exit(1) from None


def _read(url: str) -> Figures:
    if not url.startswith(("http://", "https://")):
        raise ValueError("expected an address that begins with http:// or https://")
    with urllib.request.urlopen(f"{url.rstrip('/')}/metrics", timeout=10) as answer:
        return Figures.parse(answer.read().decode(), time.monotonic())


def _house(now: Figures) -> Table:
    table = Table("in the house", "waiting for a worker", "workers up", "workers lost", title="now")
    names = ("vistok_items", "vistok_jobs_waiting", "vistok_workers_up", "vistok_worker_losses_total")
    table.add_row(*(f"{now.value(name):.0f}" for name in names))
    return table


def _calls(before: Figures, now: Figures) -> Table:
    table = Table("route", "status", "calls/s", title="calls")
    for labels, rate in _rates("vistok_requests_total", before, now).items():
        if rate:
            table.add_row(dict(labels)["route"], dict(labels)["status"], f"{rate:.1f}")
    return table


def _batches(before: Figures, now: Figures) -> Table:
    table = Table("tokenizer", "operation", "batches/s", "jobs each", "ms each", "ms queued", "megapixels/s")
    table.title = "batches"
    jobs, pixels = _rates("vistok_batch_jobs_sum", before, now), _rates("vistok_pixels_total", before, now)
    device, queue = (_rates(f"vistok_{stage}_seconds_sum", before, now) for stage in ("device", "queue"))
    for labels, rate in _rates("vistok_batch_jobs_count", before, now).items():
        if rate:
            table.add_row(
                dict(labels)["tokenizer"],
                dict(labels)["operation"],
                f"{rate:.1f}",
                f"{jobs[labels] / rate:.1f}",
                f"{1e3 * device[labels] / rate:.1f}",
                f"{1e3 * queue[labels] / max(jobs[labels], 1e-9):.1f}",
                f"{pixels[labels] / 1e6:.2f}",
            )
    return table


def _vocabularies(now: Figures) -> Table:
    table = Table("tokenizer", "ids given", "perplexity", title="vocabularies")
    for labels, used in now.samples["vistok_vocabulary_used"].items():
        perplexity = now.samples["vistok_vocabulary_perplexity"][labels]
        table.add_row(dict(labels)["tokenizer"], f"{used:,.0f}", f"{perplexity:,.0f}")
    return table


def _rates(name: str, before: Figures, now: Figures) -> dict[_Labels, float]:
    """Give how fast a counter rose, by its labels."""
    seconds = max(now.at - before.at, 1e-9)
    earlier = before.samples[name]
    return {
        labels: (value - earlier.get(labels, 0.0)) / seconds for labels, value in now.samples[name].items()
    }
