"""Everything that moves during training, and its checkpoint on disk."""

import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vistok.tokenizer import VisualTokenizer
from vistok.training.config import OptimizationConfig
from vistok.training.processes import Place
from vistok_protocol.errors import ErrorCode, VistokError


@dataclass
class TrainingState:
    """The live tokenizer, its moving average, the optimizer and the number of finished steps.

    `network` is the tokenizer as it is called: with several processes, inside the wrapper that averages
    their gradients.
    """

    tokenizer: VisualTokenizer
    network: nn.Module
    average: AveragedModel
    optimizer: AdamW
    step: int = 0

    @classmethod
    def fresh(cls, tokenizer: VisualTokenizer, config: OptimizationConfig, here: Place) -> "TrainingState":
        """Start at step 0."""
        average = AveragedModel(tokenizer, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        optimizer = AdamW(
            tokenizer.parameters(), config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        network = tokenizer if here.world_size == 1 else DistributedDataParallel(tokenizer)
        return cls(tokenizer, network, average, optimizer)

    def averaged_tokenizer(self) -> VisualTokenizer:
        """Give the tokenizer with the averaged weights, which is what a run is for."""
        assert isinstance(self.average.module, VisualTokenizer)
        return self.average.module.eval()

    def save(self, path: Path) -> None:
        """Write the checkpoint; a kill in between leaves the previous one whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "tokenizer": self.tokenizer.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "random": torch.get_rng_state(),
        }
        unfinished = path.with_suffix(".unfinished")
        torch.save(state, unfinished)
        os.replace(unfinished, path)

    def load(self, path: Path, device: torch.device) -> None:
        """Go on from a checkpoint; it is read as tensors alone, nothing in it can run."""
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            self.tokenizer.load_state_dict(state["tokenizer"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
            torch.set_rng_state(state["random"].cpu())
        except (RuntimeError, ValueError, TypeError, KeyError, EOFError, UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise VistokError(
                ErrorCode.INVALID_REQUEST,
                f"{path} is not a checkpoint of this recipe ({reason}); delete it to start anew",
            ) from None
