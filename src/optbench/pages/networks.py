"""What classifiers got wrong: confusion matrices of the runs that kept their predictions (`out_of_fold.csv`).

A run on a fold of its data keeps what it said of each image that it did not train on. All other runs keep weights, and
`optbench evaluate` makes predictions of them; the page says so.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from optbench.comparison import Group
from optbench.errors import RecordError
from optbench.pages.curves import without
from optbench.pages.words import Words, clean
from optbench.records import Run
from optbench.records.belief import sums
from optbench.records.files import read_bytes
from optbench.records.seal import sum_of_bytes

Plain = dict[str, Any]
PREDICTIONS = "out_of_fold.csv"
_MOST_MATRICES, _MOST_CLASSES, _WORST = 12, 40, 12


def mistakes(groups: Sequence[Group], words: Words) -> Plain:
    """Confusion matrix, accuracy of each class and the worst images of each configuration, or what makes them.

    Args:
        groups: of one problem, networks with classes.
        words: of the page.
    """
    title = words("Confusion matrices")
    found, said = [], []
    for group in groups[:_MOST_MATRICES]:
        runs = [run for run in group.runs if PREDICTIONS in sums(run.summary)]
        try:
            if runs:
                found.append(_matrix(group.label, runs))
        except RecordError as error:
            said.append(words.sentence(error.message))
    if not found:
        run = next((run.path for group in groups for run in group.runs if run.path is not None), "RUN")
        why = words("these runs kept their weights and not their predictions; this makes them:")
        return {**without(title, " ".join([why, *said])), "command": f"optbench evaluate {shlex.quote(clean(str(run)))}"
                " --plot confusion.png --errors worst.png"}  # fmt: skip
    note = words("predictions of each image by the network that did not train on it (out of fold)")
    return {"kind": "confusion", "title": title, "matrices": found, "notes": [note, *said]}


def _matrix(label: str, runs: Sequence[Run]) -> Plain:
    """Counts over all runs together, and the images to which the least probability of the true class was given."""
    classes: list[str] = []
    counts = np.zeros((0, 0), dtype=np.int64)
    wrong: list[tuple[float, str, int, int, float]] = []
    for run in runs:
        header, *lines = _rows(run)
        if not classes:
            classes = header[3:]
            counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        if header[3:] != classes or len(classes) > _MOST_CLASSES:
            raise RecordError(f"{run.path / PREDICTIONS}: other classes, or too many" if run.path else "")
        for name, _, true, *shares in lines:
            each, own = [float(share) for share in shares], int(true)
            said = max(range(len(each)), key=each.__getitem__)
            counts[own, said] += 1
            if said != own:
                wrong.append((each[own], name, own, said, each[said]))
    worst = [{"image": clean(name), "true": true, "said": said, "share": round(share, 4)}
             for _, name, true, said, share in sorted(wrong)[:_WORST]]  # fmt: skip
    names = [clean(name) for name in classes]
    return {"label": clean(label), "classes": names, "counts": counts.tolist(), "worst": worst, "wrong": len(wrong)}


def _rows(run: Run) -> list[list[str]]:
    """The file as the run wrote it. Raises RecordError."""
    if run.path is None:
        raise RecordError("a row of a table has no predictions")
    place = run.path / PREDICTIONS
    try:
        data = read_bytes(place)
    except OSError as error:
        raise RecordError(f"{place}: {error.strerror}") from error
    if sums(run.summary).get(PREDICTIONS) != sum_of_bytes(data):
        raise RecordError(f"{place}: it was changed after the run: its checksum differs")
    return list(csv.reader(io.StringIO(data.decode())))
