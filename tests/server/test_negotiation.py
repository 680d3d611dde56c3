import pytest

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_server.negotiation import choose

PICTURES = ("image/png", "image/webp", "image/jpeg")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "image/png"),
        ("", "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/webp", "image/webp"),
        ("IMAGE/WebP", "image/webp"),
        ("image/png;q=0.5, image/webp;q=0.9", "image/webp"),
        ("image/avif,image/jpeg;q=0.9,*/*;q=0.8", "image/jpeg"),
        ("image/*, image/png;q=0.1", "image/webp"),
        ("text/html;level=1, image/jpeg", "image/jpeg"),
    ],
)
def test_the_best_liked_offer_is_chosen(accept: str | None, expected: str) -> None:
    assert choose(accept, PICTURES) == expected


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/png;q=banana", ",;,", "*/*;q=0"])
def test_what_cannot_be_answered_is_refused(accept: str) -> None:
    with pytest.raises(VistokError, match="can answer with image/png") as caught:
        choose(accept, PICTURES)
    assert caught.value.code is ErrorCode.NOT_ACCEPTABLE
