"""The objective of a run: what is minimised, from where, and how it is judged (see `base`)."""

import importlib
from typing import TYPE_CHECKING, Any

from optbench.problem.streams import Box

if TYPE_CHECKING:
    from optbench.problem.base import (
        AbstractAugmentation,
        AbstractData,
        AbstractProblem,
        AbstractSurface,
        Batch,
        Objective,
        Split,
        check_dim,
        check_takes_a_point,
        stream,
        surface_objective,
    )
    from optbench.problem.losses import as_loss, row_losses
    from optbench.problem.network import NetworkProblem, network_outputs, predicted_labels, probabilities
    from optbench.problem.pseudo import PseudoLabels
    from optbench.problem.ragged import Ragged
    from optbench.problem.splits import read_split, scaled
    from optbench.problem.surface import SurfaceProblem

_HOME = {
    "AbstractAugmentation": "base",
    "AbstractData": "base",
    "AbstractProblem": "base",
    "AbstractSurface": "base",
    "Batch": "base",
    "Objective": "base",
    "Split": "base",
    "check_dim": "base",
    "check_takes_a_point": "base",
    "stream": "base",
    "surface_objective": "base",
    "as_loss": "losses",
    "row_losses": "losses",
    "NetworkProblem": "network",
    "network_outputs": "network",
    "predicted_labels": "network",
    "probabilities": "network",
    "PseudoLabels": "pseudo",
    "Ragged": "ragged",
    "read_split": "splits",
    "scaled": "splits",
    "SurfaceProblem": "surface",
}

__all__ = [
    "AbstractAugmentation",
    "AbstractData",
    "AbstractProblem",
    "AbstractSurface",
    "Batch",
    "Box",
    "NetworkProblem",
    "Objective",
    "PseudoLabels",
    "Ragged",
    "Split",
    "SurfaceProblem",
    "as_loss",
    "check_dim",
    "check_takes_a_point",
    "network_outputs",
    "predicted_labels",
    "probabilities",
    "read_split",
    "row_losses",
    "scaled",
    "stream",
    "surface_objective",
]


def __getattr__(name: str) -> Any:  # all but `streams` needs torch
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
