"""The answer of a tournament in words: a sentence that a paper can quote, what would decide more, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optbench.comparison.judged import Verdict
from optbench.launch.outlook import duration
from optbench.metrics.tuned import share_within
from optbench.report.cells import Sheet
from optbench.report.tables import aligned
from optbench.report.verdicts import SHARES, against, lines_of, quoted
from optbench.statistics import INTERVAL, STATISTICS
from optbench.statistics.numbers import interval, number, printable
from optbench.tuning.runs import direction_of
from optbench.tuning.tournament import Entrant, Found
from optbench.tuning.words import edge_line, seeds_text, values_json, verdicts_of

_RATE = "optimizer.lr"
_WITHIN = 0.05


@dataclass(frozen=True)
class Works:
    """The learning rates of a contender that work, by the first rung.

    Attributes:
        low, high: the least and the largest that was tried and came within 5 % of its best.
        share: of the range that was tried, on a logarithmic axis, by interpolation.
        good, tried: how many do, of how many.
    """

    low: float
    high: float
    share: float
    good: int
    tried: int


def works(found: Found, one: Entrant) -> Works | None:
    """Which learning rates work; None where fewer than two were tried or none has a result.

    An accuracy is to be within 5 % of the best one, a loss within 5 % of the way from the start to the best one, since
    losses come close to 0; where the start is not known, within 5 % of the best.
    """
    if not one.rungs:
        return None
    trials = [trial for trial in one.rungs[min(one.rungs)] if _RATE in trial.point]
    rates, costs = [float(trial.point[_RATE]) for trial in trials], [trial.cost for trial in trials]
    if len(set(rates)) < 2 or not any(map(math.isfinite, costs)):
        return None
    best, scale = min(costs), None
    if found.final.metric not in SHARES and (start := one.endings.start) is not None and start > best:
        scale = start - best
    limit = best + _WITHIN * (abs(best) if scale is None else scale)
    good = [rate for rate, cost in zip(rates, costs, strict=True) if cost <= limit]
    share = share_within(rates, costs, _WITHIN, scale)
    return Works(min(good), max(good), share, len(good), len(rates))


# in words ------------------------------------------------------------------------------------------------------------


def answer_lines(found: Found) -> list[str]:
    """What a tournament found, for a terminal of 80 columns."""
    lines = [sentence(found), ""]
    if found.final.tuned:
        verdicts = verdicts_of(found.final)
        lines += [*aligned(_sheet(found)), "", *(line for one in verdicts for line in lines_of(one)), ""]
        lines += [*_more(verdicts), *_edges(found), ""]
    why = [line for one in found.entrants for line in _why(found, one)]
    lines += ["Why: where the best setting of each stopped", "", *why, ""]
    return [*lines, *_rules(found)]


def sentence(found: Found) -> str:
    """The answer in one sentence, with n and interval."""
    final = found.final
    if not final.tuned:
        return _no_answer(found)
    best = final.tuned[0]
    of = final.estimate(best.reported)
    if not math.isfinite(of.value):
        return f"{final.problem}: no contender has a result on half of the fresh seeds"
    told = [
        against(one.seen_from(best.name), final.metric) for one in verdicts_of(final) if best.name in (one.a, one.b)
    ]
    head = f"{final.problem}: {best.name}, {_setting(best.chosen.point if best.chosen else {})}"
    return printable("; ".join([quoted(head, final.metric, of, len(best.reported)), *told]))


def _no_answer(found: Found) -> str:
    said = f"{found.final.problem}: no answer"
    if found.rungs and all(one.best is None for one in found.entrants):
        return f"{said}: no setting of any contender has a result"
    met = "the best contenders met on fresh seeds"
    if found.final.stopped:
        return f"{said}: interrupted before {met}; the same command goes on"
    return f"{said}: the budget ended before {met}; a larger --budget lets them"


def _setting(point: dict[str, Any]) -> str:
    """A setting in a few signs, the learning rate as `lr 0.002`."""
    return ", ".join(f"{key.rpartition('.')[2]} {_value(value)}" for key, value in point.items())


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _sheet(found: Found) -> Sheet:
    final, share = found.final, found.final.metric in SHARES
    title = STATISTICS[final.metric].title if final.metric in STATISTICS else final.metric
    beaten = {one.b for one in (v.seen_from(final.tuned[0].name) for v in verdicts_of(final)
                                if final.tuned[0].name in (v.a, v.b)) if one.verdict == "better"}  # fmt: skip
    rows = [
        (one.name, str(len(one.reported)), interval(final.estimate(one.reported), len(one.reported), share=share),
         _setting(one.chosen.point if one.chosen else {}))
        for one in final.tuned
    ]  # fmt: skip
    first = tuple(one.name not in beaten for one in final.tuned)
    return Sheet("", ("finalist", "n", title, "setting"), tuple(rows), first)


def _why(found: Found, one: Entrant) -> list[str]:
    """Of a contender: how far it came, how the runs of its best setting ended, and which learning rates work."""
    if not one.rungs:
        return [f"  {printable(one.name)}: not run with every seed"]
    came = "final" if one.reported else f"out after {_length(found, found.rungs[max(one.rungs)].length)}"
    setting = "no setting has a result" if one.best is None else _setting(one.best.point)
    lines = [f"  {printable(one.name)} ({came}; {setting}):", f"    {printable(one.endings.in_words())}"]
    lines += [f"    {words}" for words in (one.endings.gradient_in_words(), _curvature(one)) if words]
    if (at := works(found, one)) is not None:
        rates = _value(at.low) if at.low == at.high else f"{_value(at.low)} to {_value(at.high)}"
        lines.append(f"    lr {rates} works: {at.good} of {at.tried} tried, {100 * at.share:.0f} % of the range")
    return lines


def _curvature(one: Entrant) -> str:
    """Such as `curvature 0.1 to 800, half way 0.2 to 90, at the end 0.4 to 1000`; empty where it was not measured."""
    steps = [at.step for at in one.curvature]
    middle = "half way " if len(steps) == 3 and steps[1] == steps[2] // 2 else None
    found = []
    for at in one.curvature:
        where = "" if at.step == 0 else "at the end " if at.step == steps[-1] else middle or f"after {at.step} steps "
        found.append(f"{where}{number(at.lambda_min)} to {number(at.lambda_max)}")
    return f"curvature {', '.join(found)}" if found else ""


def _length(found: Found, length: int) -> str:
    return f"{length} {found.unit.removesuffix('s') if length == 1 else found.unit}"


def _more(verdicts: Sequence[Verdict]) -> list[str]:
    """What it would take to know more."""
    open_ones = [one for one in verdicts if one.verdict == "undecided"]
    if not open_ones:
        return ["Every pair of finalists is decided."] if verdicts else []
    needed = [one.more_seeds for one in open_ones if one.more_seeds]
    if len(needed) < len(open_ones):
        return ["To know more: of some pairs the difference is so small that no number of seeds is foreseen to decide."]
    return [f"To know more: {max(needed)} further seeds would decide every pair, if the differences are as they seem."]


def _edges(found: Found) -> list[str]:
    return [f"{printable(one.name)}: {edge_line(d, at)}" for one in found.final.tuned for d, at in one.edges()]


def _rules(found: Found) -> list[str]:
    rules = []
    if found.rungs:
        rungs = ", ".join(
            f"{_tried(found, number)} ({_length(found, rung.length)}, n = {found.seeds[number]})"
            for number, rung in found.rungs.items()
        )
        rules.append(f"Contenders x settings, by rung: {rungs}; seeds 0 to 2 choose, half of the contenders go on.")
    if found.final.tuned:
        rules += [
            f"Finalists, each with its best setting, met on seeds {seeds_text(found.final.task.report)}, which chose "
            "nothing; whoever has no result counts as the worst. Signed-rank tests, adjusted for all pairs.",
            "*: the best median, and every finalist that cannot be told from it.",
            f"{INTERVAL}.",
        ]
    rules += [
        "Falling, plateau, rising: mean training loss of the last tenth of updates against the tenth before; a plateau "
        "is less than 1 %, or than two standard errors.",
        *_of_curvature(found),
        "A learning rate works within 5 % of the contender's best accuracy, or of the way from the start to its best "
        "loss, in the first rung; the share is of the range that was tried, on a logarithmic axis.",
    ]
    if found.out_of_time:
        rules.append("The time was over before every planned seed of the rungs: fewer were run.")
    if found.failed:
        rules.append(f"{found.failed} runs failed: optbench compare {found.question.folder}")
    if found.before:
        rules.append(_taken(found))
    return [*rules, f"{found.runs} runs, {duration(found.spent)}: {found.question.folder}"]


def _of_curvature(found: Found) -> list[str]:
    """What the curvature is; that it was not measured where there was a final."""
    rule = "Gradient: median norm in the first, the middle and the last tenth of training."
    seen = [one for one in found.entrants if one.curvature]
    if not seen:
        why = ": no time was left" * (found.question.budget.seconds is not None)
        return [rule + f" The curvature of the finalists was not measured{why}." * bool(found.final.tuned)]
    share = seen[0].curvature[0].share
    of = "" if share == 1 else f", on {100 * share:.0f} % of the training data"
    return [
        f"{rule} Curvature: least and largest eigenvalue of the Hessian of the training objective along the run with "
        f"seed {found.final.task.report[0]}{of}."
    ]


def _tried(found: Found, number: int) -> str:
    """Contenders x settings of a rung; where those of a smaller budget are more of some, how many in all."""
    rung, counts = found.rungs[number], [len(one.rungs[number]) for one in found.entrants if number in one.rungs]
    if set(counts) == {rung.settings}:
        return f"{len(counts)} x {rung.settings}"
    return f"{sum(counts)} settings of {len(counts)}"


def _taken(found: Found) -> str:
    """What was taken over from smaller budgets."""
    said = f"Goes on from --budget {found.before[-1]}: of its {found.taken} runs {found.taken - found.idle} count here"
    rest = f", {found.idle} are reports of settings that are no longer the best of their contender" * bool(found.idle)
    return f"{said}{rest}; {found.runs - found.taken + found.idle} are new."


# as data -------------------------------------------------------------------------------------------------------------


def answer_json(found: Found) -> dict[str, Any]:
    """What a tournament found, as plain data."""
    final, size = found.final, found.size
    return {
        "problem": final.problem,
        "answer": sentence(found),
        "metric": final.metric,
        "direction": direction_of(final.metric),
        "budget": {"runs": found.question.budget.runs, "seconds": found.question.budget.seconds},
        "goes_on_from": {"budgets": list(found.before), "runs": found.taken, "count": found.taken - found.idle},
        "runs": found.runs,
        "failed": found.failed,
        "seconds": found.spent,
        "stopped": final.stopped,
        "out_of_time": found.out_of_time,
        "folder": str(found.question.folder),
        "size": None if size is None else vars(size),
        "rungs": [
            {"contenders": rung.contenders, "settings": rung.settings, "length": rung.length, "unit": found.unit,
             "seeds": found.seeds[number]}
            for number, rung in found.rungs.items()
        ],
        "report_seeds": list(final.task.report),
        "contenders": [_entrant(found, one) for one in found.entrants],
        "pairs": [one.to_json() for one in verdicts_of(final)],
    }  # fmt: skip


def _entrant(found: Found, one: Entrant) -> dict[str, Any]:
    at, best = works(found, one), one.best
    ended = one.endings if one.made else None
    return {
        "contender": one.name,
        **one.choices,
        "space": [{"override": d.override(), "source": one.sources.get(d.key, "")} for d in one.space],
        "rungs": [
            {"rung": number, "trials": [{"setting": trial.point, "value": trial.value} for trial in trials]}
            for number, trials in one.rungs.items()
        ],
        "best": None if best is None else {"setting": best.point, "value": best.value},
        "reported": values_json(found.final, one.reported),
        "endings": None if ended is None else {"counts": ended.counts, "grad_norm": ended.grad_norm,
                                               "steps": ended.steps, "gradient": ended.gradient},
        "curvature": [vars(at) for at in one.curvature],
        "rates_that_work": None if at is None else vars(at),
    }  # fmt: skip
