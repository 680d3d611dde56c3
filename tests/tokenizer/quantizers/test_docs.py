"""The guide to the quantizers: its examples run, and no family is missing from it."""

import re
from pathlib import Path

import pytest

import vistok.quantizers
from vistok.quantizers import Quantized, Quantizer

GUIDE = (Path(__file__).parents[3] / "docs" / "quantizers.md").read_text(encoding="utf-8")
BASES = {Quantized.__name__, Quantizer.__name__}


def examples() -> dict[str, str]:
    """Blocks of Python under the headings they follow."""
    found: dict[str, str] = {}
    for section in re.split(r"^#+ ", GUIDE, flags=re.MULTILINE)[1:]:
        for block in re.findall(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL):
            found[f"{section.splitlines()[0]}, {len(found)}"] = block
    return found


@pytest.mark.parametrize("example", examples().values(), ids=examples().keys())
def test_every_example_runs_by_itself(example: str) -> None:
    exec(example, {})


def test_every_family_has_a_section_with_an_example() -> None:
    sections = {
        name for heading in re.findall(r"^### (.+)$", GUIDE, re.MULTILINE) for name in heading.split(", ")
    }
    assert sections == set(vistok.quantizers.__all__) - BASES
    shown = {title.rpartition(", ")[0] for title in examples()}
    assert set(re.findall(r"^### (.+)$", GUIDE, re.MULTILINE)) <= shown
