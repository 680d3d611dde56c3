"""Tokenizers small enough to make for each test: untrained, but the same every time."""

from pathlib import Path

import pytest
import torch

from vistok.autoencoders.causal import CausalConfig
from vistok.autoencoders.convolutional import ConvolutionalConfig
from vistok.config import QuantizerConfig, TokenizerConfig
from vistok.tokenizer import VisualTokenizer

QUANTIZERS = {
    "FSQ": QuantizerConfig(type="FSQ", arguments={"levels": [5, 4, 3]}),
    "LFQ": QuantizerConfig(type="LFQ", arguments={"dim": 3}),
    "VectorQuantize": QuantizerConfig(
        type="VectorQuantize", arguments={"dim": 3, "codebook_size": 32, "use_cosine_sim": True}
    ),
}
# With several ids for each position.
SEVERAL = {
    "ResidualFSQ": QuantizerConfig(
        type="ResidualFSQ", arguments={"levels": [5, 4, 3], "num_quantizers": 2, "dim": 3}
    ),
}


def tiny_config(family: str = "FSQ") -> TokenizerConfig:
    sizes = ConvolutionalConfig(latent_dim=3, widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    return TokenizerConfig(name="tiny", autoencoder=sizes, quantizer=QUANTIZERS[family], licence="CC0-1.0")


def tiny_video_tokenizer_of(family: str = "FSQ") -> VisualTokenizer:
    sizes = CausalConfig(
        type="causal",
        latent_dim=3,
        widths=(8, 16),
        encoder_blocks=(1, 1, 1, 1),
        decoder_blocks=(1, 1),
        motion_width=8,
    )
    quantizer = (QUANTIZERS | SEVERAL)[family]
    config = TokenizerConfig(name="tiny", kind="video", autoencoder=sizes, quantizer=quantizer)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = VisualTokenizer(config)
        # Fresh blocks look at the present alone.
        for name, weight in tokenizer.named_parameters():
            if name.endswith("taps"):
                weight.data.normal_()
    tokenizer.autoencoder.encoder.project.weight.data *= 10
    return tokenizer


def tiny_tokenizer_of(family: str = "FSQ") -> VisualTokenizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = VisualTokenizer(tiny_config(family))
    # A fresh network's features lie close together: spread them, so that many ids occur.
    tokenizer.autoencoder.encoder[-1].weight.data *= 10
    return tokenizer


@pytest.fixture
def tiny_tokenizer() -> VisualTokenizer:
    return tiny_tokenizer_of()


@pytest.fixture
def tiny_video_tokenizer() -> VisualTokenizer:
    return tiny_video_tokenizer_of()


@pytest.fixture
def tiny_folder(tiny_tokenizer: VisualTokenizer, tmp_path: Path) -> Path:
    tiny_tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def tiny_video_folder(tiny_video_tokenizer: VisualTokenizer, tmp_path: Path) -> Path:
    tiny_video_tokenizer.save_pretrained(tmp_path / "tiny-video")
    return tmp_path / "tiny-video"
