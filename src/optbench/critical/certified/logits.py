"""Torch operations of classification losses on what a surface of logits sees: softmax and its kin, labels, masks.

Everything comes down to log sum_j e^(x_j - x_i) in differences of logits: e^x itself would overflow, and where a logit
occurs on both sides of a difference of sums, intervals would count its width twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from optbench.critical.certified.operations import Operand, along, double_only, elementary, mean, multiply, subtract
from optbench.critical.certified.traced import OPERATIONS, Columns, MissingRule, Scalar, Traced


def _log_total(parts: Sequence[Scalar], i: int) -> Scalar:
    """log sum_j e^(x_j - x_i) = log(1 + sum_{j != i} e^(x_j - x_i)), in differences, so that intervals stay narrow."""
    differences = [p.plus(parts[i].scale(-1.0)) for j, p in enumerate(parts) if j != i]
    found = parts[i].scale(0.0) if not differences else differences[0].apply("softplus")
    for difference in differences[1:]:
        # log(e^s + e^d) = s + log(1 + e^(d - s)) does not overflow.
        found = found.plus(difference.plus(found.scale(-1.0)).apply("softplus"))
    return found


def log_softmax(x: Operand, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Columns:
    """log p_i = x_i - log sum_j e^x_j."""
    double_only(dtype)
    parts = along(x, dim, "log_softmax")
    return Columns([_log_total(parts, i).scale(-1.0) for i in range(len(parts))])


class Masked(Traced):
    """Coordinates without those that -inf was scattered over: e^-inf is 0, so logsumexp, and it alone, can go on."""

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Scalar]) -> None:
        self.parts = tuple(parts)


def logsumexp(x: Operand, dim: Any = None, keepdim: bool = False) -> Any:
    """log sum_j e^x_j."""
    parts = x.parts if isinstance(x, Masked) and dim in (-1, (-1,), [-1]) else along(x, dim, "logsumexp")
    if not parts:
        raise MissingRule("logsumexp of nothing")
    found = parts[0].plus(_log_total(parts, 0))
    return Columns([found]) if keepdim else found


def _one_index(index: Any, name: str) -> int:
    if not isinstance(index, torch.Tensor) or index.numel() != 1:
        raise MissingRule(f"{name} with more than one index a row")
    return int(index)


def gather(x: Operand, dim: Any, index: Any, sparse_grad: bool = False) -> Columns:
    """The coordinate of a label."""
    return Columns([along(x, dim, "gather")[_one_index(index, "gather")]])


def scatter(x: Operand, dim: Any, index: Any, value: Any) -> Masked:
    """-inf in the place of a label's coordinate."""
    parts, i = along(x, dim, "scatter"), _one_index(index, "scatter")
    if not isinstance(value, float) or value != float("-inf"):
        raise MissingRule("scatter of anything but -inf")
    return Masked([part for j, part in enumerate(parts) if j != i])


def squeeze(x: Operand, dim: Any = None) -> Any:
    """The one coordinate itself."""
    if not isinstance(x, Columns) or dim not in (-1, 1) or len(x.parts) != 1:
        raise MissingRule("squeeze of anything but one coordinate (dim=-1)")
    return x.parts[0]


def softmax(x: Operand, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """e^(log p_i)."""
    return elementary("exp", log_softmax(x, dim, dtype=dtype))


def cross_entropy(
    x: Operand,
    target: Any,
    weight: Any = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log p of the label, mixed with the mean over all classes by label_smoothing."""
    if weight is not None or size_average is not None or reduce is not None or reduction != "none":
        raise MissingRule("cross_entropy with weights or a reduction")
    if torch.as_tensor(target).numel() != 1 or int(target) == ignore_index:
        raise MissingRule("cross_entropy of other than one label")
    logs = log_softmax(x, -1)
    value = logs.parts[int(target)].scale(-(1.0 - label_smoothing))
    return value if not label_smoothing else subtract(value, multiply(mean(logs, -1), label_smoothing))


OPERATIONS |= {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "cross_entropy": cross_entropy,
    "gather": gather,
    "scatter": scatter,
    "squeeze": squeeze,
}
