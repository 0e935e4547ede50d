"""Scores of configurations on each problem by itself, where asked for (`--score`): against a baseline, and over
learning rates.

    share_of_cost   the x of "reaches the baseline's final loss at x of its cost", from curves
    certified_gain  whether fewer updates to a little higher loss are worth it: track 3's pairwise rule
    lr_sensitivity  Wortsman's clipped sensitivity: what a wrong learning rate costs
    lr_share        share of the rates tried that does about as well as the best

The measure is that of common targets (`targets.measure`): the loss of a surface, the validation accuracy of a network,
without classes its validation loss. The first two are against --baseline, else the best configuration of the problem.
The last two are of all runs that differ in the learning rate, however groups are formed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from optbench.comparison.across import Score
from optbench.comparison.by_seed import by_seed
from optbench.comparison.facts import Facts, alike
from optbench.comparison.groups import Group
from optbench.comparison.header import HORIZONS, OF_BUDGET
from optbench.comparison.judged import baselines
from optbench.comparison.labels import configuration_names, problem_names
from optbench.comparison.observations import distinct
from optbench.comparison.targets import Aim, Curves, Reader, curves_of, measure
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.records import RunTable
from optbench.records.columns import Floats
from optbench.statistics import has_result
from optbench.statistics.numbers import number

RATE = "optimizer.lr"
RULES = {
    "share_of_cost": 'the x of "reaches the baseline\'s final loss (accuracy) at x of its cost": median over runs of '
    "the cost at which a run first is at the median final value of the baseline, divided by the median cost of the "
    "baseline; below 1 is faster, inf never; cost by --cost, steps else; bootstrap interval of runs of both, which "
    "covers 96 % from 5 runs on (4: 92 %, 3: 90 %)",
    "certified_gain": "the pairwise rule of modded-nanogpt's track 3: (mean final loss of the baseline - own) + steps "
    "saved x what a step is worth; significant, p <= 0.001 one-sided, where the interval lies above 0 (Student's, with "
    "--spread the normal one of a known spread); every run of a configuration ends at one number of steps, and a step "
    "is worth what the baseline lost where it was run with other steps (or --step-worth; else nothing)",
    "lr_sensitivity": "Wortsman's clipped sensitivity to the learning rate: mean over the rates tried, within three "
    "decades around the best, of min(final loss, loss at the start), less the least of these; runs that diverged count "
    "as the start; 0: no rate matters; validation loss where it was measured at the start, else training loss; "
    "bootstrap interval of the runs of each rate, over all rates that may be the best",
    "lr_share": "share of the range of learning rates that was tried, on a logarithmic axis, where the median loss "
    "comes within 5 % of the way from the start to the best one (by interpolation between the rates; beside a rate "
    "that diverged nothing counts); of the same loss as lr_sensitivity; 1: every rate will do; the interval is what "
    "the share can be where the median of every rate lies within its own order-statistic interval, and covers at least "
    "as often as all of these together do, whatever the losses (5 rates: 69 % for 5 runs each, 84 % for 6, 95 % from 8 "
    "on); none where that is less than one half",
}
"""The scores and their rules, a clause each."""
OF_RATES = ("lr_sensitivity", "lr_share")
LARGE = ("certified_gain", "lr_share")
_DECADES = 3.0


@dataclass(frozen=True)
class Asked:
    """What is asked of these scores.

    Attributes:
        aim: what costs are counted in, and where curves are cut.
        baseline: the configuration that the others are held against, by its name or its optimizer's; None: the best.
        step_worth: what a step is worth, in the measure; None: what the baseline's runs of other lengths tell.
        reader: of curves.
    """

    aim: Aim = field(default_factory=Aim)
    baseline: str | None = None
    step_worth: float | None = None
    reader: Reader = RunTable.curves

    def __post_init__(self) -> None:
        if self.step_worth is not None and not 0 <= self.step_worth < math.inf:
            raise UserError(f"--step-worth {self.step_worth:g}: expected a loss from 0 on, such as 4.5e-5")


def scores_within(
    problems: Mapping[str, Sequence[Group]], runs: RunTable, names: Sequence[str], asked: Asked
) -> tuple[list[Score], list[str]]:
    """Each score of each configuration of each problem, and what must be said beside, a sentence each.

    Args:
        problems: the groups of each, the best first.
        runs: all runs, those of settings that no group reports too.
        names: of RULES.
        asked: see Asked.

    Raises:
        UserError: no problem has the baseline, or no two learning rates were tried.
        RecordError: a curve that cannot be read.
    """
    found: list[Score] = []
    said: list[str] = []
    against = {name: 0 for name in names if name not in OF_RATES} and _against(problems, asked.baseline)
    for problem, place in against.items():
        groups = problems[problem]
        for name in names:
            if name not in OF_RATES:
                estimates, words = _AGAINST[name](problem, groups, place, asked)
                said += words
                rows = [row for row in zip(groups, estimates, strict=True) if row[0] is not groups[place]]
                found += [Score(name, group.label, one, problem) for group, one in rows if one]
    if of_rates := [name for name in names if name in OF_RATES]:
        scores, words = _of_rates(runs, of_rates)
        found, said = [*found, *scores], [*said, *words]
    return found, said


def _against(problems: Mapping[str, Sequence[Group]], baseline: str | None) -> dict[str, int]:
    """The place of the configuration that the others of each problem are held against."""
    if baseline is not None:
        return baselines(problems, baseline)
    best = {
        problem: next((i for i, group in enumerate(groups) if group.best), 0) for problem, groups in problems.items()
    }
    return {problem: place for problem, place in best.items() if len(problems[problem]) > 1}


_Found = tuple[list[Estimate | None], list[str]]


def _shares(problem: str, groups: Sequence[Group], place: int, asked: Asked) -> _Found:
    from optbench.metrics.profiles import shares_of_cost

    column, sign = measure(groups)
    curves, without = curves_of(groups, asked.aim, column, sign, asked.reader)
    baseline = groups[place].label
    said = [f"{problem}: no share of cost for {', '.join(without)}: runs without a recorded curve"] if without else []
    members = curves.members(len(groups))
    theirs = _flat(curves, members[place], lost=True)
    if theirs is None:
        return [None] * len(groups), [*said, f"{problem}: no share of cost: {baseline} has no run with a curve"]
    flat = [_flat(curves, runs) for runs in members]
    try:
        shares = iter(shares_of_cost([ours for ours in flat if ours is not None], theirs))
    except ValueError:
        why = "half of its runs have no result to reach"
        return [None] * len(groups), [*said, f"{problem}: no share of the cost of {baseline}: {why}"]
    found = [None if ours is None else next(shares) for ours in flat]
    cost = f"{problem}: share_of_cost is of the cost of {baseline} in {asked.aim.cost}, to its final {column}"
    return found, [*said, cost]


def _flat(curves: Curves, runs: Sequence[int], lost: bool = False) -> tuple[Floats, Floats, Floats] | None:
    """Costs, values and offsets of some curves, where something was measured; None without any.

    Args:
        curves: of a problem.
        runs: which, by number.
        lost: whether a run without a result ends infinitely high.
    """
    parts = []
    for run in runs:
        costs, values = curves.costs[run], curves.values[run]
        if not (kept := ~np.isnan(values)).all():
            costs, values = costs[kept], values[kept]
        if lost and not has_result(curves.statuses[run]):
            costs, values = np.append(costs, curves.ends[run]), np.append(values, np.inf)
        parts.append((costs, values))
    if not parts or (lost and any(not len(costs) for costs, _ in parts)):
        return None
    offsets = np.cumsum([0, *(len(costs) for costs, _ in parts)]).astype(float)
    return np.concatenate([costs for costs, _ in parts]), np.concatenate([values for _, values in parts]), offsets


def _gains(problem: str, groups: Sequence[Group], place: int, asked: Asked) -> _Found:
    from optbench.metrics.steps_to import gain

    column, sign = measure(groups)
    table = sign * by_seed(groups, "final_loss" if column == "loss" else column)
    losses = [row[~np.isnan(row)] for row in table]
    steps = [_length(group) for group in groups]
    unequal = [group.label for group, own in zip(groups, steps, strict=True) if own is None]
    said = [f"{problem}: no certified gain for {', '.join(unequal)}: not one number of steps for all seeds"] * bool(
        unequal
    )
    base = steps[place]
    if base is None or not len(losses[place]):
        return [None] * len(groups), said
    worth, how = _worth(groups, place, losses, steps, asked)
    found: list[Estimate | None] = [
        None if own is None or not len(runs) else gain(runs, losses[place], base - own, worth, sigma=asked.aim.spread)
        for runs, own in zip(losses, steps, strict=True)
    ]
    return found, [*said, f"{problem}: certified_gain is over {groups[place].label} in {column}; {how}"]


def _length(group: Group) -> float | None:
    """The number of steps of the runs of a group that have a result; None where there are several."""
    ended = group.rows.where("status", has_result)
    steps = np.unique(group.rows.numbers("steps")[ended])
    return float(steps[0]) if len(steps) == 1 and not np.isnan(steps[0]) else None


def _worth(
    groups: Sequence[Group], place: int, losses: Sequence[Floats], steps: Sequence[float | None], asked: Asked
) -> tuple[float, str]:
    """What a step is worth, and how that is known."""
    from optbench.metrics.steps_to import exchange_rate

    if asked.step_worth is not None:
        return asked.step_worth, f"a step is worth {number(asked.step_worth)} (--step-worth)"
    own, base = [_but_length(group) for group in groups], steps[place]
    others = [
        i for i, (one, length) in enumerate(zip(own, steps, strict=True))
        if one == own[place] and length is not None and length != base and np.isfinite(losses[i]).all()
    ]  # fmt: skip
    if base is None or not others or not np.isfinite(losses[place]).all():
        return 0.0, "steps saved count nothing: no runs of it with other steps tell their worth (--step-worth)"
    other = min(others, key=lambda i: abs((steps[i] or 0.0) - (base or 0.0)))
    length = steps[other] or 0.0
    long, short = (losses[place], losses[other]) if length < base else (losses[other], losses[place])
    if len(long) + len(short) < 3:
        return 0.0, "steps saved count nothing: one run of it with other steps is no measure (--step-worth)"
    rate = exchange_rate(long, short, abs(base - length))
    ends = f" [{number(rate.low)}, {number(rate.high)}]"
    told = f"by its runs of {number(length)} and {number(base)} steps"
    if rate.value <= 0:
        return 0.0, f"steps saved count nothing: {told} a step is worth {number(rate.value)}{ends}"
    return rate.value, f"a step is worth {number(rate.value)}{ends}, {told}"


def _but_length(group: Group) -> object:
    """What a configuration is but for its length."""
    facts = alike(group.rows)[1][0]
    left_out = {*OF_BUDGET, *HORIZONS}
    return Facts({key: value for key, value in facts.values.items() if key not in left_out}).configuration_key


_AGAINST = {"share_of_cost": _shares, "certified_gain": _gains}


def _of_rates(runs: RunTable, names: Sequence[str]) -> tuple[list[Score], list[str]]:
    """The scores over rates of each configuration without its learning rate, where several rates were tried."""
    found: list[Score] = []
    said: list[str] = []
    for problem, label, rates, rows in sorted(_lines(runs), key=lambda one: one[:2]):
        named = f"{problem}: {label}"
        column, start = _start(rows)
        if start is None:
            said.append(f"{named}: no {' and '.join(names)}: no run has a curve that begins at step 0 with its loss")
            continue
        losses = np.where(rows.where("status", has_result), rows.numbers(column), np.inf)
        found += [
            Score(name, label, replace(_RATES[name](rates, losses, start), n=len(rows)), problem) for name in names
        ]
        tried = np.unique(rates)
        what = "validation loss" if column == "val_loss" else "loss"
        said.append(f"{named}: {' and '.join(names)} of {what} over {len(tried)} rates, {number(float(tried[0]))} to "
                    f"{number(float(tried[-1]))}; at the start {number(start)}")  # fmt: skip
    if not found and not said:
        raise UserError(f"--score {','.join(names)}: no configuration was run with two learning rates",
                        "optbench sweep optimizer.lr=1e-4,1e-3,1e-2,1e-1 ...")  # fmt: skip
    return found, said


def _sensitivity(rates: Floats, losses: Floats, start: float) -> Estimate:
    from optbench.metrics.tuned import sensitivity_interval

    return sensitivity_interval(rates, losses, start, _DECADES)


def _share(rates: Floats, losses: Floats, start: float) -> Estimate:
    from optbench.metrics.tuned import share_interval

    return share_interval(rates, losses, start)


_RATES = {"lr_sensitivity": _sensitivity, "lr_share": _share}


def _lines(runs: RunTable) -> Iterator[tuple[str, str, Floats, RunTable]]:
    """Of each configuration but for the learning rate: problem, name, the rates and the runs."""
    runs = runs.take(runs.numbers(RATE) > 0)
    codes, facts, _ = alike(runs)
    rest = [Facts({key: value for key, value in one.values.items() if key != RATE}) for one in facts]
    problems = problem_names(rest)
    members: dict[object, list[int]] = defaultdict(list)
    for kind, one in enumerate(rest):
        members[one.problem_key, one.configuration_key].append(kind)
    names = {
        problem: configuration_names([one for one in rest if one.problem_key == problem])[0] for problem in problems
    }
    for kinds in members.values():
        one = rest[kinds[0]]
        rows = runs.take(np.isin(codes, kinds))
        whose = np.unique(codes[np.isin(codes, kinds)], return_inverse=True)[1]
        rows = rows.take(distinct(rows, whose.astype(np.int64)))
        rates = rows.numbers(RATE)
        if len(np.unique(rates)) > 1:
            yield problems[one.problem_key], names[one.problem_key][one.configuration_key], rates, rows


def _start(rows: RunTable) -> tuple[str, float | None]:
    """The column of runs that is the final loss, and the median of that loss at step 0 over the seeds, on which alone
    it depends; None where no curve tells."""
    rows = rows.take(rows.has_curve())
    rows = rows.take(np.unique(rows.numbers("seed"), return_index=True)[1])
    curves = [
        curve
        for curve in rows.curves(("step", "val_loss", "loss"))
        if len(curve.get("step", ())) and curve["step"][0] == 0
    ]
    for column, name in (("val_loss", "val_loss"), ("final_loss", "loss")):
        starts = [float(curve[name][0]) for curve in curves if name in curve and math.isfinite(curve[name][0])]
        if starts and rows.present(column).any():
            return column, float(np.median(starts))
    return "final_loss", None
