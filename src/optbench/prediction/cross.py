"""Cross-validated runs read together: each image predicted by the one network that did not train on it.

A configuration that was run on every fold of its data has, for each image, a prediction of a network that never saw it
(out_of_fold.csv of each run). These are the honest ground to judge a configuration on, and to choose among several:
greedy selection adds, again and again, the one that makes the mean of the probabilities most often right (Caruana,
Niculescu-Mizil, Crew and Ksikes, ICML 2004). What is chosen on them is a little flattered by them.
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
from optbench.prediction.runs import are_folds, natural
from optbench.prediction.together import ensemble
from optbench.records import Run, read_run, run_id
from optbench.records.belief import sums
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
        names: of the images, in natural order.
        labels: int64 (n,).
        probabilities: (n, classes).
        class_names: in label order.
    """

    runs: tuple[Path, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    class_names: tuple[str, ...]


def cross_validated(folders: Sequence[Path]) -> list[OutOfFold]:
    """The configurations among runs on folds, each with all of its folds.

    Raises:
        UserError: a fold is missing or given twice, or the configurations are on other images.
        RecordError: predictions that are not there, or not what the run wrote.
    """
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
    found = [_together([folds[k] for k in sorted(folds)]) for folds in groups.values()]
    if any(one.names != found[0].names or one.class_names != found[0].class_names for one in found):
        raise UserError(
            "the configurations are on other images or classes, so their predictions cannot be put together"
        )
    return found


def _together(folders: Sequence[Path]) -> OutOfFold:
    rows: list[tuple[str, int, list[float]]] = []
    classes: tuple[str, ...] = ()
    for folder in folders:
        header, *lines = _table(read_run(folder))
        classes = tuple(header[3:])
        rows += [(line[0], int(line[2]), [float(p) for p in line[3:]]) for line in lines]
    rows.sort(key=lambda row: natural(row[0]))
    return OutOfFold(
        tuple(folders),
        tuple(name for name, _, _ in rows),
        np.array([label for _, label, _ in rows], dtype=np.int64),
        np.array([shares for _, _, shares in rows]),
        classes,
    )


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
        weights: of each run folder that was chosen; they sum to 1.
        lines: what was chosen, and how right it is, in words.
    """

    weights: dict[Path, float]
    lines: list[str]


def selected(folders: Sequence[Path], checkpoint: str | None, config_dirs: Sequence[Path]) -> Selection:
    """Greedy selection among runs: of configurations by their predictions out of fold, where all runs are on folds;
    else of runs, on the validation images that they have in common.

    Raises:
        UserError, RecordError: as `cross_validated`, or as `ensemble`.
    """
    if are_folds(folders):
        found = cross_validated(folders)
        each, labels = np.stack([one.probabilities for one in found]), found[0].labels
        candidates, what = [list(one.runs) for one in found], "images out of fold"
    else:
        asked = ensemble(folders, checkpoint, config_dirs)
        pictures = asked.pictures(split="validation")
        assert pictures[0].labels is not None
        each, labels = asked.each(pictures).numpy(), pictures[0].labels.numpy()
        candidates, what = [[folder] for folder in folders], "validation images"
    chosen = shares(greedy(each, labels))
    weights = {run: share / len(candidates[i]) for i, share in chosen.items() for run in candidates[i]}
    mean = sum(share * each[i] for i, share in chosen.items())
    right = float((np.asarray(mean).argmax(axis=-1) == labels).mean())
    lines = [f"weight {share:.3f}: {candidates[i][0]}{' and its folds' * (len(candidates[i]) > 1)}"
             for i, share in chosen.items()]  # fmt: skip
    best = max(float((one.argmax(axis=-1) == labels).mean()) for one in each)
    few = f"chosen {len(chosen)} of {len(each)}: {right:.4f} right on {len(labels)} {what}, which chose them"
    lines.append(f"{few}; the best alone {best:.4f}")
    return Selection(weights, lines)


def shares(counts: NDArray[np.int64]) -> Mapping[int, float]:
    """The weight of each chosen candidate, by its number; they sum to 1."""
    whole = int(counts.sum())
    return {int(i): float(counts[i]) / whole for i in np.flatnonzero(counts)}


def average(found: Sequence[OutOfFold], weights: Mapping[int, float] | None = None) -> Any:
    """Probabilities (n, classes) of some configurations together; of all alike where no weights are given."""
    if weights is None:
        weights = {i: 1 / len(found) for i in range(len(found))}
    return np.sum([weight * found[i].probabilities for i, weight in weights.items()], axis=0)
