"""Networks on data that are no pictures: figures of a split, and predictions as a table, a line an example.

classes   name, prediction, the probability of each class, and the label
tokens    name, the most probable token after each one: letters as a text, others with blanks between them
numbers   name, a prediction for each number, and the numbers, in the units in which they were measured: where a data
          set learns them in standard deviations (`AbstractData.units`) they are brought back
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optbench.errors import DataError, UserError
from optbench.experiment.rebuild import NO_PROBABILITIES, SPLITS, Rebuilt, check_classes, rebuild
from optbench.problem import AbstractData, Split, probabilities, read_split
from optbench.problem.losses import row_losses, row_weights, weighted_mean
from optbench.problem.measures import SCALING, in_rows, measured
from optbench.problem.network import collated_targets
from optbench.problem.ragged import Ragged
from optbench.problem.splits import is_pictures
from optbench.problem.trees import mapped, shape_of
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
    outputs = network.outputs(part.inputs, part.targets)
    part = replace(part, targets=collated_targets(part, network.collator))
    losses = row_losses(network.loss.cpu(), outputs, part.targets)
    loss = weighted_mean(losses, row_weights(part.targets, part.weights))
    found = measured(outputs, part.targets, part.weights)
    return Figures(split, len(part), float(loss), found, _in_units(network.data, outputs, part))


def _in_units(data: AbstractData, outputs: Any, part: Split) -> dict[str, list[float]]:
    """The figures of numbers that scale with them, of each target by itself: they may have different units."""
    scale = data.units()
    if scale is None or not isinstance(part.targets, Tensor | Ragged):
        return {}
    rows, wanted, weights = in_rows(outputs, part.targets, part.weights)
    each = zip(rows.T, wanted.T, scale[1].tolist(), strict=True)
    parts = [(a[:, None], b[:, None], unit) for a, b, unit in each]
    return {name: [unit * of(a, b, weights) for a, b, unit in parts] for name, of in SCALING.items()}


@dataclass(frozen=True)
class Answers:
    """What a network says of the examples of a split.

    Attributes:
        network: that was asked.
        part: the split.
        outputs: (n, n_outputs), or (n, length, n_outputs) of tokens; of positions of rows that differ in length a
            Ragged.
    """

    network: Rebuilt
    part: Split
    outputs: Tensor | Ragged

    @property
    def class_names(self) -> tuple[str, ...]:
        """In label order; none of a regression."""
        data = self.network.data
        return tuple(data.class_names) or tuple(map(str, range(data.n_classes)))

    @property
    def are_tokens(self) -> bool:
        """Whether each position of an example has a class."""
        return self.network.data.n_classes > 0 and self.outputs.ndim > 2

    def probabilities(self) -> Tensor | Ragged:
        """Of each class, (n, classes) or (n, length, classes) float64, or a Ragged of such. Raises UserError for a
        regression."""
        check_classes(self.network, NO_PROBABILITIES)
        found: Tensor | Ragged = mapped(
            lambda outputs: probabilities(self.network.loss, outputs, self.network.data.n_classes), self.outputs
        )
        return found


def answers(network: Rebuilt, split: str) -> Answers:
    """What a network says of a split. Raises UserError for outputs that are several tensors."""
    try:
        part = _part(network, split)
    except DataError as error:
        hint = "predictions are of the test split; optbench evaluate RUN has figures of the others"
        raise DataError(error.message, hint) from error
    outputs = network.outputs(part.inputs, part.targets)
    if not isinstance(outputs, Tensor | Ragged):
        what = f"the outputs are {shape_of(outputs)} for each example, which no line of a table holds"
        raise UserError(what, "optbench.rebuild(RUN).model in Python has them")
    return Answers(network, part, outputs)


def table(found: Answers) -> str:
    """Predictions as CSV, a line an example."""
    if found.are_tokens:
        names = found.class_names
        between = "" if all(len(name) == 1 for name in names) else " "
        said = [between.join(names[token] for token in row.argmax(dim=-1).tolist()) for row in found.outputs]
        return _csv(["name", "predictions"], zip(found.part.names, said, strict=True))
    if isinstance(found.outputs, Ragged):
        return _csv(["name", "predictions"], zip(found.part.names, _of_positions(found), strict=True))
    head, rows = _of_classes(found) if found.network.data.n_classes else _of_numbers(found)
    return _csv(["name", *head], ([name, *row] for name, row in zip(found.part.names, rows, strict=True)))


def probability_table(found: Answers) -> str:
    """The probability of each class as CSV, in columns named by the classes: a line an example, of tokens a line a
    position, counted from 0. Raises UserError for a regression."""
    shares, names = [row.tolist() for row in found.probabilities()], found.part.names
    if not found.are_tokens:
        rows: Iterable[Sequence[Any]] = ([name, *map(repr, own)] for name, own in zip(names, shares, strict=True))
        return _csv(["name", *found.class_names], rows)
    positions = ((name, k, own) for name, each in zip(names, shares, strict=True) for k, own in enumerate(each))
    return _csv(["name", "position", *found.class_names], ([name, k, *map(repr, own)] for name, k, own in positions))


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _of_classes(found: Answers) -> tuple[list[str], list[list[Any]]]:
    """Headings and cells behind the name, of one class an example."""
    names, targets, network = found.class_names, found.part.targets, found.network
    labels, shares = network.labels(found.outputs).tolist(), [row.tolist() for row in found.probabilities()]
    rows = [[names[k], *map(repr, own)] for k, own in zip(labels, shares, strict=True)]
    if isinstance(targets, Tensor):
        rows = [[*row, names[k]] for row, k in zip(rows, targets.tolist(), strict=True)]
    return ["prediction", *(f"p_{name}" for name in names), *["label"] * isinstance(targets, Tensor)], rows


def _of_positions(found: Answers) -> Iterator[str]:
    """The numbers of each example's positions with blanks between them; of several at each a / between these."""
    for row in found.outputs:
        values = _measured(row.reshape(len(row), -1), found.network.data.units())
        yield " ".join("/".join(map(repr, position)) for position in values.tolist())


def _of_numbers(found: Answers) -> tuple[list[str], list[list[Any]]]:
    """Headings and cells behind the name, of a regression, in the units in which its targets were measured."""
    targets, scale, n = found.part.targets, found.network.data.units(), len(found.part)
    assert isinstance(found.outputs, Tensor)
    rows = _measured(found.outputs.reshape(n, -1), scale)
    ends = [""] if rows.shape[1] == 1 else [f"_{k}" for k in range(rows.shape[1])]
    head = [f"prediction{end}" for end in ends]
    if not isinstance(targets, Tensor):
        return head, rows.tolist()
    true = _measured(targets.reshape(n, -1), scale)
    return [*head, *(f"target{end}" for end in ends)], torch.cat([rows, true], dim=1).tolist()


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
