"""A load of callers who ask one after the other, each on a connection of its own, by `wrk`."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local file = io.open("{picture}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "image/jpeg"
"""


@dataclass(frozen=True)
class Speed:
    """What wrk saw: requests per second, median and 99th percentile in milliseconds, and what failed."""

    per_second: float
    median: float
    p99: float
    failed: int


def load(url: str, picture: bytes, callers: int, seconds: float) -> Speed:
    """Post a JPEG again and again."""
    with tempfile.TemporaryDirectory() as folder:
        script, file = Path(folder) / "post.lua", Path(folder) / "picture.jpg"
        file.write_bytes(picture)
        script.write_text(_SCRIPT.format(picture=file))
        options = ["--latency", "-t1", f"-c{callers}", f"-d{seconds:g}s", "--timeout=60s", "-s", str(script)]
        text = subprocess.run(["wrk", *options, url], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None, text
    return Speed(float(rate[1]), _milliseconds(text, "50%"), _milliseconds(text, "99%"), _failed(text))


def _milliseconds(text: str, row: str) -> float:
    found = re.search(rf"{row}\s+([\d.]+)(us|ms|s)", text)
    assert found is not None, text
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def _failed(text: str) -> int:
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return int(refused[1] if refused else 0) + sum(map(int, broken.groups() if broken else ()))
