"""Cross-validated runs read together: each image predicted by the one network that did not train on it.

A configuration that was run on every fold of its data has, for each image, a prediction of a network that never saw it:
of its best checkpoint in out_of_fold.csv of each run, of another one computed when it is asked for. These are the
honest ground to judge a configuration on, and to choose among several configurations and checkpoints: greedy selection
adds, again and again, the one that makes the mean of the probabilities most often right (Caruana, Niculescu-Mizil,
Crew and Ksikes, ICML 2004). What is chosen on them is a little flattered by them.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optbench.errors import RecordError, UserError
from optbench.experiment.out_of_fold import OUT_OF_FOLD
from optbench.prediction.runs import Asked, are_folds, asked_of, natural
from optbench.prediction.together import ensemble
from optbench.records import Run, read_run, run_id
from optbench.records.belief import sums
from optbench.records.chosen import CHECKPOINTS, chosen
from optbench.records.files import read_bytes
from optbench.records.seal import sum_of_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 50


@dataclass(frozen=True)
class OutOfFold:
    """What a configuration predicts of each image, by the run that did not train on it.

    Attributes:
        runs: folders of the runs, by fold.
        checkpoint: of each of them that predicts.
        names: of the images, in natural order.
        labels: int64 (n,).
        probabilities: (n, classes).
        class_names: in label order.
    """

    runs: tuple[Path, ...]
    checkpoint: str
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    class_names: tuple[str, ...]


def cross_validated(
    folders: Sequence[Path], checkpoint: str | None = None, config_dirs: Sequence[Path] = ()
) -> list[OutOfFold]:
    """The configurations among runs on folds, each with all of its folds, and each once for each of the checkpoints.

    Args:
        folders: of the runs.
        checkpoint: as `ensemble` has it.
        config_dirs: as `rebuild` has them; no network is built where the best checkpoint is asked for.

    Raises:
        UserError: a fold is missing or given twice, or the configurations are on other images.
        RecordError: predictions that are not there, or not what the run wrote; as `rebuild`.
    """
    which = dict.fromkeys(chosen(one, others=True) for _, one in asked_of(folders[:1], checkpoint))
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    count: dict[str, int] = {}
    for folder in folders:
        run = read_run(folder)
        config = run.config
        fold, rest = int(config["data"]["fold"]), {k: v for k, v in config["data"].items() if k != "fold"}
        key = run_id({**config, "data": rest}, run.summary.get("data_fingerprint"))
        if fold in groups[key]:
            raise UserError(f"{folder} and {groups[key][fold]} are both fold {fold} of one configuration")
        groups[key][fold], count[key] = folder, int(rest["folds"])
    for key, folds in groups.items():
        if missing := sorted(set(range(count[key])) - set(folds)):
            some = next(iter(folds.values()))
            raise UserError(f"{some} and its like: fold {', '.join(map(str, missing))} of {count[key]} is missing",
                            "the same optbench sweep runs what is missing")  # fmt: skip
    found = [
        _together([folds[k] for k in sorted(folds)], one, config_dirs) for folds in groups.values() for one in which
    ]
    if any(one.names != found[0].names or one.class_names != found[0].class_names for one in found):
        raise UserError(
            "the configurations are on other images or classes, so their predictions cannot be put together"
        )
    return found


_Row = tuple[str, int, list[float]]
"""Image, label, probabilities."""


def _together(folders: Sequence[Path], checkpoint: str, config_dirs: Sequence[Path]) -> OutOfFold:
    rows: list[_Row] = []
    classes: tuple[str, ...] = ()
    for folder in folders:
        kept = checkpoint == CHECKPOINTS[0]
        classes, own = _kept(read_run(folder)) if kept else _computed(folder, checkpoint, config_dirs)
        rows += own
    rows.sort(key=lambda row: natural(row[0]))
    return OutOfFold(
        tuple(folders),
        checkpoint,
        tuple(name for name, _, _ in rows),
        np.array([label for _, label, _ in rows], dtype=np.int64),
        np.array([shares for _, _, shares in rows]),
        classes,
    )


def _kept(run: Run) -> tuple[tuple[str, ...], list[_Row]]:
    """Classes and rows as the run kept them."""
    header, *lines = _table(run)
    return tuple(header[3:]), [(line[0], int(line[2]), [float(p) for p in line[3:]]) for line in lines]


def _computed(folder: Path, checkpoint: str, config_dirs: Sequence[Path]) -> tuple[tuple[str, ...], list[_Row]]:
    """The same of a checkpoint of which nothing was kept: the network and the images of its fold are wanted again."""
    asked = ensemble([folder], checkpoint, config_dirs)
    held = asked.pictures(split="validation")
    labels = held[0].labels
    assert labels is not None
    shares = asked.each(held)[0].tolist()
    return asked.class_names, list(zip(held[0].names, labels.tolist(), shares, strict=True))


def _table(run: Run) -> list[list[str]]:
    assert run.path is not None
    try:
        data = read_bytes(run.path / OUT_OF_FOLD)
    except FileNotFoundError:
        why = run.reason or run.status
        raise RecordError(f"{run.path}: no {OUT_OF_FOLD} ({why})", "run it to its end") from None
    if (known := sums(run.summary).get(OUT_OF_FOLD)) is not None and known != sum_of_bytes(data):
        raise RecordError(f"{run.path / OUT_OF_FOLD}: it was changed after the run: its checksum differs")
    return list(csv.reader(io.StringIO(data.decode())))


def greedy(each: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each candidate is in the ensemble whose mean of probabilities is most often right.

    One is added at a time, with replacement: that with which the accuracy is highest, among equals that with the lower
    mean log loss; it ends where nothing added makes either better.

    Args:
        each: probabilities (m, n, classes) of the m candidates.
        labels: (n,).

    Returns:
        Counts (m,), at least one of them positive.
    """
    counts, total = np.zeros(len(each), dtype=np.int64), np.zeros(each.shape[1:])
    best: tuple[float, float] = (-1.0, 0.0)
    row = np.arange(len(labels))
    for size in range(1, _ROUNDS + 1):
        scores = []
        for one in each:
            mean = (total + one) / size
            right = float((mean.argmax(axis=-1) == labels).mean())
            scores.append((right, float(np.log(np.maximum(mean[row, labels], 1e-12)).mean())))
        top = max(range(len(each)), key=scores.__getitem__)
        if scores[top] <= best:
            break
        best, total = scores[top], total + each[top]
        counts[top] += 1
    return counts


class Selection(NamedTuple):
    """What greedy selection chose.

    Attributes:
        members: the checkpoints that were chosen.
        weights: of each of them; they sum to 1.
        lines: what was chosen, and how right it is, in words.
    """

    members: list[Asked]
    weights: list[float]
    lines: list[str]


def selected(folders: Sequence[Path], checkpoint: str | None, config_dirs: Sequence[Path]) -> Selection:
    """Greedy selection among runs and checkpoints: of configurations by their predictions out of fold, where all runs
    are on folds; else of single networks, on the validation images that they have in common.

    Raises:
        UserError, RecordError: as `cross_validated`, or as `ensemble`.
    """
    if are_folds(folders):
        return selected_out_of_fold(cross_validated(folders, checkpoint, config_dirs))[1]
    asked = ensemble(folders, checkpoint, config_dirs)
    pictures = asked.pictures(split="validation")
    assert pictures[0].labels is not None
    each, labels = asked.each(pictures).numpy(), pictures[0].labels.numpy()
    return _among([[one] for one in asked_of(folders, checkpoint)], each, labels, "validation images")[1]


def selected_out_of_fold(found: Sequence[OutOfFold]) -> tuple[Mapping[int, float], Selection]:
    """The weights of the configurations that are chosen, by their number, and what was chosen."""
    each, labels = np.stack([one.probabilities for one in found]), found[0].labels
    candidates: list[list[Asked]] = [[(run, one.checkpoint) for run in one.runs] for one in found]
    return _among(candidates, each, labels, "images out of fold")


def _among(
    candidates: Sequence[Sequence[Asked]], each: NDArray[np.float64], labels: NDArray[np.int64], what: str
) -> tuple[Mapping[int, float], Selection]:
    """Greedy selection of candidates, each some networks that share its weight; arguments as of `greedy`."""
    found = shares(greedy(each, labels))
    several = len({checkpoint for candidate in candidates for _, checkpoint in candidate}) > 1
    members = [(one, share / len(candidates[i])) for i, share in found.items() for one in candidates[i]]
    mean = sum(share * each[i] for i, share in found.items())
    right = float((np.asarray(mean).argmax(axis=-1) == labels).mean())
    lines = []
    for i, share in found.items():
        folder, checkpoint = candidates[i][0]
        which = f", checkpoint {checkpoint}" if several else ""
        lines.append(f"weight {share:.3f}: {folder}{' and its folds' * (len(candidates[i]) > 1)}{which}")
    best = max(float((one.argmax(axis=-1) == labels).mean()) for one in each)
    few = f"chosen {len(found)} of {len(each)}: {right:.4f} right on {len(labels)} {what}, which chose them"
    lines.append(f"{few}; the best alone {best:.4f}")
    return found, Selection([one for one, _ in members], [weight for _, weight in members], lines)


def shares(counts: NDArray[np.int64]) -> Mapping[int, float]:
    """The weight of each chosen candidate, by its number; they sum to 1."""
    whole = int(counts.sum())
    return {int(i): float(counts[i]) / whole for i in np.flatnonzero(counts)}


def average(found: Sequence[OutOfFold], weights: Mapping[int, float] | None = None) -> Any:
    """Probabilities (n, classes) of some configurations together; of all alike where no weights are given."""
    if weights is None:
        weights = {i: 1 / len(found) for i in range(len(found))}
    return np.sum([weight * found[i].probabilities for i, weight in weights.items()], axis=0)
