"""The objective of a run: what is minimised, from where, and how it is judged (see `base`)."""

from optbench.problem.base import (
    AbstractData,
    AbstractProblem,
    AbstractSurface,
    Batch,
    Box,
    Objective,
    Split,
    check_dim,
    stream,
    surface_objective,
)

__all__ = [
    "AbstractData",
    "AbstractProblem",
    "AbstractSurface",
    "Batch",
    "Box",
    "Objective",
    "Split",
    "check_dim",
    "stream",
    "surface_objective",
]
