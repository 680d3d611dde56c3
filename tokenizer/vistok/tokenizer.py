"""The tokenizer: an autoencoder, a quantizer between its halves, and the pixel convention [-1, 1]."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from vistok.autoencoders import catalogue as autoencoders
from vistok.checkpoints.fingerprint import fingerprint
from vistok.config import TokenizerConfig, parse
from vistok.grid_rules import SPACES, check_ids
from vistok.pixel_rules import check_pixels
from vistok.quantizers.base import Quantized, Quantizer
from vistok.quantizers.catalogue import built
from vistok.streams import StreamDecoder, StreamEncoder
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_protocol.tokens import Kind


class VisualTokenizer(nn.Module):
    """Pictures or clips to ids and back.

    Letters: `b` batch, `h w` rows and columns of the grid, `H W` of the picture (`H = factor * h`), `t`
    latent frames, `T` frames (axes of clips alone), `d` latent channels, `k` codebooks (an axis only where
    there are several). The first latent frame of a clip stands for one frame, others for `temporal_factor`.
    Inference runs in eval mode and without gradients.

    Attributes:
        batch_invariant: whether the ids and pixels of a picture are the same in any company, to the last bit.
            Without it the networks run whole batches, which on accelerators is faster for small pictures.
    """

    batch_invariant = True

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self._fingerprint: str | None = None
        self.config = config
        self.autoencoder = autoencoders.built(config.autoencoder)
        self.quantizer = _build_quantizer(config)
        # Positions with their channels together are the faster layout for both kinds of convolution here.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """Load a bundled tokenizer by its name, a saved one from its folder, or what others have published.

        `docs/models.md` lists the families whose checkpoints, files or folders, are read.
        """
        from vistok.checkpoints.native import load

        config, weights = load(name_or_folder)
        tokenizer = cls(config)
        tokenizer.load_weights(weights, source=str(name_or_folder))
        try:
            return tokenizer.to(device)
        except (RuntimeError, AssertionError) as error:
            raise VistokError(ErrorCode.INVALID_REQUEST, f"cannot use device {device}: {error}") from None

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write `config.json` and `model.safetensors`; floating weights are stored as `dtype`."""
        from vistok.checkpoints.native import save

        save(folder, self.config, self.state_dict(), dtype)

    def rename(self, name: str) -> Self:
        """Offer it under another name, which its ids do not depend on; give itself. INVALID_REQUEST."""
        values = {**self.config.model_dump(), "name": name}
        self.config = parse(TokenizerConfig, values, source=f"the tokenizer called {name[:80]!r}")
        return self

    def load_weights(self, weights: dict[str, Tensor], source: str) -> None:
        """Take over all weights, or refuse with the names that are missing, unexpected or misshapen."""
        self._fingerprint = None
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise VistokError(
                ErrorCode.INVALID_REQUEST, f"the weights of {source} do not fit its config: {error}"
            ) from None

    @property
    def name(self) -> str:
        """The name under which the service offers it."""
        return self.config.name

    @property
    def kind(self) -> Kind:
        """What it tokenizes: pictures, or clips, of which a picture is one of one frame."""
        return self.config.kind

    @property
    def factor(self) -> int:
        """Pixels per id, along height and along width."""
        return self.autoencoder.factor

    @property
    def temporal_factor(self) -> int:
        """Frames per id, after the first of a clip; 1 for pictures."""
        return self.autoencoder.temporal_factor

    @property
    def latent_dim(self) -> int:
        """Channels `d` of the feature map and of the codes."""
        return self.autoencoder.latent_dim

    @property
    def vocabulary_size(self) -> int:
        """Number of values one id can take."""
        return self.quantizer.vocabulary_size

    @property
    def codebooks(self) -> int:
        """Ids per position."""
        return self.quantizer.ids_per_token

    @property
    def quantizer_name(self) -> str:
        """The quantizer's family, as in `vistok.quantizers`."""
        return self.config.quantizer.type

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that change whenever an id could mean another picture."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.config, self.state_dict())
        return self._fingerprint

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def describe(self) -> TokenizerInfo:
        """Say what it is, as the service and the command line show it."""
        return TokenizerInfo(
            name=self.name,
            kind=self.kind,
            quantizer=self.quantizer_name,
            vocabulary_size=self.vocabulary_size,
            codebooks=self.codebooks,
            latent_dim=self.latent_dim,
            spatial_factor=self.factor,
            temporal_factor=self.temporal_factor,
            fingerprint=self.fingerprint,
            licence=self.config.licence,
            parameters=sum(weight.numel() for weight in self.parameters()),
            quality=self.config.quality,
        )

    def train(self, mode: bool = True) -> Self:
        """Switch training on or off; after training, ids mean something else."""
        self._fingerprint = None
        return super().train(mode)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Quantized]:
        """Training's round trip: pixels `(b 3 [T] H W)` to their reconstruction, and what was quantized."""
        quantized = self.quantizer.quantize_map(self.autoencoder.encode(pixels))
        return self.autoencoder.decode(quantized.codes), quantized

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """Give the ids `(b [t] h w [k])` int64 of pictures or clips `(b 3 [T] H W)` floating, in [-1, 1].

        `t` is `1 + (T - 1) / temporal_factor`, rounded up: the last frame is repeated until a group is whole.
        """
        if self.kind == "video":
            stream = self.stream_encoder()
            return torch.cat((stream.push(pixels), stream.finish()), dim=1)
        check_pixels(pixels, self.kind, self.factor)
        return self.quantizer.ids_of_map(torch.cat(list(self._in_parts(self._features, pixels))))

    @torch.inference_mode()
    def decode(self, ids: Tensor) -> Tensor:
        """Give the pictures or clips `(b 3 [T] H W)` float32 in [-1, 1] of ids `(b [t] h w [k])`.

        `T` is `1 + temporal_factor * (t - 1)`: what was repeated in encoding is the caller's to leave out.
        """
        if self.kind == "video":
            return self.stream_decoder().push(ids)
        self._check_ids(ids)
        return torch.cat(list(self._in_parts(self._pictures, ids.long())))

    def stream_encoder(self, past: Sequence[Tensor] = ()) -> StreamEncoder:
        """Begin a clip whose frames come in pieces, or go on after the `past` of another stream.

        Raises INVALID_REQUEST when this is for pictures.
        """
        return StreamEncoder(self, past)

    def stream_decoder(self, past: Sequence[Tensor] = ()) -> StreamDecoder:
        """Begin a clip whose ids come in pieces, or go on after the `past` of another stream.

        Raises INVALID_REQUEST when this is for pictures.
        """
        return StreamDecoder(self, past)

    @torch.inference_mode()
    def quantize(self, features: Tensor) -> Tensor:
        """Give the ids `(b [t] h w [k])` of finite feature maps `(b d [t] h w)`: the quantizer alone."""
        space = SPACES[self.kind]
        if features.ndim != len(space.split()) + 2 or 0 in features.shape:
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected a feature map (b d {space}) with d = {self.latent_dim}, "
                f"got {tuple(features.shape)}",
            )
        if not features.isfinite().all():
            raise VistokError(
                ErrorCode.INVALID_ARRAY, "expected finite features, got NaN or infinity among them"
            )
        return self.quantizer.ids_of_map(features.to(self.device))

    @torch.inference_mode()
    def lookup(self, ids: Tensor) -> Tensor:
        """Give the codes `(b d [t] h w)` float32 of ids `(b [t] h w [k])`: the quantizer alone."""
        self._check_ids(ids)
        return self.quantizer.lookup(ids.to(self.device, torch.int64))

    def _check_ids(self, ids: Tensor) -> None:
        if ids.is_floating_point():
            raise VistokError(
                ErrorCode.INVALID_SHAPE,
                f"expected whole numbers, got {str(ids.dtype).removeprefix('torch.')} {tuple(ids.shape)}",
            )
        check_ids(self, ids.cpu().numpy())

    def _in_parts(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Iterator[Tensor]:
        """Run a network on each picture alone if need be; quantizers may have them all together.

        Convolutions choose their arithmetic by the shape of the batch, and a last bit can move an id over a
        boundary: measured on CPUs, small pictures differ between batches of one and of two.
        """
        return (run(item.to(self.device)) for item in batch.split(1 if self.batch_invariant else len(batch)))

    def _features(self, pixels: Tensor) -> Tensor:
        return self.autoencoder.encode(pixels.float().contiguous(memory_format=torch.channels_last))

    def _pictures(self, ids: Tensor) -> Tensor:
        return self.autoencoder.decode(self.quantizer.lookup(ids)).clamp(-1, 1)


def _build_quantizer(config: TokenizerConfig) -> Quantizer:
    quantizer = built(config.quantizer.type, config.quantizer.arguments)
    if quantizer.dim != config.autoencoder.latent_dim:
        raise VistokError(
            ErrorCode.INVALID_SHAPE,
            f"{config.name}: the quantizer takes {quantizer.dim} channels, "
            f"the autoencoder gives {config.autoencoder.latent_dim}",
        )
    return quantizer
