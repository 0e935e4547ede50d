"""The objective of a run: what is minimised, from where, and how it is judged (see `base`)."""

from optbench.problem.base import (
    AbstractAugmentation,
    AbstractData,
    AbstractProblem,
    AbstractSurface,
    Batch,
    Box,
    Objective,
    Split,
    check_dim,
    check_takes_a_point,
    stream,
    surface_objective,
)
from optbench.problem.network import NetworkProblem, network_outputs, predicted_labels
from optbench.problem.splits import read_split, scaled
from optbench.problem.surface import SurfaceProblem

__all__ = [
    "AbstractAugmentation",
    "AbstractData",
    "AbstractProblem",
    "AbstractSurface",
    "Batch",
    "Box",
    "NetworkProblem",
    "Objective",
    "Split",
    "SurfaceProblem",
    "check_dim",
    "check_takes_a_point",
    "network_outputs",
    "predicted_labels",
    "read_split",
    "scaled",
    "stream",
    "surface_objective",
]
