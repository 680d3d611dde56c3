"""The methods of `Client` for clips."""

from collections.abc import Generator, Iterable
from os import PathLike
from typing import Unpack

from vistok_client import _clip_calls
from vistok_client._calls import tokenizer_of
from vistok_client._clip_calls import ClipOptions, ClipPreparation
from vistok_client._connections import Connection
from vistok_client._inputs import Grid
from vistok_client._uploads import Clip
from vistok_client.errors import warn_of_damage
from vistok_protocol.tokens import TokenGrid


class ClipClient(Connection):
    """Clips to grids and back."""

    def encode_video(
        self,
        video: Clip,
        *,
        tokenizer: str | None = None,
        **options: Unpack[ClipOptions],
    ) -> TokenGrid:
        """Return the tokens of a clip: ids (t h w [k]), the first of t for one frame.

        `video` is a path, the bytes of a file, an open binary file (sent from where it stands) or a uint8
        array (t h w 3). A file is sent piece by piece, whatever its size; a clip longer than the service
        takes in one call (by default 300 seconds) is refused with InvalidRequest: see `stream_video`.

        `fps` is how many frames a second are taken, by leaving out and repeating; `start` and `duration`
        (seconds) say which part is taken, `max_frames` how many frames at most; the others are those of
        `encode`. Where the clip is damaged, the warning ClipDamaged says so.
        """
        name = tokenizer or self._video_tokenizer
        grid, damage = self._run(_clip_calls.encode_video(name, video, ClipPreparation(**options)))
        warn_of_damage(damage)
        return grid

    def stream_video(
        self,
        video: Clip | Iterable[bytes],
        *,
        tokenizer: str | None = None,
        **options: Unpack[ClipOptions],
    ) -> Generator[TokenGrid, None, None]:
        """Give the tokens of a clip of any length in grids of a few frames, while it is still being sent.

        `video` may also be an iterable of the bytes of a file, which may never end, as those of a camera;
        it is read in a thread. The other arguments are those of `encode_video`.

        `TokenGrid.joined` makes one grid of all, which is that of `encode_video`. No more is read and sent
        than the service takes, and that is little while no grid is asked for; leaving the loop, or closing
        the generator, ends the call. `timeout` is the time in which nothing moves. Calls are repeated
        before the first grid alone, and not with what can be read only once. What the iterable raises
        comes out as it is. `transport` has no part in this.
        """
        name = tokenizer or self._video_tokenizer
        return self._stream(_clip_calls.stream_video(name, video, ClipPreparation(**options)))

    def decode_video(
        self,
        grid: Grid,
        path: str | PathLike[str],
        *,
        tokenizer: str | None = None,
        any_fingerprint: bool = False,
    ) -> None:
        """Write the clip of a token grid, of its bytes, or of ids alone (t h w [k]) to a file.

        Its kind is that of the ending: .mp4, .webm, .gif, .webp, or .npy for an array (t h w 3). It is
        written as it comes, and takes its place at the end: after a failure there is what was there before.
        The other arguments are those of `decode`, which with `output="numpy"` returns the array.
        """
        name = tokenizer_of(grid, tokenizer, self._video_tokenizer)
        self._run(_clip_calls.decode_video(name, grid, path, any_fingerprint))
