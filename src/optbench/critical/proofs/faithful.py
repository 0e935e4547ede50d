"""Is the surface's program the surface? Tried at some points before anything is proved.

The proof is about the program that was recorded (`program`). At some points of the box its enclosures of value and
gradient are compared with what torch and autograd compute; a rule for an operation that does not mean what torch means,
or a gradient that is not that of the values, fails here. So does what is not a function of the point (`steady`). That a
surface passes is not a proof; the rules have tests.
"""

from __future__ import annotations

import numpy as np
import torch

from optbench.critical.arithmetic.ends import Array
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.programs.steady import check_steady
from optbench.critical.proofs.field import Field
from optbench.errors import UserError

FINITE = 1024  # points at which a value is looked for
TRIED = 16  # points at which values and gradients are compared
SLACK = {"value": 1e-9, "gradient": 1e-6}  # of the largest size seen: tensors are rounded, and in another order


def check_faithful(field: Field) -> None:
    """Compares value and gradient of tensors with their enclosures at some points of the box.

    Raises:
        UserError: the surface is finite at none of the points tried.
        MissingRule: tensors and intervals disagree.
    """
    unit = np.random.default_rng(0).random((FINITE, field.dim))
    x = field.low + unit * field.width
    with np.errstate(all="ignore"):
        finite = np.isfinite(field.values(x))
    if not finite.any():
        raise UserError(
            f"the function is not finite anywhere in the box ({FINITE} points tried)", "choose another --box"
        )
    chosen = x[finite][:TRIED]
    check_steady(field.objective, x[:TRIED])
    enclosure, (value, gradient) = field.at(chosen, 1), _torch(field, chosen)
    if not (_holds(enclosure.value, value, "value") and _holds(enclosure.grad, gradient, "gradient")):
        raise MissingRule("something in this surface (its values on intervals are not those on tensors)")


def _torch(field: Field, x: Array) -> tuple[Array, Array]:
    """Values (n,) and gradients (n, d) by autograd, each point alone."""
    points = torch.from_numpy(x).requires_grad_(True)
    values = [torch.as_tensor(field.objective(point[None]), dtype=torch.float64).reshape(-1)[0] for point in points]
    value = torch.stack(values)
    if not value.requires_grad:
        return value.numpy(), np.zeros_like(x)
    gradient = torch.autograd.grad(value.sum(), points)[0]
    return value.detach().numpy(), gradient.numpy()


def _holds(ends: Array, seen: Array, what: str) -> bool:
    """Whether every finite value lies within its enclosure, widened by what rounding may do."""
    with np.errstate(all="ignore"):
        low, high = ends
        known = np.isfinite(seen) & np.isfinite(low) & np.isfinite(high)
        size = np.abs(np.where(known, seen, 0.0)).max(initial=0.0)
        slack = SLACK[what] * size + 4.0 * (high - low)
        return bool((~known | ((seen >= low - slack) & (seen <= high + slack))).all())
