"""The answer of a tournament in words: a sentence that a paper can quote, what would decide more, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optbench.comparison.judged import Verdict
from optbench.comparison.ranked_by import TO_TARGET
from optbench.report.cells import Sheet
from optbench.report.tables import aligned
from optbench.report.verdicts import lines_of
from optbench.statistics import INTERVAL, STATISTICS
from optbench.statistics.numbers import SHARES, interval, number, printable
from optbench.tuning.rates import RULE, Works, works
from optbench.tuning.runs import TARGET_RULE, direction_of
from optbench.tuning.tournament import Entrant, Found
from optbench.tuning.words import edge_line, result_sentence, seeds_text, setting_words, values_json, verdicts_of


def works_of(found: Found, one: Entrant) -> Works | None:
    """Which learning rates of a contender work, by the first rung."""
    return works(one.rungs[min(one.rungs)], one.endings.start, found.final.metric) if one.rungs else None


# in words ------------------------------------------------------------------------------------------------------------


def answer_lines(found: Found) -> list[str]:
    """What a tournament found, for a terminal of 80 columns."""
    lines = [sentence(found), ""]
    if found.final.tuned:
        verdicts = verdicts_of(found.final)
        lines += [*aligned(_sheet(found)), "", *(line for one in verdicts for line in lines_of(one)), ""]
        lines += [*_more(verdicts, found.final.tuned[0].name), *_edges(found), ""]
    why = [line for one in found.entrants for line in _why(found, one)]
    lines += ["Why: where the best setting of each stopped", "", *why, ""]
    return [*lines, *_rules(found)]


def sentence(found: Found) -> str:
    """The answer in one sentence, with n and interval."""
    return result_sentence(found.final) or _no_answer(found)


def _no_answer(found: Found) -> str:
    said = f"{found.final.problem}: no answer"
    if found.rungs and all(one.best is None for one in found.entrants):
        return f"{said}: no setting of any contender has a result"
    met = "the best contenders met on fresh seeds"
    if found.final.stopped:
        return f"{said}: interrupted before {met}; the same command goes on"
    return f"{said}: the budget ended before {met}; a larger --budget lets them"


def _sheet(found: Found) -> Sheet:
    final, share = found.final, found.final.metric in SHARES
    title = STATISTICS[final.metric].title if final.metric in STATISTICS else final.metric
    beaten = {one.b for one in (v.seen_from(final.tuned[0].name) for v in verdicts_of(final)
                                if final.tuned[0].name in (v.a, v.b)) if one.verdict == "better"}  # fmt: skip
    rows = [
        (one.name, str(len(one.reported)), interval(final.estimate(one.reported), len(one.reported), share=share),
         setting_words(one.chosen.point if one.chosen else {}))
        for one in final.tuned
    ]  # fmt: skip
    first = tuple(one.name not in beaten for one in final.tuned)
    return Sheet("", ("finalist", "n", title, "setting"), tuple(rows), first)


def _why(found: Found, one: Entrant) -> list[str]:
    """Of a contender: how far it came, how the runs of its best setting ended, and which learning rates work."""
    if not one.rungs:
        return [f"  {printable(one.name)}: not run with every seed"]
    came = "final" if one.reported else f"out after {_length(found, found.rungs[max(one.rungs)].length)}"
    setting = "no setting has a result" if one.best is None else setting_words(one.best.point)
    lines = [f"  {printable(one.name)} ({came}; {setting}):", f"    {printable(one.endings.in_words())}"]
    lines += [f"    {words}" for words in (one.endings.gradient_in_words(), _curvature(one)) if words]
    if (at := works_of(found, one)) is not None:
        lines.append(f"    {at.in_words()}")
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


def _more(verdicts: Sequence[Verdict], best: str) -> list[str]:
    """What it would take to know more: of the best first."""
    open_ones = [one for one in verdicts if one.verdict == "undecided"]
    if not open_ones:
        return ["Every pair of finalists is decided."] if verdicts else []
    of_best = [one for one in open_ones if best in (one.a, one.b)]
    told = "" if of_best else f"{printable(best)} is told from every other finalist. "
    needed = [one.more_seeds for one in of_best or open_ones if one.more_seeds]
    goes_on = "; a larger --budget goes on from here."
    if len(needed) < len(of_best or open_ones):
        few = "of some pairs the difference is so small that no number of seeds is foreseen to decide"
        return [f"{told}To know more: {few}{goes_on}"]
    what = "whether it is the best of them" if of_best else "the other pairs too"
    return [f"{told}To know more: {max(needed)} further seeds would decide {what}, if differences are as they "
            f"seem{goes_on}"]  # fmt: skip


def _edges(found: Found) -> list[str]:
    optimizers = {one.name: one.choices["optimizer"] for one in found.entrants}
    return [
        f"{printable(one.name)}: {edge_line(one, optimizers[one.name], d, at)}"
        for one in found.final.tuned for d, at in one.edges()
    ]  # fmt: skip


def _rules(found: Found) -> list[str]:
    rules = []
    if found.rungs:
        rungs = ", ".join(
            f"{_tried(found, number)} ({_length(found, rung.length)}, n = {found.seeds[number]})"
            for number, rung in found.rungs.items()
        )
        rules.append(f"Contenders x settings, by rung: {rungs}; seeds 0 to 2 choose, half of the contenders go on.")
    if found.final.metric == TO_TARGET:
        rules.append(f"{TARGET_RULE}.")
    if found.final.tuned:
        test = "Bets that hold though smaller budgets were looked at" if found.final.looked else "Signed-rank tests"
        rules += [
            f"Finalists, each with its best setting, met on seeds {seeds_text(found.final.task.report)}, which chose "
            f"nothing; whoever has no result counts as the worst. {test}, adjusted for all pairs.",
            "*: the best median, and every finalist that cannot be told from it.",
            f"{INTERVAL}.",
        ]
    rules += [
        "Falling, plateau, rising: mean training loss of the last tenth of updates against the tenth before; a plateau "
        "is less than 1 %, or than two standard errors.",
        *_of_curvature(found),
        f"{RULE}; by the first rung.",
    ]
    if found.out_of_time:
        rules.append("The time was over before every planned seed of the rungs: fewer were run.")
    if found.failed:
        rules.append(f"{found.failed} runs failed: optbench compare {found.question.folder}")
    if found.before:
        rules.append(_taken(found))
    return [*rules, f"{found.runs} runs, {_took(found.spent)}: {found.question.folder}"]


def _took(seconds: float) -> str:
    """Such as 46 s, 2 min 44 s, 1 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


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
    at, best = works_of(found, one), one.best
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
