"""The service does what it says in /openapi.json, whatever is made of that to call it with."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import schemathesis
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.conftest import tiny_tokenizer_of
from tests.pictures import scene
from tests.service import Service, started
from vistok.grids import encode_picture
from vistok_protocol import media_types
from vistok_protocol.npy import write_npy
from vistok_server.app import create_app
from vistok_server.settings import Settings

TOKENIZER = tiny_tokenizer_of()
DESCRIPTION = create_app(Settings(), {"tiny": TOKENIZER}).openapi()
FOUND = [found.ok() for found in schemathesis.openapi.from_dict(DESCRIPTION).get_all_operations()]
CALLS = {call.label: call for call in FOUND}
ARRAYS = [
    np.zeros((4, 5, 3), np.uint8),
    np.ones((2, 3), np.int64),
    np.ones((2, 2, 3), np.int16),
    np.full((1, 3, 2, 2), 0.5, np.float32),
]
CHECKS = [
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.negative_data_rejection,
    schemathesis.checks.ignored_auth,
    schemathesis.checks.unsupported_method,
]


def some_of(*bodies: bytes) -> st.SearchStrategy[bytes]:
    """One of these, whole or cut short, or anything else."""
    whole = st.sampled_from(bodies)
    return st.one_of(whole, st.builds(lambda body, end: body[:end], whole, st.integers(0, 200)), st.binary())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("tokenizer")
    TOKENIZER.save_pretrained(folder)
    tokens = encode_picture(TOKENIZER, scene(20, 30)).to_bytes()
    schemathesis.openapi.media_type(media_types.NPY, some_of(*map(write_npy, ARRAYS)))
    schemathesis.openapi.media_type(media_types.TOKENS, some_of(tokens))
    with started("--tokenizer", str(folder), "--device", "cpu", VISTOK_TORCH_THREADS="1024") as running:
        yield running


@pytest.mark.slow
def test_the_service_gives_the_description_that_is_held_against_it(service: Service) -> None:
    assert httpx.get(f"{service.url}/openapi.json").json() == DESCRIPTION


@pytest.mark.slow
@pytest.mark.parametrize("label", CALLS)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data(), mode=st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
def test_calls_are_answered_as_they_are_described(
    service: Service, label: str, data: st.DataObject, mode: GenerationMode
) -> None:
    name = {"name": "tiny"} if "{name}" in label else None
    case = data.draw(CALLS[label].as_strategy(mode, path_parameters=name))
    assume(len(str(case.query)) < 64_000)  # a head beyond the server's limit is refused before it is a call
    answer = case.call_and_validate(base_url=service.url, checks=CHECKS)
    assert answer.status_code < 500 or answer.json()["code"] == "timed_out", "X-Timeout-Ms may be 1"
