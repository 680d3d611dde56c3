"""Every example of the field's library, taken from the installed package, runs with our import."""

import re
from importlib.metadata import metadata

import pytest

PACKAGE = "vector_quantize_pytorch"
# Names that the examples use and do not define.
UNDEFINED = {"dim": 9, "num_codebooks": 3}


def examples() -> list[str]:
    description = metadata(PACKAGE).get_payload()
    assert isinstance(description, str)
    return re.findall(r"```python\n(.*?)```", description, re.DOTALL)


def title(example: str) -> str:
    imported = re.search(rf"from {PACKAGE} import (\w+)", example)
    return imported[1] if imported else "?"


@pytest.mark.parametrize("example", examples(), ids=title)
def test_the_originals_examples_run(example: str) -> None:
    assert f"from {PACKAGE} import" in example
    exec(example.replace(f"from {PACKAGE} import", "from vistok.quantizers import"), dict(UNDEFINED))


def test_all_examples_were_found() -> None:
    assert len(examples()) >= 26
