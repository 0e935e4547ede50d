"""Stochastic depth: residual branches left out at random while a network is trained, image by image.

A residual block is x + f(x); with the probability p_l its branch f is left out for an image, and else divided by
1 - p_l, so that the mean is that of the whole block, which is what evaluations use. p_l grows linearly with the depth,
p_l = p l / L for block l of L, so that the last one has the probability that was asked for.

Huang et al., Deep networks with stochastic depth (2016), arXiv:1603.09382, section 3 and equation 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optbench.errors import IncompatibleError

if TYPE_CHECKING:
    from torch import Tensor, nn

_BRANCHES = {
    "torchvision.models.resnet.BasicBlock": "bn2",
    "torchvision.models.resnet.Bottleneck": "bn3",
    "torchvision.models.regnet.ResBottleneckBlock": "f",
    "torchvision.models.mobilenetv2.InvertedResidual": "conv",
    "torchvision.models.mobilenetv3.InvertedResidual": "block",
}
"""Blocks of torchvision, and the part of each whose output is added to the skip connection."""


def leave_out_branches(model: nn.Module, most: float, name: str) -> None:
    """Makes a model leave out its residual branches while it is in training mode; its weights keep their names.

    Args:
        model: whose branches are known: torchvision's, or those that its `residual_branches()` gives in the order of
            depth, as modules whose output is added to a skip connection.
        most: probability of leaving out the last branch, in (0, 1].
        name: of the model, for messages.

    Raises:
        IncompatibleError: it has no residual branches, or leaves them out already.
    """
    if any(type(module).__name__ == "StochasticDepth" for module in model.modules()):
        raise IncompatibleError(f"{name} has stochastic depth of its own", "set model.stochastic_depth_prob instead")
    branches = residual_branches(model)
    if not branches:
        raise IncompatibleError(f"trainer.stochastic_depth={most:g}: {name} has no residual branches to leave out",
                                "model=hw3_residual, resnet18 ... have; leave it at null for others")  # fmt: skip
    for number, branch in enumerate(branches, 1):
        branch.register_forward_hook(_Chance(most * number / len(branches)))


def residual_branches(model: nn.Module) -> list[nn.Module]:
    """The modules whose output is added to a skip connection, in the order of depth; none where none are known."""
    own = getattr(model, "residual_branches", None)
    if callable(own):
        return list(own())
    found = []
    for block in model.modules():
        part = _BRANCHES.get(f"{type(block).__module__}.{type(block).__qualname__}")
        if part is not None and getattr(block, "use_res_connect", True):
            found.append(getattr(block, part))
    return found


class _Chance:
    """Leaves out a module's output, as a hook after it: an object, so that models can be copied and pickled.

    Args:
        p: the probability.
    """

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        from optbench.vision import torchvision

        left: Tensor = torchvision.ops.stochastic_depth(output, self.p, "row", module.training)
        return left
