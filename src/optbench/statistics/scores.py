"""The list of scores, each with its rule. None of them drops a run: what diverged or missed its target is infinite."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from optbench import metrics
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.statistics.numbers import alone, interval
from optbench.statistics.of_metrics import NO_RESULT, Scores, validation
from optbench.statistics.statistic import TARGETS, Found, Groups, Statistic

MEDIAN = "median over the runs of a group; runs without a result count as +inf (accuracy: -inf)"
INTERVAL = (
    "[low, high]: order-statistic interval of the median, at least 95 %; below 6 runs there is none, and the range is "
    "shown, which covers the median with probability 1 - 2^(1-n); of one run there is nothing to show"
)
_TIMED = (
    "over the runs that were timed by themselves (k of n: so many of the group); rows of a batch share one clock and "
    "have no time of their own, nor has a group whose runs were on several devices"
)


def _result(name: str, worst: float) -> Callable[[Groups], Found]:
    return lambda groups: groups.medians(groups.results(name, worst))


def _known(name: str) -> Callable[[Groups], Found]:
    return lambda groups: groups.medians(groups.runs.numbers(name))


def _seconds(groups: Groups) -> Found:
    return _seconds_per(groups, None)


def _seconds_per(groups: Groups, name: str | None) -> Found:
    """Medians of seconds, of which so many times the column `name` was done."""
    timed = groups.timed
    seconds = np.where(timed.on_one("device"), timed.runs.numbers("seconds"), math.nan)
    if name is not None:
        count = timed.runs.numbers(name)
        seconds = np.divide(seconds, count, where=count > 0, out=np.full(len(seconds), math.nan))
    return timed.medians(seconds)


def _steps_to_target(groups: Groups) -> Found:
    hits = groups.aimed.runs.numbers("steps_to_target")
    return groups.aimed.medians(np.where(np.isnan(hits), math.inf, hits))


def _success_rate(groups: Groups) -> Found:
    found: Found = [None] * groups.count
    rate = cache(metrics.success_rate)
    for members, (hits,) in groups.aimed.by_size(groups.aimed.runs.numbers("steps_to_target")):
        for group, reached in zip(members, (~np.isnan(hits)).sum(axis=1).tolist(), strict=True):
            found[group] = rate(reached, hits.shape[1])
    return found


def _expected_running_time(groups: Groups) -> Found:
    found: Found = [None] * groups.count
    runs = groups.aimed.runs
    ends = np.nan_to_num(runs.numbers("steps"), nan=0.0)
    for members, (hits, spent) in groups.aimed.by_size(runs.numbers("steps_to_target"), ends):
        for group, time in zip(members, metrics.expected_running_times(hits, spent), strict=True):
            found[group] = Estimate(time, n=hits.shape[1])
    return found


_OF_TARGET = ("steps_to_target", *TARGETS)
_LIST = (
    Statistic(
        "final_loss", "final loss", f"median of the loss at the last iterate; {NO_RESULT} +inf",
        ("final_loss", "status"), _result("final_loss", math.inf), -1, interval, place=4,
    ),
    Statistic(
        "best_loss", "best loss", f"median of the least loss of each run; {NO_RESULT} +inf",
        ("best_loss", "status"), _result("best_loss", math.inf), -1, interval, place=5, spare=3,
    ),
    Statistic(
        "best_val_accuracy", "best accuracy, %", "median of the accuracy of each run on the validation data at its "
        "best evaluation, which is that of best.pt, and the highest unless trainer.metrics names another metric "
        f"first; a little high, since these data chose it; {NO_RESULT} -inf",
        ("best_val_accuracy", "status"), validation("best_val_accuracy", -math.inf), 1, partial(interval, share=True),
        place=0, noted=True,
    ),
    Statistic(
        "val_accuracy", "last accuracy, %", "median of the last accuracy of each run on the validation data, which "
        f"is that of last.pt; {NO_RESULT} -inf",
        ("val_accuracy", "status"), validation("val_accuracy", -math.inf), 1, partial(interval, share=True),
        place=1, noted=True,
    ),
    Statistic(
        "best_val_loss", "best validation loss", "median of the loss of each run on the validation data at its best "
        f"evaluation, which is that of best.pt; a little low, since these data chose it; {NO_RESULT} +inf",
        ("best_val_loss", "status"), validation("best_val_loss", math.inf), -1, interval, place=2, noted=True,
    ),
    Statistic(
        "val_loss", "last validation loss", "median of the last loss of each run on the validation data, which is that "
        f"of last.pt; {NO_RESULT} +inf",
        ("val_loss", "status"), validation("val_loss", math.inf), -1, interval, place=3, noted=True,
    ),
    Statistic(
        "steps", "steps", "median number of updates, over the started runs",
        ("steps",), _known("steps"), -1, alone, place=9, spare=5, cost=True,
    ),
    Statistic(
        "evals", "evaluations", "median number of evaluations of objective and gradient, over the started runs",
        ("evals",), _known("evals"), -1, alone, place=19, spare=3, cost=True,
    ),
    Statistic(
        "gradients", "gradients", "median number of backward passes of the objective, over the started runs",
        ("gradients",), _known("gradients"), -1, alone, place=20, spare=1, cost=True,
    ),
    Statistic(
        "hessian_products", "Hessian products", "median number of backward passes through the graph of the gradient, "
        "over the started runs that keep one",
        ("hessian_products",), _known("hessian_products"), -1, alone, place=21, spare=2, cost=True,
    ),
    Statistic(
        "seconds", "seconds", f"median time of training, evaluation not counted, {_TIMED}",
        ("seconds", "seconds_of", "engine", "device"), _seconds, -1, alone, place=10, spare=4, cost=True, timed=True,
    ),
    Statistic(
        "seconds_per_update", "seconds an update", f"median of time of training / updates made, {_TIMED}",
        ("seconds", "seconds_of", "engine", "device", "steps"), partial(_seconds_per, name="steps"), -1, alone,
        cost=True, timed=True,
    ),
    Statistic(
        "seconds_per_epoch", "seconds an epoch",
        f"median of time of training / passes over the training data, {_TIMED}",
        ("seconds", "seconds_of", "engine", "device", "epochs"), partial(_seconds_per, name="epochs"), -1, alone,
        cost=True, timed=True,
    ),
    Statistic(
        "steps_to_target", "steps to target", "first recorded step that meets the target (loss at most, accuracy at "
        "least); a run that misses counts as +inf",
        _OF_TARGET, _steps_to_target, -1, interval, place=7, spare=2, noted=True,
    ),
    Statistic(
        "success_rate", "reached target, %", "runs that reached the target / all runs, with Wilson's interval, 95 % on "
        "average over all rates",
        _OF_TARGET, _success_rate, 1, partial(interval, share=True), place=6, spare=6, noted=True,
    ),
    Statistic(
        "ert", "ERT, steps", "expected running time: steps until the target or the end, summed over all runs / number "
        "of successes",
        (*_OF_TARGET, "steps"), _expected_running_time, -1, alone, place=8, spare=1, noted=True,
    ),
)  # fmt: skip
STATISTICS = Scores(_LIST)
"""What is computed of each group, by name; a statistic that does not apply to it is None. Those of metrics are found by
name, and computed where records have them."""


def statistics_of(groups: Groups) -> list[dict[str, Estimate | None]]:
    """STATISTICS of each group, by name, those of metrics that some run has among them: of its observations; of a
    clock, of its runs."""
    of_metrics = (one for one in STATISTICS.of_metrics.values() if groups.runs.different(one.name) not in ([], [None]))
    every = [*STATISTICS.values(), *of_metrics]
    found = [one.compute(groups if one.timed else groups.observed) for one in every]
    names = [one.name for one in every]
    return [dict(zip(names, own, strict=True)) for own in zip(*found, strict=True)]


def explain(name: str) -> str:
    """The rule of a statistic, a line each for what it is, what it is computed from and what is better.

    Raises:
        UserError: there is none of that name.
    """
    if name not in STATISTICS:
        close = difflib.get_close_matches(name, STATISTICS, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UserError(f"no score {name!r}", f"{meant}scores: {', '.join(STATISTICS)}")
    one = STATISTICS[name]
    better = "small" if one.direction < 0 else "large"
    rules = [f"{one.name} ({one.title}): {one.rule}."]
    rules += [f"{INTERVAL}."] if one.rule.startswith(("median", "first")) else []
    return "\n".join([*rules, f"Computed from: {', '.join(one.needs)}. Better: {better}."])
