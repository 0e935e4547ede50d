"""Networks on data that are no pictures: figures of a split, and predictions as a table, a line an example.

classes   name, prediction, the probability of each class, and the label
tokens    name, the most probable token after each one: letters as a text, others with blanks between them
numbers   name, a prediction for each number, and the numbers, in the units in which they were measured: where a data
          set learns them in standard deviations (`AbstractData.units`) they are brought back
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from optbench.errors import DataError, UserError
from optbench.experiment.rebuild import SPLITS, Rebuilt, rebuild
from optbench.problem import AbstractData, Split, probabilities, read_split
from optbench.problem.losses import row_losses, weighted_mean
from optbench.problem.measures import SCALING, in_rows, measured
from optbench.problem.splits import is_pictures
from optbench.problem.trees import shape_of
from optbench.records import read_run


@dataclass(frozen=True)
class Figures:
    """What a network does on the examples of a split.

    Attributes:
        split: train, validation or test.
        n: number of examples.
        loss: their mean loss.
        figures: of `problem.measures`, by name, as they are learnt.
        in_units: RMSE and MAE of each target in the units in which it was measured, by name; empty where these are
            the ones that are learnt.
    """

    split: str
    n: int
    loss: float
    figures: dict[str, float]
    in_units: dict[str, list[float]] = field(default_factory=dict)


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
    found = measured(outputs, part.targets, part.weights)
    return Figures(split, len(part), float(loss), found, _in_units(network.data, outputs, part))


def _in_units(data: AbstractData, outputs: Tensor, part: Split) -> dict[str, list[float]]:
    """The figures of numbers that scale with them, of each target by itself: they may have different units."""
    scale = data.units()
    if scale is None or not isinstance(part.targets, Tensor):
        return {}
    rows, wanted, weights = in_rows(outputs, part.targets, part.weights)
    each = zip(rows.T, wanted.T, scale[1].tolist(), strict=True)
    parts = [(a[:, None], b[:, None], unit) for a, b, unit in each]
    return {name: [unit * of(a, b, weights) for a, b, unit in parts] for name, of in SCALING.items()}


def table(network: Rebuilt, split: str) -> str:
    """The predictions of a network on a split, as CSV. Raises UserError for outputs that are several tensors."""
    part = _part(network, split)
    outputs, data = network.outputs(part.inputs), network.data
    if not isinstance(outputs, Tensor):
        what = f"the outputs are {shape_of(outputs)} for each example, which no line of a table holds"
        raise UserError(what, "optbench.rebuild(RUN).model in Python has them")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = data.class_names or tuple(map(str, range(data.n_classes)))
    if data.n_classes and outputs.ndim > 2:
        writer.writerow(["name", "predictions"])
        between = "" if all(len(name) == 1 for name in names) else " "
        for name, tokens in zip(part.names, outputs.argmax(dim=-1).tolist(), strict=True):
            writer.writerow([name, between.join(names[token] for token in tokens)])
        return text.getvalue()
    targets: Any = part.targets
    known = isinstance(targets, Tensor)
    if data.n_classes:
        shares, labels = probabilities(network.loss, outputs, data.n_classes).tolist(), network.labels(outputs).tolist()
        writer.writerow(["name", "prediction", *(f"p_{name}" for name in names), *(["label"] if known else [])])
        rows: list[list[Any]] = [[names[k], *map(repr, own)] for k, own in zip(labels, shares, strict=True)]
        truth = [] if not known else [[names[k]] for k in targets.tolist()]
    else:
        scale = data.units()
        many = _measured(outputs.reshape(len(part), -1), scale)
        heads = [""] if many.shape[1] == 1 else [f"_{k}" for k in range(many.shape[1])]
        writer.writerow(["name", *(f"prediction{k}" for k in heads), *(f"target{k}" for k in heads if known)])
        rows = many.tolist()
        truth = [] if not known else _measured(targets.reshape(len(part), -1), scale).tolist()
    for k, name in enumerate(part.names):
        writer.writerow([name, *rows[k], *(truth[k] if truth else [])])
    return text.getvalue()


def _measured(values: Tensor, scale: tuple[Tensor, Tensor] | None) -> Tensor:
    """Numbers (n, k) in the units in which they were measured."""
    return values if scale is None else (scale[0] + scale[1] * values.double()).float()


def _part(network: Rebuilt, split: str) -> Split:
    if split not in SPLITS:
        raise UserError(f"--split {split}: expected {', '.join(SPLITS)}")
    try:
        return read_split(network.data, split)
    except DataError as error:
        raise DataError(error.message, error.hint or "--split names another one") from error
