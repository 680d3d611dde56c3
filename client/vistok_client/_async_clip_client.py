"""The methods of `AsyncClient` for clips."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from os import PathLike
from typing import Unpack

from vistok_client import _clip_calls
from vistok_client._calls import tokenizer_of
from vistok_client._clip_calls import ClipOptions, ClipPreparation
from vistok_client._connections import AsyncConnection
from vistok_client._inputs import Grid
from vistok_client._uploads import Clip
from vistok_client.errors import warn_of_damage
from vistok_protocol.tokens import TokenGrid


class AsyncClipClient(AsyncConnection):
    """Clips to grids and back."""

    async def encode_video(
        self,
        video: Clip,
        *,
        tokenizer: str | None = None,
        **options: Unpack[ClipOptions],
    ) -> TokenGrid:
        """Return the tokens of a clip; see `Client.encode_video`."""
        name = tokenizer or self._video_tokenizer
        grid, damage = await self._run(_clip_calls.encode_video(name, video, ClipPreparation(**options)))
        warn_of_damage(damage)
        return grid

    def stream_video(
        self,
        video: Clip | Iterable[bytes] | AsyncIterable[bytes],
        *,
        tokenizer: str | None = None,
        **options: Unpack[ClipOptions],
    ) -> AsyncGenerator[TokenGrid, None]:
        """Give the tokens of a clip while it is still being sent, for `async for`; see `Client.stream_video`.

        `video` may also be an asynchronous iterable of bytes; what is not asynchronous is read in a thread.
        """
        name = tokenizer or self._video_tokenizer
        return self._stream(_clip_calls.stream_video(name, video, ClipPreparation(**options)))

    async def decode_video(
        self,
        grid: Grid,
        path: str | PathLike[str],
        *,
        tokenizer: str | None = None,
        any_fingerprint: bool = False,
    ) -> None:
        """Write the clip of a token grid to a file; see `Client.decode_video`."""
        name = tokenizer_of(grid, tokenizer, self._video_tokenizer)
        await self._run(_clip_calls.decode_video(name, grid, path, any_fingerprint))
