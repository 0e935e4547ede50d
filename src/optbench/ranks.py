"""Several processes of one command: how one of them finds what it is, by the environment that torchrun gives it.

torchrun, accelerate launch, and operators of clusters start the same command several times and tell each process its
number (RANK) among how many (WORLD_SIZE), its number on its own machine (LOCAL_RANK of LOCAL_WORLD_SIZE), and where
they meet (MASTER_ADDR, MASTER_PORT). Nothing else is taken from them: torch.distributed reads the same variables.

Without RANK, or with a WORLD_SIZE of 1, there is one process, and all is as if this module were not there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from optbench.errors import UserError

_PLACE = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Rank:
    """One of several processes.

    Attributes:
        rank: its number, from 0; the first one writes and prints.
        size: how many there are.
        local_rank: its number on its machine.
        local_size: how many there are on its machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0


def of_environment(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """What this process is among several; None where it is the only one.

    Raises:
        UserError: the variables contradict each other, or some are missing.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    rank, size = (_number(environment, key) for key in ("RANK", "WORLD_SIZE"))
    if size == 1 and rank == 0:
        return None
    if not rank < size:
        raise UserError(f"RANK={rank} beside WORLD_SIZE={size}: expected 0 to {size - 1}", _HINT)
    if missing := [key for key in _PLACE if not environment.get(key)]:
        raise UserError(f"WORLD_SIZE={size} is set and {' and '.join(missing)} not: where do they meet?", _HINT)
    local, local_size = _number(environment, "LOCAL_RANK", 0), _number(environment, "LOCAL_WORLD_SIZE", 1)
    return Rank(rank, size, local, max(local_size, local + 1))


_HINT = "start it by torchrun --standalone --nproc-per-node 2 -m optbench run ..., or unset RANK and WORLD_SIZE"


def _number(environment: Mapping[str, str], key: str, default: int | None = None) -> int:
    text = environment.get(key, "" if default is None else str(default))
    if not text.isdecimal():
        raise UserError(f"{key}={text}: expected a whole number", _HINT)
    return int(text)


def last_words(words: str, rank: Rank) -> None:
    """Prints what another process than the first one has to say itself: what the first one, which is gone, cannot."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"error: process {rank.rank} of {rank.size}: {words}\n")
        sys.__stderr__.flush()
