"""`vistok top`: what it draws, and what it says when there is nothing to draw."""

import httpx
import typer
from rich.console import Console
from typer.testing import CliRunner

from tests.server.conftest import encoded, picture
from vistok_server.top import Figures, frame, top


async def test_a_frame_shows_what_happened_between_two_readings(client: httpx.AsyncClient) -> None:
    before = Figures.parse((await client.get("/metrics")).text, at=10.0)
    for level in range(4):
        body = encoded(picture(brightness=17 * level))
        await client.post("/v1/tokenizers/fake/encode", content=body, headers={"Content-Type": "image/png"})
    now = Figures.parse((await client.get("/metrics")).text, at=12.0)
    console = Console(width=120)
    with console.capture() as captured:
        console.print(frame(before, now))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in captured.get().splitlines()]
    assert ["/v1/tokenizers/{name}/encode", "200", "2.0"] in rows
    assert ["fake", "4", "4"] in rows, "four ids, evenly"
    (batches,) = [row for row in rows if row[:3] == ["fake", "encode", "2.0"]]
    assert batches[3] == "1.0"
    assert ["0", "0", "1", "0"] in rows


def test_a_service_that_is_not_there_is_said_in_a_sentence() -> None:
    command = typer.Typer()
    command.command()(top)
    for url in ("http://127.0.0.1:9", "file:///etc/hostname"):
        result = CliRunner().invoke(command, [url])
        assert result.exit_code == 1
        assert f"vistok top: cannot read {url}/metrics: " in result.output
