"""A network on sets: what it says of points does not hang on their order, nor on what pads them."""

from __future__ import annotations

from torch import Tensor, nn

from optbench.errors import UserError
from optbench.models._checks import check_count

_POOLS = ("max", "mean")


class DeepSets(nn.Module):
    """rho(pool of phi(x) over the points x of a set), phi and rho networks of one hidden layer with ReLU.

    Args:
        n_outputs: number of outputs.
        in_features: numbers of a point; null: as many as the first ones have.
        width: of all hidden layers.
        pool: max, of each number the largest over the points, or mean.

    Shape: float (b, t, d) and mask bool (b, t), True where a point is real -> (b, n_outputs).

    Raises:
        UserError: a size that is no whole number of at least 1, another pool, or an input of another kind.

    Source: M. Zaheer et al., Deep sets (NeurIPS 2017), theorem 2 and section 4.1.2, which takes max on point clouds.
    """

    def __init__(self, n_outputs: int = 10, in_features: int | None = None, width: int = 64, pool: str = "max") -> None:
        super().__init__()
        if pool not in _POOLS:
            raise UserError(f"pool={pool}: expected {' or '.join(_POOLS)}")
        self.pool = pool
        check_count("n_outputs", n_outputs)
        check_count("width", width)
        first = (
            nn.LazyLinear(width) if in_features is None else nn.Linear(check_count("in_features", in_features), width)
        )
        self.of_points = nn.Sequential(first, nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.of_sets = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_outputs))

    def forward(self, points: Tensor, mask: Tensor | None = None) -> Tensor:
        """Outputs: (b, t, d) and (b, t) -> (b, n_outputs); without a mask all points are real."""
        if points.ndim != 3 or not points.is_floating_point():
            raise UserError(f"the network takes sets of points (b, t, d); got {points.dtype} {tuple(points.shape)}",
                            "e.g. data=digit_points")  # fmt: skip
        if mask is not None and mask.shape != points.shape[:2]:
            raise UserError(f"the mask of points {tuple(points.shape)} is {tuple(mask.shape)}",
                            "use collate.beside=mask")  # fmt: skip
        found = self.of_points(points)
        there = found.new_ones(found.shape[:2]) if mask is None else mask.to(found.dtype)
        found = found * there[:, :, None]
        # nothing is below 0 after ReLU, so that padding is never the largest
        pooled = (
            found.amax(dim=1) if self.pool == "max" else found.sum(dim=1) / there.sum(dim=1).clamp(min=1.0)[:, None]
        )
        outputs: Tensor = self.of_sets(pooled)
        return outputs
