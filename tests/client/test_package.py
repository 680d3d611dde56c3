"""The package as a stranger meets it: small to import, with the names that it says it has."""

import subprocess
import sys

import vistok_client

HEAVY = {"torch", "vistok", "vistok_server", "fastapi", "starlette", "aiohttp"}
PROGRAM = "import sys, vistok_client; print(*{name.partition('.')[0] for name in sys.modules})"


def test_importing_the_client_imports_nothing_heavy() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert "vistok_client" in loaded
    assert not loaded & HEAVY


def test_public_names_are_those_in_all() -> None:
    modules = {"client", "async_client", "errors", "reconstruction"}
    public = {name for name in vars(vistok_client) if not name.startswith("_")}
    assert public - modules == set(vistok_client.__all__)
    assert sorted(vistok_client.__all__) == vistok_client.__all__


def test_classes_say_what_they_are() -> None:
    for name in vistok_client.__all__:
        assert getattr(vistok_client, name).__doc__, f"{name} has no docstring"
