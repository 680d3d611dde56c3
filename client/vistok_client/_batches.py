"""A list of pictures, cut into what a service takes in one request."""

from collections.abc import Iterable, Iterator, Sequence

from vistok_client._inputs import Body, Picture, picture_body
from vistok_client.errors import InvalidInput, RequestRefused, TokenizerError
from vistok_protocol.tokens import TokenGrid

# What a service takes by default: 64 files, and 128 MiB with what multipart puts around them.
MOST_FILES = 64
MOST_BYTES = 100 * 2**20

Batch = list[Body | InvalidInput]
"""A body for each picture, or why it cannot be sent: one bad picture spoils no other."""


def batches(pictures: Iterable[Picture]) -> Iterator[Batch]:
    """Cut a list, in its order, into batches of at most MOST_FILES pictures and MOST_BYTES.

    Files are read when it is their turn, so that a long list needs no more memory than one request.
    """
    batch: Batch = []
    size = 0
    for picture in pictures:
        body = _body_or_error(picture)
        length = len(body.content) if isinstance(body, Body) else 0
        if len(batch) == MOST_FILES or size + length > MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch


def to_send(batch: Batch) -> list[Body]:
    """Return the bodies of a batch."""
    return [body for body in batch if isinstance(body, Body)]


def in_order(batch: Batch, answers: Sequence[TokenGrid | RequestRefused]) -> list[TokenGrid | TokenizerError]:
    """Put the answers to the bodies that were sent where those bodies stood."""
    remaining = iter(answers)
    return [body if isinstance(body, InvalidInput) else next(remaining) for body in batch]


def _body_or_error(picture: Picture) -> Body | InvalidInput:
    try:
        body = picture_body(picture)
    except InvalidInput as error:
        return error
    except OSError as error:
        return InvalidInput(f"the picture cannot be read: {error}")
    if len(body.content) > MOST_BYTES:
        return InvalidInput(
            f"expected at most {MOST_BYTES} bytes for one of several, got {len(body.content)}"
        )
    return body
