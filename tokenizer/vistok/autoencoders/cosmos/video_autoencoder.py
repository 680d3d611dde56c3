"""Both networks of a video tokenizer, with the convolutions beside the quantizer."""

from torch import Tensor, nn

from vistok.autoencoders.cosmos.config import CosmosVideoConfig
from vistok.autoencoders.cosmos.video_blocks import one_by_one
from vistok.autoencoders.cosmos.video_decoder import VideoDecoder
from vistok.autoencoders.cosmos.video_encoder import VideoEncoder
from vistok.autoencoders.memory import Memory
from vistok.autoencoders.vqgan.blocks import convolution


class CosmosVideoAutoencoder(nn.Module):
    """Clips `(b 3 T H W)` in [-1, 1] to feature maps `(b d t h w)` and back.

    Nothing depends on what comes later.
    Height and width must be multiples of `factor`, and frames come in whole groups: `1 + n * temporal_factor`
    at the start of a clip, `n * temporal_factor` after that. With a memory, a clip may come in such pieces,
    one after the other. Attention over time looks at the whole clip before: unlike that of our own networks,
    the memory grows with the clip, by a key and a value for each latent frame, position and attention.
    """

    def __init__(self, config: CosmosVideoConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        self.factor, self.temporal_factor = config.factor, config.temporal_factor
        self.encoder, self.decoder = VideoEncoder(config), VideoDecoder(config)
        self.quant_conv = convolution(config.feature_dim, config.latent_dim, kernel=1)
        self.post_quant_conv = convolution(config.latent_dim, config.feature_dim, kernel=1)

    def encode(self, clip: Tensor, memory: Memory | None = None) -> Tensor:
        """Give the feature map `(b d t h w)` of frames `(b 3 T H W)`."""
        memory = Memory() if memory is None else memory
        features = one_by_one(self.quant_conv, self.encoder(clip, memory))
        memory.end_piece()
        return features.transpose(1, 2)

    def decode(self, codes: Tensor, memory: Memory | None = None) -> Tensor:
        """Give the frames `(b 3 T H W)`, about in [-1, 1], of codes `(b d t h w)`."""
        memory = Memory() if memory is None else memory
        clip = self.decoder(one_by_one(self.post_quant_conv, codes.transpose(1, 2)), memory)
        memory.end_piece()
        return clip
