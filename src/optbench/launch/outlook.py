"""What the rows of a large batch will take, before they begin: memory, time, and the chunks that fit.

A batch of 6,000 rows of 100,000 coordinates holds 14 GB however few rows are in flight. So it is cut into chunks that
fit, each recorded before the next begins; where not even 64 rows fit, the sweep is refused with the numbers. Time is
that of a few updates of a few rows, extrapolated. Small batches are not looked at.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optbench.errors import UserError
from optbench.experiment import Stop
from optbench.launch.batches import Rows, batch_of, startable

if TYPE_CHECKING:
    from optbench.descend import Batch

_LARGE = 2_000_000_000
"""Coordinates times updates from which a batch is looked at: a minute or two."""
_ROOMY = 1 << 28
"""Bytes that any machine has."""
_PROBED, _UPDATES = 64, 2
_SHARE = 0.5
"""Of the memory that is free, what a chunk may hold."""


class TooLargeError(UserError):
    """No memory that is free holds even the fewest rows that go together."""


@dataclass(frozen=True)
class Outlook:
    """What a batch will take.

    Attributes:
        rows, dim, steps: of the batch.
        bytes: that a chunk takes, with the rows of it that are in flight at once.
        available: bytes that are free.
        chunk: rows that fit at once.
        seconds: of computing, estimated.
    """

    rows: int
    dim: int
    steps: int
    bytes: int
    available: int
    chunk: int
    seconds: float

    def sentence(self) -> str:
        """In words."""
        what = f"{self.rows} rows of {self.dim} coordinates, {self.steps} updates each: about {duration(self.seconds)}"
        what = f"{what}, {_gigabytes(self.bytes)} of the {_gigabytes(self.available)} that are free"
        if self.chunk >= self.rows:
            return what
        return f"{what}, in {-(-self.rows // self.chunk)} chunks of at most {self.chunk} rows, each recorded as it ends"


def duration(seconds: float) -> str:
    """A time in the unit that one thinks in."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def chunk_rows(rows: Rows) -> int:
    """How many rows of a batch may be held at once.

    Raises:
        TooLargeError: not even 64 rows fit into the memory that is free.
    """
    from optbench.descend.memory import LANES, available_memory, flight_bytes, held_bytes

    dim, count = rows.dim, len(rows.planned)
    if held_bytes(count, dim) <= _ROOMY and held_bytes(LANES, dim) <= _ROOMY // 8:
        return count
    from optbench.descend.rules import rule_for

    some = batch_of(startable(rows.some([0]))[0], Stop())
    flight = flight_bytes(some, len(rule_for(some.optimizer).memories))
    free = available_memory()
    left = int(_SHARE * free) - LANES * flight
    fits = left // held_bytes(1, dim)
    if fits < LANES:
        needs = LANES * (flight + held_bytes(1, dim))
        raise TooLargeError(
            f"{rows.planned[0].label}: {LANES} rows of {dim} coordinates need about {_gigabytes(int(needs / _SHARE))};"
            f" {_gigabytes(free)} are free",
            "--engine loop runs them one at a time; a smaller model.dim or another machine takes them as rows",
        )
    return count if fits >= count else int(fits // LANES * LANES)


def outlook(rows: Rows) -> Outlook | None:
    """What a large batch will take; None where it is not large, or its rows cannot begin (which is said elsewhere).

    Raises:
        TooLargeError: not even 64 rows fit into memory.
    """
    from optbench.descend.memory import available_memory, flight_bytes, held_bytes, rows_in_flight

    count, dim = len(rows.planned), rows.dim
    steps = int(rows.planned[0].config["trainer"]["steps"])
    chunk = chunk_rows(rows)
    if chunk == count and count * dim * steps < _LARGE:
        return None
    from optbench.descend.rules import rule_for

    able, _ = startable(rows.some(range(min(_PROBED, count))))
    if not able.planned:
        return None
    batch = batch_of(able, Stop(), backend="eager")
    memories = len(rule_for(batch.optimizer).memories)
    flying = min(chunk, rows_in_flight(batch, memories, chunk))
    needs = held_bytes(chunk, dim) + flying * flight_bytes(batch, memories)
    seconds = _seconds_an_update(batch) * steps * count / len(able.planned)
    return Outlook(count, dim, steps, needs, available_memory(), chunk, seconds)


def _seconds_an_update(batch: Batch) -> float:
    from optbench.descend import descend

    def timed(steps: int) -> float:
        short = dataclasses.replace(batch, trainer=dataclasses.replace(batch.trainer, steps=steps))
        began = time.perf_counter()
        descend(short)
        return time.perf_counter() - began

    timed(1)  # pays for what is set up lazily
    return max(0.0, timed(1 + _UPDATES) - timed(1)) / _UPDATES


def chunks(rows: Rows, size: int) -> Sequence[Rows]:
    """The batch in chunks of so many rows."""
    count = len(rows.planned)
    if size >= count:
        return [rows]
    return [rows.some(range(first, min(first + size, count))) for first in range(0, count, size)]
