"""What a call raises: a tree that a stranger's `except` fits, with a request id on each."""

import pickle

import httpx
import numpy as np
import pytest
from PIL import Image

import vistok_client
from tests.client.service import Service, problem
from vistok_client import (
    CallTimedOut,
    Client,
    ConnectionFailed,
    FingerprintMismatch,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestRefused,
    ServiceFailed,
    TokenizerError,
    Unavailable,
    UnreadableAnswer,
)
from vistok_protocol import media_types
from vistok_protocol.errors import ErrorCode

CLASSES: dict[ErrorCode, type[RequestRefused]] = {
    ErrorCode.TOKENIZER_NOT_FOUND: NotFound,
    ErrorCode.GRID_NOT_FOUND: NotFound,
    ErrorCode.NOT_FOUND: NotFound,
    ErrorCode.FINGERPRINT_MISMATCH: FingerprintMismatch,
    ErrorCode.OVERLOADED: Overloaded,
    ErrorCode.NOT_READY: Unavailable,
    ErrorCode.TIMED_OUT: Unavailable,
    ErrorCode.INTERNAL: ServiceFailed,
}


def failure(outcome: httpx.Response | Exception) -> TokenizerError:
    service = Service(outcome)
    with (
        Client("http://test", transport=service.transport, retries=0) as client,
        pytest.raises(TokenizerError) as caught,
    ):
        client.tokenizers()
    if not isinstance(outcome, httpx.Response) or media_types.REQUEST_ID not in outcome.headers:
        assert caught.value.request_id == service.last.headers[media_types.REQUEST_ID]
    return caught.value


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_class(code: ErrorCode) -> None:
    error = failure(problem(code, "what came and what was expected"))
    assert type(error) is CLASSES.get(code, InvalidRequest)
    assert isinstance(error, RequestRefused)
    assert error.code == code
    assert error.status == code.status
    assert error.detail == "what came and what was expected"
    assert str(error).startswith(f"{code.status} {code}: what came")
    assert f"(request {error.request_id})" in str(error)


def test_the_request_id_is_the_one_that_the_service_answered_with() -> None:
    error = failure(problem(ErrorCode.INTERNAL, X_Request_Id="of-the-service"))
    assert error.request_id == "of-the-service"


def test_a_code_from_a_newer_service_is_passed_on() -> None:
    error = failure(httpx.Response(418, json={"code": "teapot", "detail": "short and stout"}))
    assert isinstance(error, InvalidRequest)
    assert (error.code, error.detail) == ("teapot", "short and stout")


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[]", b""])
def test_an_error_from_something_between_has_no_code(body: bytes) -> None:
    error = failure(httpx.Response(502, content=body))
    assert isinstance(error, ServiceFailed)
    assert error.code == ""
    assert "Bad Gateway" in error.detail


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError])
def test_no_answer_is_also_pythons_connection_error(kind: type[httpx.TransportError]) -> None:
    error = failure(kind("nobody is there"))
    assert isinstance(error, ConnectionFailed)
    assert isinstance(error, ConnectionError)
    assert "nobody is there" in str(error)


def test_no_answer_in_time_is_also_pythons_timeout() -> None:
    error = failure(httpx.ReadTimeout(""))
    assert isinstance(error, CallTimedOut)
    assert isinstance(error, TimeoutError)
    assert "ReadTimeout" in str(error)


@pytest.mark.parametrize(
    ("timeout", "told"),
    [(2.5, "2500"), (httpx.Timeout(7, connect=1), "7000"), (httpx.Timeout(None), None), (1e-9, "1")],
)
def test_the_service_is_told_how_long_the_client_waits(timeout: float, told: str | None) -> None:
    headers = []

    def answer(request: httpx.Request) -> httpx.Response:
        headers.append(request.headers)
        return httpx.Response(200, json={"tokenizers": []})

    with Client("http://vistok", timeout=timeout, transport=httpx.MockTransport(answer)) as client:
        client.tokenizers()
    assert headers[0].get("x-timeout-ms") == told


UNREADABLE = [
    httpx.Response(200, content=b"<html>another server</html>"),
    httpx.Response(200, json=[]),
    httpx.Response(200, json={"tokenizers": [{"name": "only"}]}),
    httpx.Response(302, headers={"Location": "http://elsewhere"}),
    httpx.Response(304),
]


@pytest.mark.parametrize("answer", UNREADABLE, ids=["html", "list", "partial", "redirect", "not modified"])
def test_an_answer_that_breaks_the_promise(answer: httpx.Response) -> None:
    assert isinstance(failure(answer), UnreadableAnswer)


BROKEN = [b"", b"VSTK", b"\x89PNG\r\n\x1a\n", b"\x93NUMPY", b'{"items": []}', b'{"items": [1, 2]}']


@pytest.mark.parametrize("content", BROKEN)
def test_every_call_reads_with_suspicion(content: bytes, picture: np.ndarray) -> None:
    service = Service(*(httpx.Response(200, content=content) for _ in range(6)))
    with Client("http://test", transport=service.transport) as client:
        calls = [
            lambda: client.encode(picture),
            lambda: client.encode([picture, picture]),
            lambda: client.decode([[1]]),
            lambda: client.decode([[1]], output="numpy"),
            lambda: client.reconstruct(Image.fromarray(picture)),
            lambda: client.quantize([[[[1.0]]]]),
        ]
        for call in calls:
            with pytest.raises(UnreadableAnswer):
                call()


def tree(base: type[TokenizerError]) -> set[type[TokenizerError]]:
    return {base}.union(*(tree(child) for child in base.__subclasses__()))


def test_everything_that_can_be_caught_is_public_and_of_one_tree() -> None:
    public = {getattr(vistok_client, name) for name in vistok_client.__all__}
    assert tree(TokenizerError) <= public


@pytest.mark.parametrize("kind", sorted(tree(TokenizerError), key=lambda kind: kind.__name__))
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_pass_between_processes(kind: type[TokenizerError], protocol: int) -> None:
    if issubclass(kind, RequestRefused):
        error = kind("too much", code="overloaded", status=429, request_id="r", retry_after=1.5)
    else:
        error = kind("too much", request_id="r")
    error.add_note("of picture 7")
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is kind
    assert vars(back) == vars(error)
    assert (back.args, str(back)) == (error.args, str(error))
