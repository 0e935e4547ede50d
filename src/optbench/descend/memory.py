"""What the rows of a batch hold in memory, and how many of them may be in flight at once.

Counted, not guessed, where it depends on the surface: what its gradient keeps is asked of autograd for two rows. The
rest follows from the number of coordinates and the memories of the optimizer. Small batches are not counted.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from optbench.descend.batch import Batch
from optbench.errors import UserError

LANES = 64
"""Rows in flight are filled up to a multiple of this."""
PIECE = 65536
"""Most rows in flight: more are bound by memory bandwidth and no faster."""
SHARE = 0.6
"""Of the memory that is free, what rows in flight may take."""
_SMALL = 1 << 28
"""Bytes of coordinates in all memories below which nothing is counted."""
_HELD, _COPIES = 3, 8
"""Arrays of the coordinates' size: that stay for all rows (starts, ends, and their copy), and that an update makes and
lets go; measured on the optimizers of the catalogue."""


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, and of the container that holds it."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass  # another system than Linux: the whole machine
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):
            continue  # no container, or one without a limit ("max")
    return max(0, min(found))


def held_bytes(rows: int, dim: int) -> int:
    """Bytes that stay for all rows of a batch, whatever is in flight."""
    return 8 * _HELD * rows * dim


def flight_bytes(batch: Batch, memories: int) -> int:
    """Bytes of one row in flight.

    Args:
        batch: the batch.
        memories: arrays of the coordinates' size that the optimizer keeps.
    """
    return 8 * batch.dim * (_COPIES + 2 * memories) + _kept_for_the_gradient(batch)


def _kept_for_the_gradient(batch: Batch) -> int:
    """Bytes a row that autograd keeps of the surface."""
    import torch

    x = torch.from_numpy(batch.starts[:2].copy()).requires_grad_(True)
    sizes: dict[int, int] = {}

    def pack(saved: Any) -> Any:
        storage = saved.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        kept = batch.objective(x)  # alive while it is counted, or places would be used again
    del kept
    return sum(sizes.values()) // max(1, len(x))


def check_held(rows: int, dim: int) -> None:
    """Raises UserError, with the numbers, for rows that memory does not hold."""
    check_fits(
        held_bytes(rows, dim), f"{rows} runs of {dim} coordinates", "fewer starts or values, or a smaller model.dim"
    )


def check_fits(needs: int, what: str, hint: str) -> None:
    """Raises UserError, with the numbers, where `what` needs more bytes than its share of the memory that is free."""
    free = available_memory()
    if needs > SHARE * free:
        raise UserError(f"{what} need about {needs / SHARE / 1e9:.1f} GB; {free / 1e9:.1f} GB are free", hint)


def rows_in_flight(batch: Batch, memories: int, rows: int | None = None) -> int:
    """How many rows of a batch may be in flight at once, a multiple of LANES; `rows`: of a batch of so many like it."""
    if 8 * batch.dim * min(rows or batch.rows, PIECE) * (_COPIES + 2 * memories) <= _SMALL:
        return PIECE
    fits = int(SHARE * available_memory()) // max(1, flight_bytes(batch, memories))
    return max(LANES, min(PIECE, fits // LANES * LANES))
