"""Networks on data that are no pictures: figures of a split, and predictions as a table, a line an example.

classes   name, prediction, the probability of each class, and the label
tokens    name, the most probable token after each one: letters as a text, others with blanks between them
numbers   name, a prediction for each number (in the units that the data set has them in), and the numbers
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optbench.errors import DataError, UserError
from optbench.experiment.rebuild import SPLITS, Rebuilt, rebuild
from optbench.problem import Split, probabilities, read_split
from optbench.problem.losses import row_losses, weighted_mean
from optbench.problem.measures import measured
from optbench.problem.splits import is_pictures
from optbench.records import read_run


@dataclass(frozen=True)
class Figures:
    """What a network does on the examples of a split.

    Attributes:
        split: train, validation or test.
        n: number of examples.
        loss: their mean loss.
        figures: of `problem.measures`, by name.
    """

    split: str
    n: int
    loss: float
    figures: dict[str, float]


def of_examples(
    folders: Sequence[Path], checkpoint: str | None, config_dirs: Sequence[Path], refused: Sequence[str]
) -> Rebuilt | None:
    """The network of a run on data that are no pictures; None where the runs are on pictures.

    Args:
        folders: of the runs.
        checkpoint: as `rebuild` has it.
        config_dirs: see `rebuild`.
        refused: options that were given and are for pictures alone.

    Raises:
        UserError: several such runs, or an option for pictures.
    """
    first = read_run(folders[0]).config["data"]
    if first.get("image_size", 1) != 1:
        return None
    network = rebuild(folders[0], checkpoint, config_dirs)
    if is_pictures(network.data):
        return None
    name = network.config["choices"]["data"]
    if len(folders) > 1:
        raise UserError(f"data={name} has no pictures: its networks are asked one at a time", "give one run folder")
    if refused:
        raise UserError(f"{', '.join(refused)}: for pictures, and data={name} has none", "leave it out")
    return network


def figures(network: Rebuilt, split: str) -> Figures:
    """Loss and figures of a network on a split. Raises UserError for a split without targets."""
    part = _part(network, split)
    if part.targets is None:
        raise UserError(f"the {split} split has no targets to compare with", "use optbench predict")
    outputs = network.outputs(part.inputs)
    loss = weighted_mean(row_losses(network.loss.cpu(), outputs, part.targets), part.weights)
    return Figures(split, len(part), float(loss), measured(outputs, part.targets, part.weights))


def table(network: Rebuilt, split: str) -> str:
    """The predictions of a network on a split, as CSV."""
    part = _part(network, split)
    outputs, data = network.outputs(part.inputs), network.data
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = data.class_names or tuple(map(str, range(data.n_classes)))
    if data.n_classes and outputs.ndim > 2:
        writer.writerow(["name", "predictions"])
        between = "" if all(len(name) == 1 for name in names) else " "
        for name, tokens in zip(part.names, outputs.argmax(dim=-1).tolist(), strict=True):
            writer.writerow([name, between.join(names[token] for token in tokens)])
        return text.getvalue()
    known = part.targets is not None
    if data.n_classes:
        shares, labels = probabilities(network.loss, outputs, data.n_classes).tolist(), network.labels(outputs).tolist()
        writer.writerow(["name", "prediction", *(f"p_{name}" for name in names), *(["label"] if known else [])])
        rows: list[list[Any]] = [[names[k], *map(repr, own)] for k, own in zip(labels, shares, strict=True)]
        truth = [] if part.targets is None else [[names[k]] for k in part.targets.tolist()]
    else:
        many = outputs.reshape(len(part), -1)
        heads = [""] if many.shape[1] == 1 else [f"_{k}" for k in range(many.shape[1])]
        writer.writerow(["name", *(f"prediction{k}" for k in heads), *(f"target{k}" for k in heads if known)])
        rows = many.tolist()
        truth = [] if part.targets is None else part.targets.reshape(len(part), -1).tolist()
    for k, name in enumerate(part.names):
        writer.writerow([name, *rows[k], *(truth[k] if truth else [])])
    return text.getvalue()


def _part(network: Rebuilt, split: str) -> Split:
    if split not in SPLITS:
        raise UserError(f"--split {split}: expected {', '.join(SPLITS)}")
    try:
        return read_split(network.data, split)
    except DataError as error:
        raise DataError(error.message, error.hint or "--split names another one") from error
