"""Any quantizer whose ids form a grid can be a tokenizer's: named in its config, saved and loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vistok import VisualTokenizer, quantizers
from vistok.autoencoders.convolutional import ConvolutionalConfig
from vistok.config import QuantizerConfig, TokenizerConfig
from vistok.grids import decode_grid, encode_picture
from vistok_protocol.tokens import TokenGrid

# Channels and arguments of each family, as a config gives them.
ARGUMENTS: dict[str, tuple[int, dict[str, Any]]] = {
    "BSQ": (9, {"dim": 9}),
    "FSP": (3, {"levels": [8, 5, 4]}),
    "FSQ": (6, {"levels": [8, 8, 8, 5, 5, 5]}),
    "GSQ": (8, {"dim": 8, "codebook_size": 50, "groups": 4}),
    "IBQ": (6, {"dim": 6, "codebook_size": 100}),
    "IFSQ": (2, {"levels": [17, 5]}),
    "LFQ": (12, {"codebook_size": 64, "num_codebooks": 2}),
    "NSVQ": (6, {"dim": 6, "codebook_size": 100}),
    "GumbelQuantizer": (6, {"dim": 6, "codebook_size": 100}),
    "BinaryLatent": (4, {"dim": 4, "bits": 128}),
    "DimensionWise": (4, {"dim": 4, "levels": 16}),
    "GroupedResidualFSQ": (8, {"dim": 8, "groups": 2, "levels": [5, 3], "num_quantizers": 2}),
    "GroupedResidualLFQ": (8, {"dim": 8, "groups": 2, "num_quantizers": 2, "codebook_size": 16}),
    "GroupedResidualVQ": (8, {"dim": 8, "groups": 2, "num_quantizers": 2, "codebook_size": 32}),
    "LatentQuantize": (3, {"levels": [5, 4, 7], "dim": 3}),
    "LearnableLattice": (6, {"dim": 6, "cells": 15}),
    "LeechQuantizer": (7, {"dim": 7}),
    "MultiCodebookVQ": (12, {"dim": 12, "codebook_size": 40, "num_codebooks": 3}),
    "ResidualFSQ": (7, {"levels": [5, 4, 3], "num_quantizers": 3, "dim": 7}),
    "ResidualLFQ": (5, {"dim": 5, "num_quantizers": 3, "codebook_size": 128}),
    "ResidualSimVQ": (6, {"dim": 6, "num_quantizers": 3, "codebook_size": 50}),
    "ResidualVQ": (6, {"dim": 6, "num_quantizers": 3, "codebook_size": 50}),
    "SimVQ": (6, {"dim": 6, "codebook_size": 100}),
    "VectorQuantize": (12, {"dim": 12, "codebook_size": 64, "heads": 3, "separate_codebook_per_head": True}),
}


def made(family: str) -> VisualTokenizer:
    dim, arguments = ARGUMENTS[family]
    sizes = ConvolutionalConfig(latent_dim=dim, widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    quantizer = QuantizerConfig(type=family, arguments=arguments)
    return VisualTokenizer(TokenizerConfig(name="tiny", autoencoder=sizes, quantizer=quantizer))


@pytest.mark.parametrize("family", ARGUMENTS)
def test_a_picture_passes_through_files_and_bytes(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made(family).save_pretrained(tmp_path)
    tokenizer = VisualTokenizer.from_pretrained(tmp_path)
    picture = torch.randint(0, 256, (37, 50, 3), dtype=torch.uint8).numpy()
    grid = TokenGrid.from_bytes(encode_picture(tokenizer, picture).to_bytes())
    assert grid.ids.shape[:2] == (5, 7)
    assert grid.ids.size == 35 * tokenizer.codebooks
    assert decode_grid(tokenizer, grid).shape == picture.shape
    features = tokenizer.autoencoder.encode(torch.zeros(1, 3, 16, 16))
    assert torch.equal(
        tokenizer.lookup(tokenizer.quantize(features)), tokenizer.quantizer.quantize_map(features).codes
    )


def test_none_is_left_out() -> None:
    grids = {name for name in quantizers.__all__ if name not in {"Quantized", "Quantizer"}}
    assert grids - set(ARGUMENTS) == {"MultiScaleBSQ", "MultiScaleVQ", "RandomProjectionQuantizer"}
