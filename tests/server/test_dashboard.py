"""The dashboard of `docker/grafana`: it asks for figures that there are, and its panels have their places."""

import json
import re
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import encoded, picture

DASHBOARD = json.loads((Path(__file__).parents[2] / "docker" / "grafana" / "vistok.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
COLUMNS = 24  # of a dashboard's grid


def expressions() -> Iterator[str]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"]


async def labels_of_figures(client: httpx.AsyncClient) -> dict[str, set[str]]:
    """Give the labels of every figure that there is after a call and a mistake."""
    route = "/v1/tokenizers/fake/encode"
    for body in (encoded(picture()), b"no picture"):
        await client.post(route, content=body, headers={"Content-Type": "image/png"})
    text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


async def test_it_asks_for_figures_and_labels_that_there_are(client: httpx.AsyncClient) -> None:
    figures = await labels_of_figures(client)
    for expression in expressions():
        names = re.findall(r"vistok_\w+", expression)
        assert names
        assert set(names) <= set(figures), expression
        known = set.union(*(figures[name] for name in names))
        grouped = [label for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(", ")]
        assert set(grouped) <= known, expression


async def test_it_shows_every_figure(client: httpx.AsyncClient) -> None:
    shown = " ".join(expressions())
    for name in await labels_of_figures(client):
        assert re.sub("_(bucket|sum|count)$", "", name) in shown, name


def test_its_panels_have_their_own_numbers_titles_and_places() -> None:
    for key in ("id", "title"):
        assert len({panel[key] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert 0 <= panel["gridPos"]["x"] <= COLUMNS - panel["gridPos"]["w"]
    for one, other in combinations(PANELS, 2):
        assert cells(one).isdisjoint(cells(other)), (one["title"], other["title"])


def test_it_uses_the_source_that_is_chosen_in_it() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {f"${{{variable['name']}}}"}


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    columns = range(place["x"], place["x"] + place["w"])
    return set(product(columns, range(place["y"], place["y"] + place["h"])))
