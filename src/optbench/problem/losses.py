"""One value a row of a batch, whatever the outputs are of: classes, the tokens of a text, one number or several.

A loss is `(outputs, targets) -> values`, an nn.Module or any callable. It is asked in the form in which losses are
usually written:

    targets (b,), whole       outputs (b, C), as they come
    targets (b, t), whole     outputs (b, t, C): asked of the b t tokens as rows, (b t, C) and (b t,); a row's value is
                              the mean over its tokens
    targets (b,), numbers     outputs (b, 1) come without the last axis, as elementwise losses want them; a loss with
                              `takes_numbers` gets them as they are
    targets (b, k), numbers   outputs (b, k), as they come
    a tree of tensors         outputs, a tensor or a tree, as they come: what they mean is known to the loss alone
    a Ragged                  outputs that are one: asked of their values as rows; a row's value is the mean of its own

and values beyond (b,) are averaged over what is not a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from optbench.errors import IncompatibleError
from optbench.problem.ragged import Ragged, row_means
from optbench.problem.trees import Tree

Loss = Callable[[Tree, Tree], Tensor]


class CalledLoss(nn.Module):
    """A loss that is no module, as one: what the callable has for attributes it has too.

    Args:
        function: (outputs, targets) to one value a row.
    """

    def __init__(self, function: Loss) -> None:
        super().__init__()
        self._function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As the callable has it."""
        return self._function(outputs, targets)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_"):
                raise
            return getattr(getattr(self._function, "func", self._function), name)


def as_loss(loss: Any) -> nn.Module:
    """A loss as a module. Raises IncompatibleError for what cannot be called."""
    if isinstance(loss, nn.Module):
        return loss
    if not callable(loss):
        raise IncompatibleError(f"the loss is a {type(loss).__name__}; expected (outputs, targets) -> one value a row")
    return CalledLoss(loss)


def row_losses(loss: Loss, outputs: Tree, targets: Tree) -> Tensor:
    """The loss of each row, (b,), by the rule at the top.

    Args:
        loss: that is asked.
        outputs: of the model, (b, C), (b, t, C), (b, 1) or (b, k), or a tree or a Ragged where targets are one.
        targets: (b,), (b, t) or (b, k), a tree of tensors, or a Ragged.
    """
    values: Any
    if isinstance(targets, Ragged):
        values = row_losses(loss, outputs.values, targets.values)
        check_values(values, len(targets.values), loss)
        return row_means(values, targets)
    if not isinstance(targets, Tensor):
        values = loss(outputs, targets)
    elif targets.is_floating_point():
        values = loss(outputs if getattr(loss, "takes_numbers", False) else _alike(outputs, targets), targets)
    elif targets.ndim > 1:
        tokens, (flat, wanted) = targets.shape, tokenwise(outputs, targets)
        values = loss(flat, wanted)
        values = values.reshape(tokens) if values.shape == wanted.shape else values
    else:
        values = loss(outputs, targets)
    if not isinstance(values, Tensor):
        raise IncompatibleError(f"{type(loss).__name__} gives a {type(values).__name__}; expected a tensor (b,)",
                                "a loss gives one value a row")  # fmt: skip
    return values.flatten(1).mean(dim=1) if values.ndim > 1 else values


def _alike(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs in the form of targets that are numbers: broadcast against one another they would mean something else."""
    if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1:
        outputs = outputs.squeeze(-1)
    if outputs.shape != targets.shape:
        several = targets.shape[1] if targets.ndim > 1 else 1
        raise IncompatibleError(
            f"the model's outputs are {tuple(outputs.shape)} and the numbers to learn {tuple(targets.shape)}",
            f"set n_outputs={several}, or n_targets: {several} in the YAML of the data",
        )
    return outputs


def tokenwise(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (b, t, C) and targets (b, t) as those of b t rows; of (b, C) and (b,) themselves.

    Raises:
        IncompatibleError: outputs of another shape.
    """
    if targets.ndim == 1:
        return outputs, targets
    if outputs.ndim != targets.ndim + 1 or outputs.shape[:-1] != targets.shape:
        raise IncompatibleError(
            f"the model's outputs are {tuple(outputs.shape)} and the targets {tuple(targets.shape)}",
            "a model of texts gives outputs (b, length, vocabulary), one for each token",
        )
    return outputs.flatten(0, -2), targets.flatten()


def check_values(values: Tensor, n: int, loss: object) -> None:
    """Raises IncompatibleError unless a loss gave one number a row."""
    name = type(loss).__name__
    if values.shape != (n,):
        hint = "set loss.reduction=none: the mean over a batch is taken outside" if values.ndim == 0 else ""
        came = f"{name} gives values of shape {tuple(values.shape)} for {n} rows"
        raise IncompatibleError(f"{came}; expected ({n},), one value a row", hint)


def row_weights(targets: Tree, weights: Tensor | None) -> Tensor | None:
    """What each row counts in the mean over a data set, (n,), from the weights of the examples: where positions have
    targets a row counts by how many it has, so that the mean is over these. None: all rows count alike."""
    if not isinstance(targets, Ragged):
        return weights
    counts = targets.lengths.float()
    return counts if weights is None else counts * weights


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of (n,), each counted by its weight."""
    if weights is None:
        return values.mean()
    return (values * weights).sum() / weights.sum()
