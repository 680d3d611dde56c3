"""Values kept while weights stay: every way in which weights change is noticed."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vistok.quantizers.vector.derived import Derived


class Doubled(nn.Module):
    """A module whose value is twice its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(3.0))
        self.derived = Derived()
        self.computed = 0

    def forward(self) -> Tensor:
        return self.derived.of(lambda: (self.weight,), self._compute)[0]

    def _compute(self) -> tuple[Tensor]:
        self.computed += 1
        return (2 * self.weight,)


def in_place(module: Doubled) -> None:
    with torch.no_grad():
        module.weight.add_(1)


def through_data_in_training(module: Doubled) -> None:
    module.train()
    module.weight.data.add_(1)
    module.eval()


def loaded(module: Doubled) -> None:
    module.load_state_dict({"weight": torch.ones(3)})


def assigned(module: Doubled) -> None:
    module.load_state_dict({"weight": torch.ones(3)}, assign=True)


def replaced(module: Doubled) -> None:
    module.weight.data = torch.ones(3)


def stepped(module: Doubled) -> None:
    module.weight.grad = torch.ones(3)
    torch.optim.SGD(module.parameters(), lr=1.0).step()


def cast(module: Doubled) -> None:
    module.double()


@pytest.mark.parametrize(
    "change", [in_place, through_data_in_training, loaded, assigned, replaced, stepped, cast]
)
def test_a_change_is_noticed(change: Callable[[Doubled], None]) -> None:
    module = Doubled().eval()
    module()
    change(module)
    assert torch.equal(module(), 2 * module.weight)


def test_what_does_not_change_is_computed_once() -> None:
    module = Doubled().eval()
    assert module() is module()
    assert module.computed == 1
    assert not module().requires_grad


def test_training_computes_every_time_with_gradients() -> None:
    module = Doubled().train()
    module()
    module().sum().backward()
    assert module.computed == 2
    assert torch.equal(module.weight.grad, torch.full((3,), 2.0))


def test_values_first_computed_under_inference_mode_can_take_part_in_training() -> None:
    module = Doubled().eval()
    with torch.inference_mode():
        module()
    factor = torch.ones(3, requires_grad=True)
    (module() * factor).sum().backward()
    assert torch.equal(factor.grad, module())


def test_weights_made_under_inference_mode_are_computed_with_every_time() -> None:
    with torch.inference_mode():
        module = Doubled().eval()
        module.weight.add_(1)
        assert torch.equal(module(), 2 * module.weight)


def test_copies_go_their_own_way() -> None:
    module = Doubled().eval()
    module()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        in_place(other)
        assert torch.equal(other(), 2 * other.weight)
        assert not torch.equal(other(), module())
