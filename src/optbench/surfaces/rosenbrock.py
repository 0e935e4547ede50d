"""Rosenbrock's banana valley: a curved valley floor that is easy to reach and slow to follow."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim


class Rosenbrock(AbstractSurface):
    """f(x) = sum_{i<n} 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2.

    One critical point for n = 2 and 3; a second minimum and a saddle for 4 <= n <= 7. The Hessian at the minimum of the
    2-D form has eigenvalues 0.39936 and 1001.60, condition number 2508.

    Args:
        dim: number of coordinates, at least 2.

    Source: H. H. Rosenbrock, The Computer Journal 3 (1960) 175; start (-1.2, 1) of the same paper.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim, least=2)
        start = [-1.2 if i % 2 == 0 else 1.0 for i in range(dim)]
        super().__init__([(-2.048, 2.048)] * dim, start, [[1.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        head, tail = x[..., :-1], x[..., 1:]
        valley = tail - head * head
        return (100.0 * valley * valley + (1.0 - head) * (1.0 - head)).sum(dim=-1)
