"""The words of a line that says how far something is, and which of them a narrow terminal goes without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Piece(NamedTuple):
    """Some words of a line.

    Attributes:
        text: the words.
        spare: when a narrow terminal goes without them: those with the largest first, 0 never.
    """

    text: str
    spare: int = 0


def facts(row: Mapping[str, Any]) -> list[Piece]:
    """What a row of a curve says, the loss and what evaluations are judged by kept longest."""
    from optbench.records.metrics import judged  # other commands show lines too, and read no records

    found = [Piece(f"loss {row['loss']:.4g}", 1)] if row.get("loss") is not None else []
    for name, value in judged(row).items():
        found.append(
            Piece(f"val {value:.1%}" if name == "val_accuracy" else f"{name.replace('_', ' ', 1)} {value:.4g}")
        )
    if row.get("epoch") is not None:
        found.append(Piece(f"epoch {row['epoch']:.1f}", 2))
    if row.get("lr") is not None:
        found.append(Piece(f"lr {row['lr']:.2g}", 4))
    return found
