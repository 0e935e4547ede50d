"""What a run on a fold says of the images that it did not train on, kept beside its record: out_of_fold.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.problem import AbstractProblem

OUT_OF_FOLD = "out_of_fold.csv"


def out_of_fold(config: Mapping[str, Any], problem: AbstractProblem, best: Mapping[str, Any] | None) -> bytes | None:
    """Image, fold, label, and the probability of each class by the best weights, a line an image of the fold.

    Args:
        config: of the run.
        problem: its problem; the module is left with the best weights.
        best: its best state; None: there was no evaluation.

    Returns:
        The file; None of a run that is on no fold, that is a regression, or that was never evaluated.
    """
    from optbench.problem import NetworkProblem, network_outputs, probabilities

    fold = config["data"].get("fold")
    if fold is None or best is None or not isinstance(problem, NetworkProblem) or not problem.class_names:
        return None
    if problem.validation.labels is None or problem.validation.labels.ndim > 1:  # of texts: no class an example
        return None
    problem.module.load_state_dict(best["model"])
    held = problem.validation
    assert held.labels is not None
    device = next(problem.module.parameters()).device
    outputs = network_outputs(problem.module, held.inputs, device, problem.collator, held.labels)
    shares = probabilities(problem.loss.cpu(), outputs, len(problem.class_names))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "fold", "label", *problem.class_names])
    for name, label, row in zip(held.names, held.labels.tolist(), shares.tolist(), strict=True):
        writer.writerow([name, fold, label, *map(repr, row)])
    return text.getvalue().encode()
