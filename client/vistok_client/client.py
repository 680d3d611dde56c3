"""Client: the service's calls as methods that return grids, pictures and arrays."""

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vistok_client import _calls, _grid_calls
from vistok_client._batches import batches, in_order, to_send
from vistok_client._calls import Fit, Output, Preparation
from vistok_client._clip_client import ClipClient
from vistok_client._inputs import Grid, Picture, WholeGrid
from vistok_client.errors import TokenizerError
from vistok_client.reconstruction import Reconstruction
from vistok_protocol.schemas import TokenizerInfo
from vistok_protocol.tokens import TokenGrid


class Client(ClipClient):
    """A connection to a Vistok service; may be used from several threads.

    `tokenizer` is the one that methods use unless told otherwise, `video_tokenizer` that of methods for
    clips. `retries` limits how often a call is repeated after a failed connection or an answer 429 or
    503. `timeout` is in seconds, for each try; the service is told, and works no longer. A clip may take
    longer: for it, `timeout` is the time from one piece to the next. `headers` are sent with every
    request. `transport` replaces the network, for tests.

    Every method raises a `TokenizerError` (see vistok_client.errors), and OSError for a file that
    cannot be read; a `url` that is not one of http or https raises InvalidInput.
    """

    @overload
    def encode(
        self,
        picture: list[Picture] | tuple[Picture, ...],
        *,
        tokenizer: str | None = None,
        max_side: int | None = None,
        fit: Fit | None = None,
        size: tuple[int, int] | None = None,
    ) -> list[TokenGrid | TokenizerError]: ...

    @overload
    def encode(
        self,
        picture: Picture,
        *,
        tokenizer: str | None = None,
        max_side: int | None = None,
        fit: Fit | None = None,
        size: tuple[int, int] | None = None,
    ) -> TokenGrid: ...

    def encode(
        self,
        picture: Picture | list[Picture] | tuple[Picture, ...],
        *,
        tokenizer: str | None = None,
        max_side: int | None = None,
        fit: Fit | None = None,
        size: tuple[int, int] | None = None,
    ) -> TokenGrid | list[TokenGrid | TokenizerError]:
        """Return the tokens of a picture of any size.

        `picture` is a path, the bytes of a file, an open binary file, a PIL image or a uint8 array
        (h w 3). `max_side` makes it smaller first; `size` (height, width) gives it another size;
        `fit` ("pad", "crop", "resize") says how it comes to a size that the tokenizer can take.

        A list of any length is sent in requests of up to 64 pictures, one after the other, and answered
        with a list in the same order. A picture that failed is an error of the tree in its place, not
        raised: it spoils none of the others.
        """
        name, preparation = tokenizer or self._tokenizer, Preparation(max_side, fit, size)
        if not isinstance(picture, list | tuple):
            return self._run(_calls.encode(name, picture, preparation))
        results: list[TokenGrid | TokenizerError] = []
        for batch in batches(picture):
            sent = to_send(batch)
            answers = self._run(_calls.encode_several(name, sent, preparation)) if sent else []
            results += in_order(batch, answers)
        return results

    @overload
    def decode(
        self,
        grid: Grid,
        *,
        tokenizer: str | None = None,
        output: Literal["pil"] = "pil",
        any_fingerprint: bool = False,
    ) -> Image.Image: ...

    @overload
    def decode(
        self,
        grid: Grid,
        *,
        tokenizer: str | None = None,
        output: Literal["numpy"],
        any_fingerprint: bool = False,
    ) -> NDArray[np.uint8]: ...

    def decode(
        self,
        grid: Grid,
        *,
        tokenizer: str | None = None,
        output: Output = "pil",
        any_fingerprint: bool = False,
    ) -> Image.Image | NDArray[np.uint8]:
        """Return the picture of a token grid, of its bytes, or of ids alone (h w [k]).

        As a PIL image, or with `output="numpy"` as a uint8 array (h w 3), which for the grid of a clip
        is (t h w 3); a clip is no PIL image: InvalidInput. A grid goes to the tokenizer that it names
        unless `tokenizer` says otherwise; one with other weights is refused unless `any_fingerprint`.
        """
        name = _calls.tokenizer_of(grid, tokenizer, self._tokenizer)
        return self._run(_calls.decode(name, grid, output, any_fingerprint))

    def reconstruct(
        self,
        picture: Picture,
        *,
        tokenizer: str | None = None,
        max_side: int | None = None,
        fit: Fit | None = None,
        size: tuple[int, int] | None = None,
    ) -> Reconstruction:
        """Return a picture after one round trip and what that cost; arguments as in `encode`."""
        name, preparation = tokenizer or self._tokenizer, Preparation(max_side, fit, size)
        return self._run(_calls.reconstruct(name, picture, preparation))

    def quantize(self, features: ArrayLike, *, tokenizer: str | None = None) -> NDArray[np.int64]:
        """Return the ids (b h w [k]) of a float32 or float16 feature map (b d h w)."""
        return self._run(_calls.quantize(tokenizer or self._tokenizer, features))

    def lookup(self, ids: ArrayLike, *, tokenizer: str | None = None) -> NDArray[np.float32]:
        """Return the codes (b d h w) float32 of ids (b h w [k])."""
        return self._run(_calls.lookup(tokenizer or self._tokenizer, ids))

    def tokenizers(self) -> list[TokenizerInfo]:
        """Return what the service says of each of its tokenizers."""
        return self._run(_calls.tokenizers())

    def tokenizer(self, name: str | None = None) -> TokenizerInfo:
        """Return what the service says of one tokenizer."""
        return self._run(_calls.tokenizer(name or self._tokenizer))

    def put_grid(self, grid: WholeGrid) -> str:
        """Leave a grid with the service, and return the id by which it is there, always the same."""
        return self._run(_grid_calls.put_grid(grid))

    def get_grid(self, identity: str) -> TokenGrid:
        """Return the grid that was put under an id; NotFound when the service does not have it."""
        return self._run(_grid_calls.get_grid(identity))

    def reconstruction_url(self, grid: WholeGrid | str, *, tokenizer: str | None = None) -> str:
        """Return an address of the decoded picture or clip, for `<img src>` or `<video src>`.

        Nothing is sent. `grid` may also be the id that `put_grid` returned, which goes to the grid's own
        tokenizer. Raises InvalidInput for a grid that makes the address longer than 64,000 characters.
        """
        return _grid_calls.reconstruction_url(self._http.base_url, grid, tokenizer)
