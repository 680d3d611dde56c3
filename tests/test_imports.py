"""What importing costs: the client never pulls torch, and imports run one way."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("vistok_client", {"torch", "vistok", "vistok_server", "fastapi", "typer", "aiohttp"}),
        ("vistok_protocol.tokens", {"torch", "httpx", "vistok", "PIL"}),
        ("vistok_protocol.schemas", {"torch", "httpx", "vistok", "PIL"}),
        ("vistok", {"torch"}),
        ("vistok.media.image", {"torch", "fastapi"}),
        ("vistok_server.cli", {"torch", "fastapi", "uvicorn"}),
        ("vistok_server.app", {"torch"}),
    ],
)
def test_importing_stays_light(module: str, never: set[str]) -> None:
    script = f"import sys, {module}; print(' '.join({never!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_imports_run_one_way() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
