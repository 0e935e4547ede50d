"""Checkpoints as they are read: tensors only, and every byte what was written.

torch.load compares no checksums: a changed byte would be other weights without a word. A checkpoint is a zip file, and
those have a checksum for every piece.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from optbench.records.seal import check_regular, sum_of_file


def load_checkpoint(path: Path, device: Any = "cpu", expected: str | None = None) -> Any:
    """What a checkpoint holds, on a device; executes nothing.

    Args:
        path: the file.
        device: where to.
        expected: its checksum (`seal.sum_of_file`), where that is known.

    Raises:
        FileNotFoundError: there is none.
        Exception: it is not a checkpoint, or not what was written; torch and zipfile raise their own.
    """
    import torch

    check_regular(path)
    with zipfile.ZipFile(path) as file:
        if (piece := file.testzip()) is not None:
            raise ValueError(f"the checksum of {piece} differs")
    if expected is not None and sum_of_file(path) != expected:
        raise ValueError("it is not the file that the run wrote: its checksum differs")
    return torch.load(path, weights_only=True, map_location=device)
