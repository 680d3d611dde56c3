"""Pieces of clips through a tokenizer. What the network remembers travels with them: a worker keeps nothing.

So the pieces of one clip may be done by any workers, and one that is lost costs no clip.
"""

import numpy as np
import torch

from vistok.media.pixels import to_model, to_uint8
from vistok.tokenizer import VisualTokenizer
from vistok_server.orders import DecodedPiece, DecodePiece, EncodedPiece, EncodePiece


def encode_piece(tokenizer: VisualTokenizer, order: EncodePiece) -> EncodedPiece:
    """Give the ids of a piece."""
    stream = tokenizer.stream_encoder(_tensors(order.past))
    ids = stream.push(to_model(order.frames).movedim(0, 1)[None])
    if order.is_last:
        ids = torch.cat((ids, stream.finish()), dim=1)
    return EncodedPiece(ids[0].cpu().numpy(), _arrays(stream.past))


def decode_piece(tokenizer: VisualTokenizer, order: DecodePiece) -> DecodedPiece:
    """Give the frames of a piece."""
    stream = tokenizer.stream_decoder(_tensors(order.past))
    frames = stream.push(torch.from_numpy(order.ids)[None])
    return DecodedPiece(to_uint8(frames[0].movedim(1, 0)), _arrays(stream.past))


def _tensors(arrays: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def _arrays(tensors: list[torch.Tensor]) -> list[np.ndarray]:
    return [tensor.cpu().numpy() for tensor in tensors]
