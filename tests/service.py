"""A real service in a process of its own, on a free port."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Service:
    """A started service: its address, and what it has printed so far."""

    url: str
    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)


@contextmanager
def started(*options: str, **environment: str) -> Iterator[Service]:
    """Run `vistok serve` until the block ends; then it is asked to stop, and must."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vistok", "serve", "--port", "0", *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    service = Service("", process)
    try:
        for line in process.stdout:
            service.lines.append(line)
            if "curl" in line:
                break
        output = "".join(service.lines)
        address = re.search(r"http://127\.0\.0\.1:\d+", output)
        assert address is not None, output
        service.url = address.group()
        drain = threading.Thread(target=service.lines.extend, args=(process.stdout,), daemon=True)
        drain.start()
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        drain.join(timeout=60)
        process.stdout.close()
