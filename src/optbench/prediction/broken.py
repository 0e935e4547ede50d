"""Rows of files that are no readable picture: a submission has one for each file, whatever is in it.

Of such a file nothing is known but how frequent the classes are: it gets the most frequent one, with the shares of the
classes as its probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from optbench.prediction.pictures import Pictures
from optbench.prediction.together import Ensemble


def filled(asked: Ensemble, found: Pictures, shares: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, str]:
    """Answers with the rows of broken files replaced, and a sentence about them; nothing where there are none.

    Args:
        asked: who answered.
        found: the n images.
        shares: probabilities (n, classes), or shares of votes.
        labels: classes (n,).

    Raises:
        DataError: none of them is a readable picture.
    """
    if not found.bad:
        return shares, labels, ""
    found.readable()
    counts, whence = _training_counts(asked), "in training"
    if counts is None:
        whole = labels[found.is_readable]
        counts, whence = torch.bincount(whole, minlength=len(asked.class_names)).double(), "among the other answers"
    most = int(counts.argmax())
    broken = ~found.is_readable
    shares, labels = shares.clone(), labels.clone()
    shares[broken] = (counts / counts.sum().clamp(min=1.0)).to(shares.dtype)
    labels[broken] = most
    name = asked.class_names[most]
    named = f" ({name})" if name != str(most) else ""
    files = "file is no readable picture and gets" if len(found.bad) == 1 else "files are no readable pictures and get"
    return shares, labels, f"{len(found.bad)} {files} category {most}{named}, the most frequent one {whence}"


def _training_counts(asked: Ensemble) -> Tensor | None:
    """How many training images each class had, float64 (classes,); None where no record of a member says so."""
    for member in asked.members:
        accounts = member.run.provenance.get("pictures") or {}
        counts = (accounts.get("train") or {}).get("classes")
        if isinstance(counts, list) and len(counts) == len(asked.class_names):
            return torch.tensor(counts, dtype=torch.float64)
    return None
