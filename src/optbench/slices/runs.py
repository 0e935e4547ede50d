"""Lines and planes of recorded runs: the checkpoints of networks, and where runs on a surface ended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as Folder
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from optbench.curvature.objective import share_of
from optbench.errors import RecordError, UserError
from optbench.experiment.rebuild import Rebuilt, checkpoints, rebuild
from optbench.experiment.surface import recorded_field
from optbench.problem import Split, read_split, stream
from optbench.records import Run
from optbench.records.vocabulary import kept_checkpoints
from optbench.slices.directions import principal, random_direction, through
from optbench.slices.line import Line, Progress, walk
from optbench.slices.objective import NetworkLoss, Reading, flattened
from optbench.slices.plane import Path, Plane, axes, shadow, survey

KINDS = ("random", "checkpoints", "pca")
SPLITS = ("train", "validation")
ON_SURFACE = "f"
"""What the losses of a surface are called, in the place of a split."""
_NORMED = "batch norm's statistics are made anew from the training data at every point"
_MOST_NUMBERS = 5e8  # of a path that is looked at as a whole


class Wanted(NamedTuple):
    """What is asked for: a checkpoint (None: as `records.chosen` says), the share of the training data, points to a
    side, the seed of random directions, the split of a plane, configuration folders of one's own."""

    checkpoint: str | None = None
    share: float = 1.0
    points: int = 25
    seed: int = 0
    split: str = SPLITS[0]
    config_dirs: Sequence[Folder] = ()


def between(runs: Sequence[Run], labels: Sequence[str], wanted: Wanted, progress: Progress | None = None) -> Line:
    """What is on the straight line between the checkpoints of two networks, or between the last points of two runs on
    a surface.

    Args:
        runs: two, of one problem.
        labels: what they are called.
        wanted: what is asked for.
        progress: is told how many of how many points are done.

    Raises:
        UserError: other than two runs, a network beside a surface, networks with other weights.
        RecordError: no such checkpoint, a surface whose coordinates were not recorded.
    """
    if len(runs) != 2:
        raise UserError(f"a line is between two runs; these are {len(runs)}", "optbench plot A B --interpolate")
    if not _is_network(runs[0]):
        return _on_surface(runs, labels, wanted, progress)
    first, second = (_rebuilt(run, wanted) for run in runs)
    check_alike([first, second], labels)
    train = share_of(read_split(first.data, "train"), wanted.share)
    splits = {"train": train, "validation": read_split(first.data, "validation")}
    loss = NetworkLoss(first.model, first.loss, {name: one for name, one in splits.items() if _labelled(one)},
                       collator=first.collator)  # fmt: skip
    ends = (labels[0], labels[1])
    return walk(loss, _weights(first), _weights(second), wanted.points, ends, _notes(loss, wanted), progress)


def on_plane(
    runs: Sequence[Run], labels: Sequence[str], kind: str, wanted: Wanted, progress: Progress | None = None
) -> Plane:
    """What is on a plane through the weights of networks, and the shadows of their training paths.

    Args:
        runs: one; for checkpoints three, of one problem.
        labels: what they are called.
        kind: random, two filter-normalised random directions; checkpoints, the plane through three; pca, the two
            directions in which the kept checkpoints lie farthest from the last.
        wanted: what is asked for.
        progress: is told how many of how many points are done.

    Raises:
        UserError: another number of runs, a run on a surface, networks with other weights, points on one line.
        RecordError: no such checkpoint.
    """
    count = 3 if kind == "checkpoints" else 1
    if len(runs) != count:
        raise UserError(f"--plane {kind} is of {count} run{'s' * (count > 1)}; these are {len(runs)}")
    if not all(map(_is_network, runs)):
        raise UserError("--plane is of networks; the surface of a run is drawn as it is", "optbench plot RUN --path")
    rebuilt = [_rebuilt(run, wanted) for run in runs]
    check_alike(rebuilt, labels)
    first = rebuilt[0]
    train = share_of(read_split(first.data, "train"), wanted.share)
    split: Split = train if wanted.split == "train" else read_split(first.data, wanted.split)
    loss = NetworkLoss(first.model, first.loss, {wanted.split: split}, statistics=train.inputs, collator=first.collator)
    pivots = [_weights(one) for one in rebuilt]
    directions, axis_names = _directions(kind, rebuilt, pivots, loss, labels, wanted)
    paths = [
        _shadow(label, one, pivots[0], directions, pivot, loss)
        for label, one, pivot in zip(labels, rebuilt, pivots, strict=True)
    ]
    marks = dict(zip(labels, (_place(pivots[0], directions, pivot) for pivot in pivots), strict=True))
    seen = [*marks.values(), *(tuple(place) for path in paths for place in path.places.tolist())]
    x, y = axes(seen, wanted.points, 1.0 if kind == "random" else 0.0)
    z = survey(loss, pivots[0], directions, x, y, wanted.split, progress)
    notes = (*_notes(loss, wanted), *_not_kept(rebuilt))
    return Plane(x, y, z, tuple(paths), marks, axis_names, wanted.split, notes)


def check_alike(rebuilt: Sequence[Rebuilt], labels: Sequence[str]) -> None:
    """Raises UserError unless all have parameters of the same names and shapes, in the same order."""
    layouts = [[(name, tuple(p.shape)) for name, p in one.model.named_parameters()] for one in rebuilt]
    for other, label in zip(layouts[1:], labels[1:], strict=True):
        if other != layouts[0]:
            pairs = zip([*layouts[0], None], [*other, None], strict=False)
            here, there = next(pair for pair in pairs if pair[0] != pair[1])
            raise UserError(
                f"{labels[0]} and {label} are different networks: {_said(here)} against {_said(there)}",
                "a straight line is between weights of the same names and shapes",
            )


def _said(one: tuple[str, tuple[int, ...]] | None) -> str:
    return "nothing" if one is None else f"{one[0]} {'x'.join(map(str, one[1]))}"


def _is_network(run: Run) -> bool:
    return bool(run.config.get("data", {}).get("_target_"))


def _rebuilt(run: Run, wanted: Wanted) -> Rebuilt:
    if run.path is None:
        raise RecordError(f"{run.run_id} is a row of a table: no weights of it were kept")
    return rebuild(run.path, wanted.checkpoint, wanted.config_dirs)


def _labelled(split: Split) -> bool:
    return split.targets is not None and len(split) > 0


def _weights(one: Rebuilt) -> Tensor:
    own = dict(one.model.named_parameters())
    return flattened(own, tuple((name, p.shape) for name, p in own.items()))


def _notes(loss: NetworkLoss, wanted: Wanted) -> list[str]:
    part = [f"{100 * wanted.share:.3g} % of the training data are used, drawn once"] if wanted.share < 1 else []
    return [*([_NORMED] if loss.normed else []), *part]


def _not_kept(rebuilt: Sequence[Rebuilt]) -> list[str]:
    without = sum(not kept_checkpoints(one.run.path or Folder()) for one in rebuilt)
    of = "" if len(rebuilt) == 1 else f"{without} of {len(rebuilt)} runs: "
    why = "no epochs were kept (trainer.keep_every=1), so the path is of best and last alone"
    return [f"{of}{why}"] if without else []


def _on_surface(runs: Sequence[Run], labels: Sequence[str], wanted: Wanted, progress: Progress | None) -> Line:
    if any(map(_is_network, runs)):
        raise UserError("one of these is a run on a surface, and one of a network: there is no line between them")
    if wanted.checkpoint not in (None, "last") or wanted.share != 1.0:
        raise UserError("--checkpoint and --share are of networks: runs on a surface are taken where they ended")
    field = recorded_field(runs[0], wanted.config_dirs)
    ends = [torch.tensor(_end(run, field.surface.dim), dtype=torch.float64) for run in runs]

    def evaluate(point: Tensor) -> Mapping[str, Reading]:
        with torch.no_grad():
            return {ON_SURFACE: Reading(float(field.objective(point)), None)}

    return walk(evaluate, ends[0], ends[1], wanted.points, (labels[0], labels[1]), (), progress)


def _end(run: Run, dim: int) -> list[float]:
    curve = run.columns()
    names = [f"x{i}" for i in range(dim)]
    if any(name not in curve or not len(curve[name]) for name in names):
        raise RecordError(f"{run.path or run.run_id}: its curve does not say where it ended",
                          "coordinates are recorded on surfaces of up to 10 dimensions")  # fmt: skip
    found = [float(curve[name][-1]) for name in names]
    if not all(map(math.isfinite, found)):
        raise UserError(f"{run.run_id} has no end: it {run.status}", "take a run that has a result")
    return found


Directions = tuple[Tensor, Tensor]


def _directions(
    kind: str, rebuilt: Sequence[Rebuilt], pivots: Sequence[Tensor], loss: NetworkLoss, labels: Sequence[str],
    wanted: Wanted,
) -> tuple[Directions, tuple[str, str]]:  # fmt: skip
    """What spans the plane, and what its axes are called."""
    if kind == "random":
        drawn = [random_direction(pivots[0], loss.layout, stream(wanted.seed, "direction", i)) for i in (0, 1)]
        return (drawn[0], drawn[1]), ("random direction 1, filter-normalised", "random direction 2, filter-normalised")
    if kind == "checkpoints":
        first, second, third = pivots
        return through((first, second, third)), (f"distance towards {labels[1]}", "distance across")
    count = len(kept_checkpoints(rebuilt[0].run.path or Folder())) + 2
    if count * len(pivots[0]) > _MOST_NUMBERS:
        raise UserError(f"{count} checkpoints of {len(pivots[0])} weights do not fit into memory at once",
                        "--plane random looks at them one at a time")  # fmt: skip
    moves = torch.stack([weights - pivots[0] for _, weights in _path(rebuilt[0], loss)])
    return principal(moves), ("principal direction 1", "principal direction 2")


def _path(one: Rebuilt, loss: NetworkLoss) -> Iterator[tuple[int, Tensor]]:
    """Step and weights of each checkpoint that a run kept, one at a time, in no order."""
    seen = set[int]()
    for step, state in checkpoints(one):
        if step not in seen:
            seen.add(step)
            yield step, flattened(state, loss.layout)


def _place(origin: Tensor, directions: Directions, point: Tensor) -> tuple[float, float]:
    ((a, b),) = shadow("", origin, directions, [(0, point)], origin).places.tolist()
    return a, b


def _shadow(
    label: str, one: Rebuilt, origin: Tensor, directions: Directions, pivot: Tensor, loss: NetworkLoss
) -> Path:  # fmt: skip
    found = shadow(label, origin, directions, _path(one, loss), pivot)
    order = np.argsort(found.steps, kind="stable")
    return replace(found, steps=tuple(found.steps[i] for i in order), places=found.places[order])
