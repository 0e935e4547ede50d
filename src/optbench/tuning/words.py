"""A tuning in words: what was chosen, what it is worth on fresh seeds, and what else a reader must know."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optbench.comparison.judged import Verdict, lost_of
from optbench.comparison.labels import short_names
from optbench.comparison.ranked_by import TO_TARGET
from optbench.config.space import Dimension
from optbench.errors import ConfigError
from optbench.metrics.tuned import BestOf, Edge
from optbench.report.cells import Sheet, column_widths
from optbench.report.tables import aligned
from optbench.report.verdicts import against, lines_of, quoted
from optbench.settings import check_range, target_of
from optbench.statistics import INTERVAL, STATISTICS
from optbench.statistics.numbers import SHARES, interval, number, percent, printable
from optbench.tuning.rates import RULE, Works, works
from optbench.tuning.runs import TARGET_RULE
from optbench.tuning.tune import Result, Tuned

_WIDTH = 80


def tuned_lines(result: Result) -> list[str]:
    """What a tuning found, for a terminal of 80 columns."""
    task = result.task
    head = (
        f"{printable(result.problem)}: {task.trials} setting{'s' * (task.trials != 1)} of each ({task.method}), chosen "
        f"by the median of seeds {seeds_text(task.tuning)}, reported on seeds {seeds_text(task.report)}"
    )
    if not any(one.reported or one.defaults for one in result.tuned):
        why = "interrupted; the same command goes on" if result.stopped else "no run was made"
        return [head, "", f"{printable(result.problem)}: nothing is reported yet: {why}"]
    lines = [head, "", *aligned(_sheet(result)), ""]
    if verdicts := verdicts_of(result):
        lines += [*(line for one in verdicts for line in lines_of(one)), ""]
    for one in result.tuned:
        first, *more = _remarks(result, one)
        lines += [f"{printable(one.name)}: {first}", *(f"    {line}" for line in more)]
    said = result_sentence(result)
    return [*lines, "", *_rules(result), *(["", said] if said else [])]


def result_sentence(result: Result) -> str:
    """What was found in one sentence that a paper can quote, with n and interval; empty where nothing was reported."""
    known = result.reported_all()
    if not known:
        return ""
    best = known[0]
    of = result.estimate(best.reported)
    if not math.isfinite(of.value):
        came = "met its target" if result.metric == TO_TARGET else "has a result"
        return f"{result.problem}: no contender {came} on half of the fresh seeds"
    told = [
        against(one.seen_from(best.name), result.metric) for one in verdicts_of(result) if best.name in (one.a, one.b)
    ]
    head = f"{result.problem}: {best.name}, {setting_words(best.chosen.point if best.chosen else {})}"
    return printable("; ".join([quoted(head, result.metric, of, len(best.reported)), *told]))


def setting_words(point: Mapping[str, Any]) -> str:
    """A setting in a few signs, the learning rate as `lr 0.002`."""
    return ", ".join(
        f"{key.rpartition('.')[2]} {f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in point.items()
    )


def verdicts_of(result: Result) -> list[Verdict]:
    """On each pair, the better one first where one is."""
    names = [one.name for one in result.reported_all()]
    found = [
        Verdict(result.problem, result.metric, names[one.a], names[one.b], one.verdict, one.p, one.p_adjusted,
                one.effect_of, one.n, one.paired, one.more_seeds, lost=lost_of(one))
        for one in result.pairs()
    ]  # fmt: skip
    return [one.seen_from(one.b) if one.verdict == "worse" else one for one in found]


def seeds_text(seeds: range) -> str:
    """Seeds from the first to the last."""
    return f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def _sheet(result: Result) -> Sheet:
    share = result.metric in SHARES
    title = STATISTICS[result.metric].title.removesuffix(", %") if result.metric in STATISTICS else result.metric

    def cell(values: Sequence[float]) -> str:
        return interval(result.estimate(values), len(values), share=share) if values else "-"

    rows = []
    for one in result.tuned:
        n = str(len(one.reported) or len(one.defaults))
        rows.append((one.name, n, _setting(one), cell(one.reported), cell(one.defaults)))
    header = ("optimizer", "n", "setting", f"{title}{', %' if share else ''}", "defaults")
    sheet = Sheet("", header, tuple(rows), tuple(_best(result)))
    if sum(column_widths(sheet)) + 2 * len(header) <= _WIDTH:
        return sheet
    rows = [(row[0], row[1], "", *row[3:]) for row in rows]  # the whole setting stands below anyway
    return replace(sheet, header=(*header[:2], "", *header[3:]), rows=tuple(rows))


def _setting(one: Tuned) -> str:
    """The chosen setting in a few signs."""
    if one.chosen is None:
        return "-"
    names = short_names(one.chosen.point)
    values = one.chosen.point.items()
    return " ".join(f"{names[k]}={f'{v:.3g}' if isinstance(v, float) else v}" for k, v in values)


def _best(result: Result) -> list[bool]:
    """The contender with the best median and those that cannot be told from it; none where there is only one."""
    known = result.reported_all()
    if len(known) < 2:
        return [False] * len(result.tuned)
    first = known[0]  # the best one stands first
    beaten = set()
    for pair in result.pairs():
        a, b = known[pair.a], known[pair.b]
        loser = {"better": b, "worse": a}.get(pair.verdict)
        if loser is not None and first in (a, b) and loser is not first:
            beaten.add(loser.name)
    return [one in known and one.name not in beaten for one in result.tuned]


def _remarks(result: Result, one: Tuned) -> list[str]:
    lines = []
    if one.chosen is None:
        lines.append(f"none of {len(one.trials)} settings has a result" if one.trials else "not searched")
        return lines
    form = percent if result.metric in SHARES else number
    setting = " ".join(f"{key}={_value(value)}" for key, value in one.chosen.point.items())
    lines.append(f"{setting}, {form(one.chosen.value)} on the tuning seeds, which flatter it")
    if (optimism := optimism_of(result, one)) is not None:
        on_fresh = form(result.estimate(one.reported).value)
        lines[-1] = f"{setting}, {form(one.chosen.value)} on the tuning seeds, {on_fresh} on fresh ones"
        lines.append(f"optimism {form(optimism)}: by so much it looks better on the seeds that chose it")
    if (worse := _defaults_better(result, one)) is not None:
        lines.append(worse)
    lines += [edge_line(one, one.name, dimension, at) for dimension, at in one.edges()]
    if (at_rates := rates_of(result, one)) is not None:
        lines.append(at_rates.in_words())
    if (curve := one.best_of()) is not None and len(one.trials) > 1:
        lines.append(f"best of k settings: {_best_of_words(curve, form)}")
    return lines


def _best_of_words(curve: BestOf, form: Callable[[float | None], str]) -> str:
    """The expected best of each k with its band; the median alone where some have no result."""
    if not np.isfinite(curve.expected).all():
        pairs = zip(curve.trials.tolist(), curve.median.tolist(), strict=True)
        return ", ".join(f"{k}: {form(value)} (median)" for k, value in pairs)
    rows = zip(*(c.tolist() for c in (curve.trials, curve.expected, curve.low, curve.high)), strict=True)
    return ", ".join(f"{k}: {form(value)} [{form(low)}, {form(high)}]" for k, value, low, high in rows)


def optimism_of(result: Result, one: Tuned) -> float | None:
    """By how much the chosen setting looks better on the seeds that chose it than on fresh ones; None where either
    median is none or infinite."""
    if one.chosen is None or not one.reported:
        return None
    found = result.direction * (one.chosen.value - result.estimate(one.reported).value)
    return found if math.isfinite(found) else None


def rates_of(result: Result, one: Tuned) -> Works | None:
    """Which learning rates work, by the trials with the whole budget."""
    return works([trial for trial in one.trials if trial.share == 1.0], one.start, result.metric)


def edge_line(one: Tuned, name: str, dimension: Dimension, at: Edge) -> str:
    """That the best value lies at an end of its range, with what widens it for the contender of that name alone."""
    end = "lower" if at.side == "low" else "upper"
    said = f"{dimension.key}={_value(at.best)} lies at the {end} end of its range"
    wider = wider_of(one, name, dimension, at)
    return f"{said}; wider, with the same command: --space '{wider}'" if wider else said


def wider_of(one: Tuned, name: str, dimension: Dimension, at: Edge) -> str | None:
    """What `--space` takes to search further beyond an end; None where the setting takes no such value."""
    low, high = (at.wider, dimension.high) if at.side == "low" else (dimension.low, at.wider)
    wider = replace(dimension, low=float(f"{low:.3g}"), high=float(f"{high:.3g}"))
    try:
        target = target_of(one.config, dimension.key.partition(".")[0])
        check_range(dimension.key, wider.low if at.side == "low" else wider.high, target)
    except ConfigError:
        return None
    return f"{name}:{wider.override()}"


def _defaults_better(result: Result, one: Tuned) -> str | None:
    if not (one.reported and one.defaults):
        return None
    tuned, plain = (result.estimate(values).value for values in (one.reported, one.defaults))
    if result.direction * (plain - tuned) > 0:
        return "on fresh seeds the chosen setting has a worse median than the defaults"
    return None


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rules(result: Result) -> list[str]:
    rules = [
        "A setting is chosen by its median over the tuning seeds; what is reported, of it and of the defaults, is of "
        "seeds that no choice has seen. Runs without a result count as the worst.",
    ]
    if result.metric == TO_TARGET:
        rules.append(f"{TARGET_RULE}.")
    if any(rates_of(result, one) for one in result.tuned):
        rules.append(f"{RULE}.")
    if any(one.best_of() for one in result.tuned):
        rules.append(
            "Best of k settings: expected value [95 % band] over all sets of k of the settings that were tried, by the "
            "tuning seeds, in closed form, without replacement; a loss above that of the start counts as it."
        )
    if any(one.learns for one in result.tuned):
        rules.append(
            f"No best of k settings: --method {result.task.method} goes by what came of earlier settings, and the "
            "closed form is of settings that know nothing of one another."
        )
    if len(result.reported_all()) > 1:
        rules += [
            "*: the best median, and every contender that cannot be told from it. Verdicts are signed-rank tests over "
            "the report's seeds, adjusted for all pairs; differences are Hodges and Lehmann's."
        ]
    if len(result.task.report) > 1:
        rules.append(f"{INTERVAL}.")
    spent = {one.name: one.evaluations for one in result.tuned}
    if len(set(spent.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in spent.items())
        rules.append(
            f"Equal numbers of trials, unequal cost: evaluations in the search, {each}; a run that stops early, as one "
            "that diverges, costs less."
        )
    for one in result.tuned:
        known = {source for source in one.sources.values() if source}
        ranges = ", ".join(dimension.override() for dimension in one.space)
        rules.append(f"{one.name} was searched over {ranges} ({'; '.join(sorted(known))}).")
    return rules


def tuned_json(result: Result) -> dict[str, Any]:
    """What a tuning found, as plain data."""
    task = result.task
    return {
        "problem": result.problem,
        "answer": result_sentence(result) or None,
        "metric": result.metric,
        "direction": result.direction,
        "method": task.method,
        "trials": task.trials,
        "tuning_seeds": list(task.tuning),
        "report_seeds": list(task.report),
        "folder": str(task.folder),
        "stopped": result.stopped,
        "contenders": [_contender(result, one) for one in result.tuned],
        "pairs": [one.to_json() for one in verdicts_of(result)],
    }


def _contender(result: Result, one: Tuned) -> Mapping[str, Any]:
    return {
        "optimizer": one.name,
        "space": [
            {"override": dimension.override(), "source": one.sources.get(dimension.key, "")} for dimension in one.space
        ],
        "evaluations": one.evaluations,
        "trials": [{"setting": trial.point, "value": trial.value, "share": trial.share} for trial in one.trials],
        "chosen": None if one.chosen is None else {"setting": one.chosen.point, "value": one.chosen.value},
        "edges": [
            {"key": d.key, "value": at.best, "end": at.side, "wider": at.wider, "space": wider_of(one, one.name, d, at)}
            for d, at in one.edges()
        ],
        "optimism": optimism_of(result, one),
        "rates_that_work": None if (at_rates := rates_of(result, one)) is None else vars(at_rates),
        "best_of": _curve(one),
        "reported": values_json(result, one.reported),
        "defaults": values_json(result, one.defaults),
    }


def values_json(result: Result, values: Sequence[float]) -> dict[str, Any] | None:
    """Values of the metric with median and interval; None where there are none."""
    if not values:
        return None
    found = result.estimate(values)
    runs = [None if math.isnan(value) else value for value in values]
    return {"value": found.value, "low": found.low, "high": found.high, "coverage": found.coverage, "n": len(values),
            "runs": runs}  # fmt: skip


def _curve(one: Tuned) -> list[dict[str, float]] | None:
    """The best of k, by k."""
    found = one.best_of()
    if found is None:
        return None
    columns = (found.trials, found.median, found.expected, found.low, found.high)
    names = ("k", "median", "expected", "low", "high")
    return [dict(zip(names, row, strict=True)) for row in zip(*(c.tolist() for c in columns), strict=True)]
