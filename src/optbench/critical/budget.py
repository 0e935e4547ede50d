"""What a search may spend: seconds, memory, and the patience of a user who pressed Ctrl-C.

The searches evaluate the surface in pieces; before each piece they ask here, and `Spent` is raised where the answer is
no. It never reaches a user: whoever catches it keeps what has been found, says what is left open, and why.

A search in two parts (search, then sort out and describe) gives the first a part of the time and leaves some to the
second, so that the whole stays within SLACK of the seconds plus GRACE.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SEARCH, WHOLE = 0.9, 1.1  # of the seconds: the end of the search, and of everything
GRACE = 0.5  # seconds that sorting out may take in any case
FRACTION = 0.5  # of the machine's memory: the default bound


Progress = Callable[[float, str], None]
"""Told how a search is progressing: the share done (0..1) and a phrase."""


class Spent(Exception):
    """A budget is exhausted; the text says which."""


@dataclass
class Budget:
    """Limits of one search, and its clock, which starts when the budget is made.

    Attributes:
        seconds: wall time.
        memory: bytes that the process may hold, torch included; None: half of the machine's.
        asked_to_stop: polled; True ends the search (Ctrl-C).
    """

    seconds: float
    memory: int | None = None
    asked_to_stop: Callable[[], bool] = lambda: False
    start: float = field(default_factory=time.perf_counter)
    limit: float = field(init=False)

    def __post_init__(self) -> None:
        self.limit = SEARCH * self.seconds
        self.memory = machine_memory(FRACTION) if self.memory is None else self.memory

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    def reason(self) -> str:
        """Why nothing more may be started; empty while something may."""
        if self.asked_to_stop():
            return "the search was interrupted"
        if self.elapsed() > self.limit:
            return f"the budget of {self.seconds:g} s is spent"
        if self.memory is not None and resident() > self.memory:
            return f"the memory of {self.memory / 1e9:.3g} GB is full"
        return ""

    def poll(self) -> None:
        """Raises Spent where there is a reason to."""
        if reason := self.reason():
            raise Spent(reason)

    def sort_out(self) -> None:
        """Begins the second part: to the end of the whole, a little in any case, also after Ctrl-C or full memory."""
        self.limit = max(WHOLE * self.seconds, self.elapsed() + GRACE)
        self.asked_to_stop, self.memory = (lambda: False), None


def resident() -> int:
    """Bytes of memory that the process holds now; where the system does not tell, the most that it ever held."""
    try:
        handle = os.open("/proc/self/statm", os.O_RDONLY)  # asked before every piece of work: a third of pathlib's time
        try:
            return int(os.read(handle, 256).split()[1]) * _PAGE
        finally:
            os.close(handle)
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes


_PAGE = os.sysconf("SC_PAGE_SIZE")


def machine_memory(share: float) -> int:
    """This share of the memory of the machine, or of the container that holds the process."""
    whole = _PAGE * os.sysconf("SC_PHYS_PAGES")
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        whole = min(whole, int(text)) if text.isdigit() else whole
    except OSError:
        pass  # no container
    return int(share * whole)
