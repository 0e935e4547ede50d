"""Networks that are a chain: layers, each of which takes what the one before it made, and nothing else.

Seen, not declared: the model runs on a few examples while its layers are watched. Whatever it does before the first
layer (flattening, normalising the inputs) has no parameters and treats each example alone; then it is done once for
all examples, and a batch of a chain is a choice of rows of that table.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from optbench.stacked.windows import (
    CONVOLUTIONS,
    POOLINGS,
    Convolution,
    Largest,
    convolved,
    numbers,
    pictures,
    windows_of,
)

_ELEMENTWISE = (
    nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU, nn.Softplus, nn.Softsign,
    nn.Mish, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Identity,
)  # fmt: skip
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_LAYERS = (nn.Linear, *_NORMS, *CONVOLUTIONS, *POOLINGS, nn.Dropout, *_ELEMENTWISE)


_SLOWER: Mapping[type[nn.Module], str] = {
    nn.RNNBase: "takes 2 to 3 times as long in a stack as in the loop",
    nn.Embedding: "does not stack: of transformers a stack was no quicker than the loop",
}
"""As measured with torch's vmap (benchmarks/results/stacked.md)."""


class UnstackedError(Exception):
    """Why networks cannot be stacked; the loop trains them one by one."""


@dataclass(frozen=True)
class Chain:
    """The layers of a model, in order.

    Attributes:
        layers: name in the model and layer.
        shapes: of an example as each layer takes it.
    """

    layers: Sequence[tuple[str, nn.Module]]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def drawing(self) -> list[tuple[str, float, tuple[int, ...]]]:
        """The layers that draw in training, in order: name, share that is dropped, shape of an example."""
        dropping = ((name, layer.p) for name, layer in self.layers if isinstance(layer, nn.Dropout))
        return [(name, p, self.shapes[name]) for name, p in dropping if 0.0 < p < 1.0]

    @property
    def normalises(self) -> bool:
        """Whether what is made of an example hangs on the others of its batch."""
        return any(isinstance(layer, _NORMS) for _, layer in self.layers)

    @property
    def windowed(self) -> tuple[int, int, int]:
        """How many layers look through windows, multiplications of an example in them beyond one a weight, and numbers
        of an example that are pooled or normalised there."""
        layers, more, touched = 0, 0, 0
        for name, layer in self.layers:
            shape = self.shapes[name]
            if isinstance(layer, _NORMS) and len(shape) > 1:
                touched += math.prod(shape)
            elif isinstance(layer, (*CONVOLUTIONS, *POOLINGS)) and (windows := windows_of(layer)) is not None:
                layers += 1
                places = math.prod(windows.made((1, *shape[1:])))
                if isinstance(layer, CONVOLUTIONS):
                    more += (places - 1) * layer.weight.numel()
                else:
                    touched += shape[0] * places * windows.places
        return layers, more, touched

    def forward(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        gradients: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """The outputs of every row.

        Args:
            weights: name of a parameter to (rows, ...).
            buffers: name of a floating-point buffer to (rows, ...), contiguous; in training they are updated.
            x: (rows, features, b), what the first layer takes.
            gradients: in training, where the gradients of linear layers and convolutions are put by the backward
                pass, which gives None for them; like the weights. None: evaluation.
            masks: in training, what the layers that draw multiply by (`draws`).

        Returns:
            (rows, outputs, b).
        """
        for name, layer in self.layers:
            if isinstance(layer, nn.Dropout):
                x = _dropped(layer, x, masks.get(name), gradients is not None)
            elif isinstance(layer, (*CONVOLUTIONS, *POOLINGS)):
                x = self._windowed(layer, name, weights, x, gradients)
            else:
                x = _applied(layer, name, weights, buffers, x, gradients)
        return x

    def _windowed(
        self,
        layer: nn.Module,
        name: str,
        weights: Mapping[str, Tensor],
        x: Tensor,
        gradients: Mapping[str, Tensor] | None,
    ) -> Tensor:
        windows, x = windows_of(layer), pictures(x, self.shapes[name])
        assert windows is not None
        weight, bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        if weight is None:
            made: Tensor = Largest.apply(x, windows)  # type: ignore[no-untyped-call]
        elif gradients is None:
            made = convolved(windows, x, weight, bias)
        else:
            places = gradients[f"{name}.weight"], gradients.get(f"{name}.bias")
            made = Convolution.apply(x, weight, bias, windows, *places)  # type: ignore[no-untyped-call]
        return numbers(made)


class _Linear(torch.autograd.Function):
    """A linear layer of every row, units before examples, which is how the products are quickest.

    Its weights' gradients go straight to their place: what autograd would return is a copy in another order.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, of_weight: Tensor, of_bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.places = of_weight, of_bias
        return _linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_weight, of_bias = ctx.places
        torch.bmm(slope, x.mT, out=of_weight)
        if of_bias is not None:
            torch.sum(slope, dim=2, out=of_bias)
        back = torch.bmm(weight.mT, slope) if ctx.needs_input_grad[0] else None
        return back, None, None, None, None


def _dropped(layer: nn.Dropout, x: Tensor, mask: Tensor | None, train: bool) -> Tensor:
    if mask is not None:
        return x * mask
    return x * 0.0 if train and layer.p == 1.0 else x


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias[:, :, None], weight, x)


def _applied(
    layer: nn.Module,
    name: str,
    weights: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    x: Tensor,
    gradients: Mapping[str, Tensor] | None,
) -> Tensor:
    own, shift = f"{name}.weight", f"{name}.bias"
    weight, bias = weights.get(own), weights.get(shift)
    if isinstance(layer, nn.Linear):
        assert weight is not None
        if gradients is None:
            return _linear(x, weight, bias)
        made: Tensor = _Linear.apply(x, weight, bias, gradients[own], gradients.get(shift))  # type: ignore[no-untyped-call]
        return made
    if isinstance(layer, _NORMS):
        assert layer.momentum is not None
        # the units of all rows are the channels of one batch norm, whose backward pass is one operation
        mean, variance = (buffers[f"{name}.running_{kind}"].view(-1) for kind in ("mean", "var"))
        scale, shifts = (None if w is None else w.reshape(-1) for w in (weight, bias))
        train = gradients is not None
        made = batch_norm(x.reshape(1, len(mean), -1), mean, variance, scale, shifts, train, layer.momentum, layer.eps)
        return made.view(x.shape)
    kept: Tensor = layer(x)
    return kept


def chain_of(model: nn.Module, examples: Tensor) -> Chain:
    """The layers of a model.

    Args:
        model: any.
        examples: what it takes, (n, ...), n > 1.

    Raises:
        UnstackedError: it is no chain of layers that stack, in a sentence.
    """
    # contiguous, so that flattening makes no copy
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    leaves = {name: module for name, module in model.named_modules() if not any(module.children())}
    for name, module in leaves.items():
        if type(module) is not nn.Flatten:
            _check_layer(name, module)
    _check_owned(model, leaves)
    with _watched(leaves) as calls, torch.no_grad():
        outputs = _evaluated(model, examples)
    names = [name for name, _, _ in calls]
    if len(set(names)) != len(names):
        raise UnstackedError(f"{type(model).__name__} uses a layer more than once")
    made = None
    for name, given, result in calls:
        if made is not None and not _is_same(given, made):
            raise UnstackedError(f"{type(model).__name__} does more than hand on what a layer made ({name})")
        made = result
    layers = [(name, leaves[name]) for name in names if type(leaves[name]) is not nn.Flatten]
    if made is None or not layers or not _is_same(outputs, made):
        raise UnstackedError(f"{type(model).__name__} is no chain of layers")
    if any(name not in names for name in leaves):
        raise UnstackedError(f"{type(model).__name__} has layers that it does not use")
    shapes = {name: tuple(given.shape[1:]) for name, given, _ in calls}
    for name, layer in layers:
        _check_shape(name, layer, shapes[name])
    return Chain(layers, shapes)


def _check_shape(name: str, layer: nn.Module, shape: tuple[int, ...]) -> None:
    """Raises UnstackedError where a layer is used on examples of another shape than its usual one."""
    if isinstance(layer, nn.Linear) and len(shape) != 1:
        raise UnstackedError(f"the layer {name} is applied along a sequence")
    if isinstance(layer, nn.Dropout) and len(shape) == 3:
        raise UnstackedError(f"dropout ({name}) of pictures draws in another order than that of numbers")


def _check_layer(name: str, layer: nn.Module) -> None:
    if type(layer) not in _LAYERS:
        why = next((words for kind, words in _SLOWER.items() if isinstance(layer, kind)), "is no layer that stacks")
        raise UnstackedError(f"{type(layer).__name__} ({name}) {why}")
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
        raise UnstackedError(f"the layer {name} has hooks")
    if isinstance(layer, (*CONVOLUTIONS, *POOLINGS)) and windows_of(layer) is None:
        raise UnstackedError(
            f"{type(layer).__name__} ({name}) has options that do not stack, such as groups or dilation"
        )
    if isinstance(layer, _NORMS) and (layer.momentum is None or not layer.track_running_stats):
        raise UnstackedError(f"batch norm ({name}) without a moving average of its statistics does not stack")


def _check_owned(model: nn.Module, leaves: Mapping[str, nn.Module]) -> None:
    """Checks that every parameter is one layer's own and is trained."""
    own = [f"{name}.{key}" for name, leaf in leaves.items() for key, _ in leaf.named_parameters(recurse=False)]
    if sorted(own) != sorted(name for name, _ in model.named_parameters()):
        raise UnstackedError(f"{type(model).__name__} has parameters that are no layer's, or are shared")
    if not all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters()):
        raise UnstackedError(f"{type(model).__name__} has parameters that are not trained, or not in float32")


Calls = list[tuple[str, Tensor, Tensor]]


@contextmanager
def _watched(leaves: Mapping[str, nn.Module]) -> Iterator[Calls]:
    calls: Calls = []

    def note(name: str) -> Callable[..., None]:
        def called(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            if len(given) != 1 or not isinstance(given[0], Tensor) or not isinstance(made, Tensor):
                raise UnstackedError(f"the layer {name} does not map one tensor to one")
            calls.append((name, given[0], made))

        return called

    handles = [leaf.register_forward_hook(note(name)) for name, leaf in leaves.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _evaluated(model: nn.Module, examples: Tensor) -> Tensor:
    training = model.training
    model.eval()
    try:
        made: Tensor = model(examples)
    finally:
        model.train(training)
    return made


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one, or one is the other flattened."""
    return a.data_ptr() == b.data_ptr() and a.numel() == b.numel() and (a.shape == b.shape or b.is_contiguous())


def table_of(model: nn.Module, chain: Chain, parts: Iterator[Tensor]) -> Tensor:
    """What the first layer of a chain takes of each example, as one row (n, features) float32.

    Args:
        model: whose layers they are.
        chain: of it.
        parts: the examples as the model takes them, some at a time.

    Raises:
        UnstackedError: an example is not treated alone.
    """
    name = chain.layers[0][0]
    layer = model.get_submodule(name)
    found: list[Tensor] = []
    with torch.no_grad():
        for part in parts:
            with _watched({name: layer}) as calls:
                _evaluated(model, part)
            found.append(calls[0][1].flatten(1).clone())
            if len(found) == 1:  # batch norm in evaluation mode aside, nothing before it may look at the others
                with _watched({name: layer}) as alone:
                    _evaluated(model, part[:1])
                if not torch.equal(alone[0][1].flatten(1), found[0][:1]):
                    raise UnstackedError("what is done before the first layer depends on the other examples of a batch")
    return torch.cat(found)
