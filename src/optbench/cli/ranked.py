"""The command line in several processes, as torchrun starts it: the first one speaks, the others are silent."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from optbench.errors import OptbenchError, UserError
from optbench.ranks import Rank, last_words

_ALONE = frozenset(("", "run"))
"""Commands that several processes may be given; without a command there is the overview."""
_GRACE = 5.0
"""Seconds in which the first process, given the same command, comes to the same error and says it."""


def check_command(command: str | None, rank: Rank) -> None:
    """Raises UserError for a command that is not one for several processes."""
    if command is not None and command not in _ALONE and not {"-h", "--help"} & set(sys.argv):
        raise UserError(
            f"optbench {command} is one process, and this is one of {rank.size} (WORLD_SIZE); only run is shared",
            f"start it without torchrun: optbench {command} ...",
        )


@contextmanager
def silent_unless_first(rank: Rank | None) -> Iterator[None]:
    """In it nothing that another process than the first one prints is seen, but for what ends it unforeseen."""
    if rank is None or rank.is_first:
        yield
        return
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = sys.stderr = nowhere
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def outlive_the_others() -> None:
    """From now on the SIGTERM that torchrun sends when another process ended does not end this one before it has said
    how the run ended; torchrun waits 30 s for that. While the run lasts it is a wish to stop, as ever."""
    signal.signal(signal.SIGTERM, lambda *_: None)


def after_the_first(error: OptbenchError, rank: Rank) -> None:
    """Says an error that only this process has: the first one, where it has it too, says it and then all are ended."""
    if not getattr(error, "is_told", False):
        time.sleep(_GRACE)
        last_words(error.message, rank)
