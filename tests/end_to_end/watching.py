"""What a test sees of a running service from outside: its processes, its memory and its figures."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

from tests.service import Service

PATIENCE_SECONDS = 30


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def workers_of(service: Service) -> list[int]:
    tasks = Path(f"/proc/{service.process.pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def has_ended(process: int) -> bool:
    """Tell whether a process is gone, or only waits for its parent to notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def resident_kibibytes(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[0])


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def figure(service: Service, name: str) -> float:
    """Give one of the service's figures, summed over its labels; 0 while there is none."""
    with urlopen(f"{service.url}/metrics", timeout=PATIENCE_SECONDS) as answer:
        text = answer.read().decode()
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))
