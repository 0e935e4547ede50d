"""Does a crowd of boxes follow a curve or surface of critical points, or only a steep valley that slopes a little?

Both leave boxes that multiply. In a valley with slope, intervals become narrow enough in the end; along a continuum
they never do. The difference shows in floating point: from nearly every box, Newton's method across the steep
directions must lead to a point close by at which the gradient vanishes to rounding. This steers the search and the
wording; no proof rests on it.
"""

from __future__ import annotations

import numpy as np

from optbench.critical.arithmetic.ends import Array
from optbench.critical.proofs.field import Field

SAMPLES = 64
STEPS = 20
FLAT = 1e-3  # of the largest eigenvalue: directions that Newton's method leaves alone
REACH = 5.0  # box widths
ROUNDING = 100.0  # widths of the gradient's enclosure at a point
MOST = 0.9  # share of the boxes


def follows_zeros(field: Field, low: Array, high: Array) -> bool:
    """Whether nearly every one of the boxes low, high (n, d) has a zero of the gradient nearby."""
    chosen = np.unique(np.linspace(0, len(low) - 1, SAMPLES).astype(int))
    low, high = low[chosen], high[chosen]
    x = middle = 0.5 * (low + high)
    wide = REACH * ((high - low) / field.width).max(axis=1, keepdims=True) * field.width
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            at = field.at(x, 2)
            grad, hess = at.grad.mean(axis=0), at.hess.mean(axis=0)
            usable = np.isfinite(hess).all(axis=(1, 2)) & np.isfinite(grad).all(axis=1)
            hess, grad = np.where(usable[:, None, None], hess, 0.0), np.where(usable[:, None], grad, 0.0)
            step = (np.linalg.pinv(hess, rcond=FLAT, hermitian=True) @ grad[..., None])[..., 0]
            x = np.clip(x - step, middle - wide, middle + wide)
        grad = field.at(x, 1).grad
        slack = ROUNDING * (grad[1] - grad[0])
        zero = ((grad[0] - slack <= 0) & (grad[1] + slack >= 0)).all(axis=1)
    inside = (np.abs(x - middle) < 0.99 * wide).all(axis=1)
    return bool((zero & inside).mean() >= MOST)
