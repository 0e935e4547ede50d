"""The pictures of trainer.unlabelled: what identifies them, found without torch, and the pictures themselves.

They are those of a folder or a zip, and below it; or, by the word `test`, the test pictures of the data set. Like the
data, they count in a run's identity by their names and contents, wherever they lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optbench.errors import DataError
from optbench.experiment.sources import is_own
from optbench.folders import Progress, place_of
from optbench.pictures import Files, Splits, files_at
from optbench.settings import PSEUDO

if TYPE_CHECKING:
    from optbench.problem import AbstractData, PseudoLabels, Split

KEY = "unlabelled"
"""Where a configuration holds what `identity` finds."""
_TEST = "test"
_DIGITS = 12


def identity(config: Mapping[str, Any], progress: Progress | None = None) -> dict[str, str] | None:
    """What identifies the unlabelled pictures of a run, as the node KEY of its configuration; None: it has none.

    Args:
        config: resolved.
        progress: told how many files are read, of those that are not known from before.

    Raises:
        DataError: they are not there.
    """
    place, data = config["trainer"].get("unlabelled"), config["data"]
    if place is None:
        return None
    if place == _TEST and (not data.get("root") or is_own(data["_target_"])):
        return {"pseudo_labels": _TEST}  # what they are is said by the settings of the data, or by their fingerprint
    try:
        files = Splits(place_of(data["root"])).files(_TEST) if place == _TEST else files_at(place_of(place), True)
    except DataError as error:
        words = f"trainer.unlabelled={place} wants pictures without labels: a folder, a zip, or the word test"
        raise DataError(error.message, error.hint or words) from None
    return {"pseudo_labels": _digest(files, progress)}


def _digest(files: Files, progress: Progress | None) -> str:
    digest = hashlib.sha256(b"unlabelled pictures\n")
    for name, known in zip(files.names, files.contents(progress), strict=True):
        digest.update(f"{name}\0{known}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:_DIGITS]


def pseudo_labels(config: Mapping[str, Any], data: AbstractData) -> PseudoLabels | None:
    """The unlabelled pictures of a run, read, with the rule by which they are given labels; None: it has none.

    Args:
        config: of the run.
        data: its data set, whose `progress`, where it has one, is told how many pictures are decoded.

    Raises:
        DataError: a picture that cannot be read, unless data.on_bad=skip leaves it out; none that can be.
    """
    from optbench.problem.pseudo import PseudoLabels, Rule

    trainer = config["trainer"]
    place = trainer.get("unlabelled")
    if place is None:
        return None
    settings = {name.removeprefix("pseudo_"): trainer.get(name, default) for name, default in PSEUDO.items()}
    pictures = _test(data) if place == _TEST else _below(place, data, config["data"].get("on_bad", "error"))
    return PseudoLabels(pictures, Rule(**settings), config["seed"])


def _test(data: AbstractData) -> Split:
    """The test pictures, without the black ones that stand in for files that cannot be read."""
    import torch

    from optbench.problem import Split, read_split

    found = read_split(data, _TEST)
    bad = getattr(data, "bad", {}).get(_TEST, {})
    kept = torch.tensor([i for i, name in enumerate(found.names) if name not in bad], dtype=torch.long)
    if not len(kept):
        raise DataError("trainer.unlabelled=test: the data set has no test pictures", "name a folder of pictures")
    labels = None if found.labels is None else found.labels[kept]
    return Split(found.images[kept], labels, tuple(found.names[i] for i in kept.tolist()))


def _below(place: str, data: AbstractData, on_bad: str) -> Split:
    """The pictures of a folder or a zip; with labels where all names have one by the rule of the data set."""
    import torch

    from optbench.images import read
    from optbench.problem import Split

    progress = getattr(data, "progress", None)
    files = files_at(place_of(place), recursive=True)
    found = read(files, data.image_size, data.channels, on_bad=on_bad, progress=progress)
    label = getattr(data, "label", None)
    known = [label(name) for name in found.names] if callable(label) else []
    labels = torch.tensor(known) if known and all(isinstance(one, int) for one in known) else None
    return Split(found.images, labels, found.names)
