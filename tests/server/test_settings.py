"""Settings: where they come from, how they are shown, and what is refused."""

from pathlib import Path

import pytest

from vistok_protocol.errors import VistokError
from vistok_server.settings import Settings


def test_options_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "vistok.toml"
    file.write_text('tokenizers = ["a", "b"]\nmax_queue = 100\nmax_files = 7\ntimeout_seconds = 5\n')
    monkeypatch.setenv("VISTOK_MAX_QUEUE", "200")
    monkeypatch.setenv("VISTOK_MAX_FILES", "8")
    settings = Settings.load(file, max_files=9)
    assert settings.tokenizers == ("a", "b")
    assert (settings.timeout_seconds, settings.max_queue, settings.max_files) == (5, 200, 9)
    assert settings.max_body_bytes == Settings().max_body_bytes


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for name in Settings.model_fields:
        assert f"| `VISTOK_{name.upper()}` |" in text


def test_what_is_shown_is_a_file_of_the_same_settings(tmp_path: Path) -> None:
    settings = Settings.load(tokenizers="x,y", devices="cuda:0,cuda:1", max_queue=300, torch_threads=2)
    file = tmp_path / "shown.toml"
    file.write_text(settings.to_toml())
    assert Settings.load(file) == settings
    assert "# How long a call may take, its upload included; after it: 504." in settings.to_toml()
    assert "\n# torch_threads =\n" in Settings().to_toml()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("max_queu = 3", "max_queu"),
        ("max_queue = 0", "max_queue"),
        ("max_files = 1000", "max_files"),
        ('devices = ["gpu"]', "devices"),
        ("max_queue = ", "settings.toml"),
    ],
)
def test_a_wrong_setting_in_a_file_is_named(text: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(VistokError, match=f"the settings are not valid: .*{named}"):
        Settings.load(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VistokError, match="nothing"):
        Settings.load(tmp_path / "nothing.toml")


def test_an_unknown_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISTOK_MAX_QUEU", "3")
    with pytest.raises(VistokError, match="VISTOK_MAX_QUEU: no such setting"):
        Settings.load()
