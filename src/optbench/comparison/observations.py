"""What one observation is: runs that a seed cannot tell apart are one, however often they were made.

On a surface, from the usual start or a given one and without noise, nothing is drawn: thirty seeds are thirty copies of
one run. They stay in every count of runs, but a statistic of them is of one observation, and one observation has no
interval. Two things must hold for runs to be copies: their settings give the seed nothing to do, and their recorded
numbers are the same bits; so an optimizer of one's own that draws numbers by itself keeps its observations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optbench.comparison.facts import FOLD, alike
from optbench.records import RunTable, Status
from optbench.records.columns import Bools, Ints
from optbench.settings import seed_is_idle

RULE = (
    "n (k distinct): runs of one configuration whose seed changes nothing (a given start, no noise) and whose "
    "recorded numbers are the same bits are one observation; statistics are of the k distinct ones, times of all "
    "runs"
)
NUMBERS = (
    "steps", "evals", "final_loss", "best_loss", "best_step", "final_grad_norm", "steps_to_target", "lambda_min",
)  # fmt: skip
"""What is compared bit by bit: every recorded number but times."""

_STATUSES = {str(status): number for number, status in enumerate(Status)}


def idle(runs: RunTable) -> Bools:
    """Of which runs the settings give the seed nothing to do, (n,)."""
    fixed = runs.where("trainer.start", lambda start: seed_is_idle(start, 0.0))
    if not fixed.any():
        return fixed
    surface = runs.where("data", lambda data: data in (None, "none"))
    return fixed & surface & runs.where("trainer.grad_noise", lambda noise: not noise)


def distinct(runs: RunTable, configurations: Ints) -> Bools:
    """Which runs are the first of their observation, (n,).

    Args:
        runs: n runs.
        configurations: number of each one's configuration up to the seed, (n,).
    """
    first = np.ones(len(runs), dtype=np.bool_)
    at = np.flatnonzero(idle(runs))
    if not len(at):
        return first
    some = runs.take(at)
    own = configurations[at]
    ended = some.where("status", lambda status: Status(status).final)
    # an interrupted or failed copy of a run that ended says nothing that the ended one does not
    told = np.isin(own, own[ended])
    marks = np.where(told & ~ended, 0, _mixed([own, *_bits(some)]))
    alike = np.flatnonzero(ended | ~told)
    _, firsts = np.unique(marks[alike], return_index=True)
    first[at] = False
    first[at[alike[firsts]]] = True
    return first


def repeated(runs: RunTable) -> int:
    """How many runs have the settings, seed and fold of another one before them: one log that was imported twice, or
    from two tools. What an engine of optbench ran is recorded once."""
    if not runs.where("engine", lambda engine: engine is None).any():
        return 0
    drawn = runs.numbers("seed") + 1j * np.nan_to_num(runs.numbers(FOLD), nan=-1.0)
    if len(np.unique(drawn)) == len(runs):
        return 0
    return len(runs) - len(np.unique(np.column_stack([alike(runs)[0], drawn]), axis=0))


def _bits(runs: RunTable) -> list[npt.NDArray[np.int64]]:
    """Status and numbers of each run as whole numbers, equal where the bits are; what is missing is one value."""
    codes, values = runs.column("status")
    statuses = np.array([_STATUSES.get(str(value), -1) for value in values], dtype=np.int64)[codes]
    found = [statuses]
    for name in NUMBERS:
        numbers = runs.numbers(name)
        found.append(np.where(np.isnan(numbers), np.nan, numbers).view(np.int64))
    return found


def _mixed(columns: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.uint64]:
    """A number of 64 bits for each row of some columns, (n,): equal for equal rows; a million others are all
    different but with probability 3e-8.

    Source: the mixing function of G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014 (splitmix64).
    """
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.int64).view(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed
