"""Predictions as files: the homework's submission, and a table of probabilities.

A row of a submission says which image it is of by a number, so no number may change in silence: it is the one in the
file's name, and where names are no numbers it is said which numbers they get.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from optbench.errors import UserError
from optbench.experiment.rebuild import Rebuilt, check_classes
from optbench.prediction.broken import filled
from optbench.prediction.runs import natural
from optbench.prediction.together import Ensemble


def numbered(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """The number of each file, and what must be said of the numbers.

    Args:
        names: of files, relative, with forward slashes; in natural order.

    Raises:
        UserError: two names that are numbers are the same number.
    """
    stems = [PurePosixPath(name).stem for name in names]
    in_one = len({PurePosixPath(name).parent for name in names}) == 1  # in several, numbers mean nothing by themselves
    is_number = [in_one and stem.isascii() and stem.isdecimal() for stem in stems]
    if all(is_number):
        ids = [int(stem) for stem in stems]
        if shared := _shared(ids, names):
            raise UserError(
                f"these files would share an Id in the submission: {shared}", "rename or remove one of each"
            )
        return ids, []
    other = [name for name, fits in zip(names, is_number, strict=True) if not fits]
    few = ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else "")
    notes = [f"names that are no numbers ({few}): the {len(names)} files are numbered from 1 in natural order"]
    if shared := _shared(stems, names):
        notes.append(f"these files differ in their ending or folder alone, and have numbers of their own: {shared}")
    return list(range(1, len(names) + 1)), notes


def _shared(keys: Sequence[Any], names: Sequence[str]) -> str:
    """The names with the same key, each such set in words; nothing where all differ."""
    by_key: dict[Any, list[str]] = defaultdict(list)
    for key, name in zip(keys, names, strict=True):
        by_key[key].append(name)
    sets = [" and ".join(same) for same in by_key.values() if len(same) > 1]
    return "; ".join(sets[:5]) + (f"; and {len(sets) - 5} more" if len(sets) > 5 else "")


def submission(predictions: Sequence[tuple[str, int]]) -> str:
    """The homework's submission file: a header, then a line an image, four-digit Id and Category, in natural order.

    Args:
        predictions: (file name, class), in any order.

    Raises:
        UserError: as `numbered`.
    """
    ordered = sorted(predictions, key=lambda one: natural(one[0]))
    ids, _ = numbered([name for name, _ in ordered])
    return "Id,Category\n" + "".join(f"{i:04d},{label}\n" for i, (_, label) in zip(ids, ordered, strict=True))


def probability_table(names: Sequence[str], ids: Sequence[int], probabilities: Any, class_names: Sequence[str]) -> str:
    """CSV: file, Id, and the probability of each class, by the names of the classes.

    Args:
        names, ids: of the n images.
        probabilities: (n, classes).
        class_names: in label order.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "Id", *class_names])
    for name, number, row in zip(names, ids, probabilities.tolist(), strict=True):
        writer.writerow([name, f"{number:04d}", *(f"{p:.6g}" for p in row)])
    return text.getvalue()


def predict(
    rebuilt: Rebuilt, folder: Path | None, progress: Callable[[int, int], None] | None = None
) -> list[tuple[str, int]]:
    """Predicted class of every image, in natural order of names, as (file name, class).

    Args:
        rebuilt: the network.
        folder: images to classify; None: the data set's own test split.
        progress: told how many images are decoded.
    """
    check_classes(rebuilt)
    asked = Ensemble((rebuilt,))
    (found,) = asked.pictures(folder, progress=progress)
    _, labels, _ = filled(asked, found, *asked.combined(asked.each([found])))
    return list(zip(found.names, labels.tolist(), strict=True))
