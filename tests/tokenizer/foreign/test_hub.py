"""Addresses on the hub, against a hub on this machine that has two repositories."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import tiny_tokenizer_of
from tests.tokenizer.foreign.published import PUBLISHED
from vistok.checkpoints.hub import fetched
from vistok_protocol.errors import VistokError

COMMIT = "0123456789abcdef" * 2 + "01234567"


class Hub(ThreadingHTTPServer):
    """Serves folders as repositories, as far as they are asked for files.

    Attributes:
        repositories: folders by their names.
        asked: the paths that were asked for.
    """

    def __init__(self, repositories: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        for name, folder in self.server.repositories.items():
            if path.startswith((f"/api/models/{name}/revision/", f"/api/models/{name}/tree/")):
                return self._about(folder, path.rpartition("/")[2], "/tree/" in path)
            if path.startswith(f"/{name}/resolve/{COMMIT}/"):
                return self._file(folder / path.removeprefix(f"/{name}/resolve/{COMMIT}/"))
        self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _about(self, folder: Path, revision: str, as_tree: bool) -> None:
        if revision not in ("main", "v1", COMMIT):
            return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        names = [str(file.relative_to(folder)) for file in files]
        siblings = [{"rfilename": name} for name in names]
        tree = [
            {"type": "file", "path": name, "size": file.stat().st_size, "oid": _digest(file)}
            for name, file in zip(names, files, strict=True)
        ]
        body = tree if as_tree else {"id": folder.name, "sha": COMMIT, "siblings": siblings}
        self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, file: Path) -> None:
        self._answer(200, file.read_bytes(), {"ETag": f'"{_digest(file)}"', "X-Repo-Commit": COMMIT})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    tiny_tokenizer_of().save_pretrained(tmp_path / "ours")
    PUBLISHED["llamagen"].publish(PUBLISHED["llamagen"].tokenizer(), tmp_path / "theirs" / "vq")
    (tmp_path / "theirs" / "huge.onnx").write_bytes(b"not wanted")
    with Hub({"lab/ours": tmp_path / "ours", "lab/theirs": tmp_path / "theirs"}) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def info(address: str, url: str, home: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `vistok info`, whose hub is the one at the address."""
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "vistok", "info", address],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_saved_folder_is_read_back_and_kept(hub: Hub, tmp_path: Path) -> None:
    done = info("hf:lab/ours", hub.url, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert described["name"] == "tiny"
    assert described["fingerprint"] == tiny_tokenizer_of().fingerprint
    offline = info("hf:lab/ours", hub.url, tmp_path / "home", HF_HUB_OFFLINE="1")
    assert json.loads(offline.stdout) == described


def test_a_file_in_a_repository_at_a_revision(hub: Hub, tmp_path: Path) -> None:
    done = info("hf:lab/theirs@v1/vq/vq_ds16_c2i.pt", hub.url, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert (described["name"], described["config"]["origin"]["family"]) == ("vq_ds16_c2i", "llamagen")
    assert not any("onnx" in path for path in hub.asked), "only weights and configs are fetched"


@pytest.mark.parametrize(
    ("address", "environment", "said"),
    [
        ("hf:lab/nothing", {}, "hf:lab/nothing cannot be had"),
        ("hf:lab/ours@v9", {}, "hf:lab/ours@v9 cannot be had"),
        ("hf:lab/ours/nowhere.pt", {}, "has no nowhere.pt"),
        ("hf:lab/ours", {"HF_HUB_OFFLINE": "1"}, "hf:lab/ours cannot be had"),
    ],
)
def test_what_cannot_be_had_is_said(
    address: str, environment: dict[str, str], said: str, hub: Hub, tmp_path: Path
) -> None:
    done = info(address, hub.url, tmp_path / "home", **environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("address", ["hf:", "hf:name", "hf:a/b/../c", "hf:a/b@", "hf:/etc/passwd"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(VistokError, match="expected hf:org/name"):
        fetched(address)
