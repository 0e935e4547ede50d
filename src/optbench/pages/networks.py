"""What networks got wrong: confusion matrices and the examples that they are most wrong about.

A run on a fold of its data keeps what it said of each image that it did not train on (`out_of_fold.csv`); that is read.
All other runs keep weights: of the best of them that is quick the page has the network asked about its validation
data, where whoever makes the page can (`Networks`), and says why where it was not.
"""

from __future__ import annotations

import base64
import csv
import io
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.comparison import Group
from optbench.errors import OptbenchError, RecordError
from optbench.pages.curves import without
from optbench.pages.words import Words, clean
from optbench.records import Run
from optbench.records.belief import sums
from optbench.records.chosen import ACCURACY, CHECKPOINTS
from optbench.records.files import read_bytes
from optbench.records.seal import sum_of_bytes

Plain = dict[str, Any]
PREDICTIONS = "out_of_fold.csv"
USUAL = 3
"""Networks that a page asks unless it is told how many."""
_MOST_MATRICES, _MOST_CLASSES, _WORST = 12, 40, 12
_QUICK = 10.0  # seconds of an epoch of training, beyond which a network is not asked unless the page is told how many


@dataclass(frozen=True)
class Example:
    """An example that a network is wrong about.

    Attributes:
        name: of the example.
        loss: of it alone.
        true, said: what was wanted and what the network said, in words.
        share: probability that it gave to what it said; None where there are no classes.
        png: a thumbnail; None of what is no picture.
    """

    name: str
    loss: float
    true: str
    said: str
    share: float | None
    png: bytes | None


@dataclass(frozen=True)
class Looked:
    """A network asked about its validation data.

    Attributes:
        run: its id.
        n: number of examples.
        classes: in label order; none of numbers and of tokens.
        counts: a row for each true class, a column for each said one; None where there are no classes.
        worst: those with the largest loss, of classes the wrong ones among them.
    """

    run: str
    n: int
    classes: Sequence[str]
    counts: Sequence[Sequence[int]] | None
    worst: Sequence[Example]


@dataclass(frozen=True)
class Networks:
    """How networks are asked, by whoever has torch.

    Attributes:
        looked_at: a run, a checkpoint and how many examples are wanted, to what the network says. Raises OptbenchError.
        thumbnails: a run, names of its images and a checkpoint to PNG files by name. Raises OptbenchError.
        most: networks to ask for a page; None: USUAL, those alone that are quick.
    """

    looked_at: Callable[[Run, str | None, int], Looked]
    thumbnails: Callable[[Run, Collection[str], str | None], Mapping[str, bytes]]
    most: int | None = None


class Asking:
    """The networks that one page asks.

    Args:
        networks: how; None: not at all.
        checkpoint: whose weights.
        words: of the page.
    """

    def __init__(self, networks: Networks | None, checkpoint: str | None, words: Words) -> None:
        self._networks, self._checkpoint, self.words = networks, checkpoint, words
        most = None if networks is None else networks.most
        self._any = most is not None
        self._left = USUAL if most is None else most

    def best(self, groups: Sequence[Group], said: list[str]) -> tuple[str, Looked] | None:
        """What the best configuration that has weights is wrong about, and its label; None, and why is said, where it
        is not asked."""
        words = self.words
        found = next(((g.label, run) for g in groups for run in g.runs if _has_weights(run)), None)
        if self._networks is None or found is None:
            return None
        label, run = found
        if not self._left:
            said.append(words("this page asked no more networks; --worst N asks N of them"))
        elif not self._any and not _is_quick(run):
            said.append(words("its network takes long to ask; --worst 1 asks it all the same"))
        else:
            self._left -= 1
            try:
                return label, self._networks.looked_at(run, self._checkpoint, _WORST)
            except OptbenchError as error:
                said.append(words("its network was not asked: {0}", words.refusal(error.message, error.hint)))
        return None

    def pictures(self, wanted: Sequence[tuple[Run, str]], said: list[str]) -> Mapping[tuple[str, str], bytes]:
        """Thumbnails of images of runs, by run and name; where they cannot be found again why is said."""
        by_run: dict[str, tuple[Run, list[str]]] = {}
        for run, name in wanted:
            by_run.setdefault(run.run_id, (run, []))[1].append(name)
        found: dict[tuple[str, str], bytes] = {}
        for run, names in by_run.values():
            if self._networks is None or not self._left or not (self._any or _is_quick(run)):
                return found
            try:
                own = self._networks.thumbnails(run, names, self._checkpoint)
            except OptbenchError as error:
                refused = self.words.refusal(error.message, error.hint)
                said.append(self.words("the images are not here: {0}", refused))
                return found
            found |= {(run.run_id, name): png for name, png in own.items()}
        return found


def _has_weights(run: Run) -> bool:
    return run.path is not None and any(f"{name}.pt" in sums(run.summary) for name in CHECKPOINTS)


def _is_quick(run: Run) -> bool:
    seconds, epochs = run.summary.get("seconds") or 0.0, run.summary.get("epochs") or 0.0
    return 0.0 < seconds <= _QUICK * epochs


def mistakes(groups: Sequence[Group], asking: Asking) -> Plain:
    """Confusion matrix, accuracy of each class and the worst examples of each configuration that kept its predictions,
    or of the best one; or what makes them.

    Args:
        groups: of one problem, networks; the best first.
        asking: who asks networks.
    """
    words = asking.words
    found, said = [], list[str]()
    for group in groups[:_MOST_MATRICES]:
        runs = [run for run in group.runs if PREDICTIONS in sums(run.summary)]
        try:
            if runs:
                found.append(_matrix(group.label, runs, asking, said))
        except RecordError as error:
            said.append(words.sentence(error.message))
    if found:
        note = words("predictions of each image by the network that did not train on it (out of fold)")
        return {"kind": "confusion", "title": words("Confusion matrices"), "matrices": found, "notes": [note, *said]}
    if (asked := asking.best(groups, said)) is not None:
        return _figure(*asked, words)
    run = next((run for group in groups for run in group.runs if run.path is not None), None)
    classes = any(group.statistics[one] for group in groups for one in ACCURACY.values())
    of_pictures = classes and run is not None and "image_size" in run.config.get("data", {})
    drawn = " --plot confusion.png --errors worst.png" if of_pictures else ""
    why = words("these runs kept their weights and not their predictions; this makes them:")
    folder = "RUN" if run is None else clean(str(run.path))
    return {**without(words("Confusion matrices") if classes else words("Worst examples"), words.listed([*said, why])),
            "command": f"optbench evaluate {shlex.quote(folder)}{drawn}"}  # fmt: skip


def _figure(label: str, looked: Looked, words: Words) -> Plain:
    """What a network said, as a figure."""
    names = [clean(name) for name in looked.classes]
    shown = looked.counts is not None and len(names) <= _MOST_CLASSES
    worst = [_example(one) for one in looked.worst]
    counts = np.array(looked.counts if looked.counts is not None else np.zeros((0, 0)), dtype=np.int64)
    notes = [words("run {0}, asked about its {1} validation examples when this page was made", looked.run, looked.n)]
    if looked.counts is not None and not shown:
        notes.append(words("a matrix of {0} classes is not shown, {1} at most", len(names), _MOST_CLASSES))
    own = {"label": clean(label), "classes": names if shown else [], "counts": counts.tolist() if shown else None,
           "worst": worst, "wrong": int(counts.sum() - np.trace(counts)) if len(names) else None}  # fmt: skip
    title = words("Confusion matrices") if shown else words("Worst examples")
    return {"kind": "confusion", "title": title, "matrices": [own], "notes": notes}


def _example(one: Example) -> Plain:
    share = None if one.share is None else round(one.share, 4)
    loss = float(f"{one.loss:.4g}") if abs(one.loss) < np.inf else None
    return {"image": clean(one.name), "true": clean(one.true), "said": clean(one.said), "share": share, "loss": loss,
            "png": _base64(one.png)}  # fmt: skip


def _base64(png: bytes | None) -> str | None:
    return None if png is None else base64.b64encode(png).decode("ascii")


def _matrix(label: str, runs: Sequence[Run], asking: Asking, said: list[str]) -> Plain:
    """Counts over all runs together, and the images to which the least probability of the true class was given."""
    classes: list[str] = []
    counts = np.zeros((0, 0), dtype=np.int64)
    wrong: list[tuple[float, str, int, int, float, int]] = []
    for place, run in enumerate(runs):
        header, *lines = _rows(run)
        if not classes:
            classes = header[3:]
            counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        if header[3:] != classes or len(classes) > _MOST_CLASSES:
            raise RecordError(f"{run.path / PREDICTIONS}: other classes, or too many" if run.path else "")
        for name, _, true, *shares in lines:
            each, own = [float(share) for share in shares], int(true)
            guess = max(range(len(each)), key=each.__getitem__)
            counts[own, guess] += 1
            if guess != own:
                wrong.append((each[own], name, own, guess, each[guess], place))
    shown = sorted(wrong)[:_WORST]
    drawn = asking.pictures([(runs[one[-1]], one[1]) for one in shown], said)
    names = [clean(name) for name in classes]
    worst = [{"image": clean(name), "true": names[true], "said": names[guess], "share": round(share, 4), "loss": None,
              "png": _base64(drawn.get((runs[place].run_id, name)))}
             for _, name, true, guess, share, place in shown]  # fmt: skip
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
