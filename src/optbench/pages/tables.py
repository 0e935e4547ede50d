"""The tables of a page: configurations with their scores, what differs between them, what did not end well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optbench.comparison import Comparison, Group
from optbench.comparison.judged import Verdict, p_words
from optbench.comparison.labels import text
from optbench.comparison.ranked_by import TO_TARGET
from optbench.metrics import Estimate
from optbench.pages.words import Words, clean
from optbench.records import Status
from optbench.report.cells import Sheet, shown, statuses
from optbench.report.verdicts import of_interest
from optbench.statistics import INTERVAL, STATISTICS, Statistic

Plain = dict[str, Any]
ENDED_WELL = (Status.COMPLETED, Status.CONVERGED, Status.TARGET_REACHED)
MOST_ROWS = 2000
"""Runs without a good end that are listed; beyond, their number is said."""
_RULES = {
    "configuration": "what tells it from the others on this problem",
    "runs": "number of runs, whatever their status: every denominator",
    "status": "how the runs ended, every one of them",
}


def sortable(value: float | None) -> float | str | None:
    """A number as strict JSON has it: infinite ones by name, as JavaScript calls them."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def cell(shown_as: str, value: float | None) -> Plain:
    """A cell: what stands there and what it is sorted by."""
    return {"t": clean(shown_as), "v": sortable(value)}


def scores(comparison: Comparison, problem: str, words: Words) -> Plain:
    """The table of a problem: a row a configuration, with the rule of each column."""
    groups = comparison.problems[problem]
    columns = shown(groups, comparison.checkpoint)
    untold = comparison.untold(problem)
    head: list[Plain] = [
        {"name": name, "title": words(name), "rule": words(told), "number": name == "runs"}
        for name, told in _RULES.items()
    ]
    head += [{"name": one.name, "title": words(one.title), "rule": rule(one, words), "number": True} for one in columns]
    rows = [
        {
            "label": clean(group.label), "mark": "*" if group.best else "~" if group.label in untold else "",
            "cells": [cell(group.label, None), _runs(group, words), cell(_statuses(group, words), None),
                      *(_score(one, group) for one in columns)],
        }
        for group in groups
    ]  # fmt: skip
    runs = sum(group.n for group in groups)
    told = "{0} runs in {1} configurations" if runs > 1 else "{0} run in {1} configuration"
    title = words(told if len(groups) > 1 or runs == 1 else "{0} runs of one configuration", runs, len(groups))
    return {"id": "scores", "title": title, "head": head, "rows": rows}


def rule(one: Statistic, words: Words) -> str:
    """The rule of a score, and which values are better."""
    better = words("Small values are better." if one.direction < 0 else "Large values are better.")
    median = [words.sentence(INTERVAL)] if one.rule.startswith(("median", "first")) else []
    stop = "。" if words.language == "zh" else ". "
    return stop.join([*(part[0].upper() + part[1:] for part in (words.sentence(one.rule), *median)), better])


def _runs(group: Group, words: Words) -> Plain:
    told = str(group.n) if group.distinct == group.n else words("{0} ({1} distinct)", group.n, group.distinct)
    return cell(told, group.n)


def _statuses(group: Group, words: Words) -> str:
    if words.language == "en":
        return statuses(group)
    return "，".join(f"{n} {words(status.replace('_', ' '))}" for status, n in group.n_by_status.items() if n)


def _score(one: Statistic, group: Group) -> Plain:
    found: Estimate | None = group.statistics.get(one.name)
    return cell(one.format(found, group.of(one)), None if found is None else found.value)


def of_sheet(sheet: Sheet, words: Words, rules: Mapping[str, str]) -> Plain:
    """Another table of a comparison: where runs stopped, scores over problems.

    Args:
        sheet: as `report` has it.
        words: of the page.
        rules: of its columns, those that have one.
    """
    head = [
        {"name": name, "title": words(name), "rule": words.sentence(rules[name]) if name in rules else "",
         "number": place not in sheet.words}
        for place, name in enumerate(sheet.header)
    ]  # fmt: skip
    rows = [
        {"label": row[0], "mark": mark, "cells": [cell(words.sentence(one), _leading(one)) for one in row]}
        for row, mark in zip(sheet.rows, sheet.marks, strict=True)
    ]
    return {"id": "sheet", "title": words.sentence(sheet.title), "head": head, "rows": rows}


def _leading(shown_as: str) -> float | None:
    """The number that a cell begins with; None where it begins with none."""
    try:
        return float(shown_as.split(" ", 1)[0])
    except ValueError:
        return None


def settings(comparison: Comparison, problem: str, words: Words) -> Plain | None:
    """What differs between the configurations of a problem; None where there is one alone."""
    groups = comparison.problems[problem]
    keys = [key for key in groups[0].keys if len({text(group.keys.get(key)) for group in groups}) > 1]
    if not keys:
        return None
    head = [{"name": name, "title": words(name) if name == "configuration" else clean(name), "rule": ""}
            for name in ("configuration", *keys)]  # fmt: skip
    rows = [
        {"label": clean(group.label), "mark": "",
         "cells": [cell(group.label, None), *(_setting(group.keys.get(key)) for key in keys)]}
        for group in groups
    ]  # fmt: skip
    return {"id": "settings", "title": words("What differs between configurations"), "head": head, "rows": rows}


def _setting(value: Any) -> Plain:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return cell(text(value), number)


def verdicts(comparison: Comparison, problem: str, words: Words) -> Plain | None:
    """The verdicts on the pairs of a problem that its table shows; None where there are none."""
    found = [_in_words(one, words) for one in of_interest(comparison, problem)]
    if not found:
        return None
    head = [{"name": name, "title": words(name), "rule": ""} for name in ("verdict", "evidence")]
    rows = [{"label": clean(said), "mark": "", "cells": [cell(said, None), cell(told, None)]} for said, told in found]
    return {"id": "verdicts", "title": words("Verdicts"), "head": head, "rows": rows}


def _in_words(one: Verdict, words: Words) -> tuple[str, str]:
    """A verdict, and the numbers that it rests on."""
    if words.language == "en":
        return one.in_words()
    if one.verdict == "undecided":
        known = (
            "not enough evidence (n = {0}; another {1} would decide)"
            if one.more_seeds
            else "not enough evidence (n = {0})"
        )
        return words("{0} and {1}", one.a, one.b), words(known, one.n, one.more_seeds)
    saying = "{0} and {1} are equivalent" if one.verdict == "equivalent" else f"{{0}} is {one.verdict} than {{1}}"
    title = words(STATISTICS[one.metric].title).partition("%")[0].strip(" ,，（(")
    size = one.size(title).replace("points", "个百分点").replace("no limit", "无界")
    whole, part = (
        ("all {0} runs of {1} that missed the target", "{2} of {0} runs of {1} that missed the target")
        if one.metric == TO_TARGET
        else ("all {0} runs of {1} without a result", "{2} of {0} runs of {1} without a result")
    )
    lost = [words(whole if k == n else part, n, name, k) for name, k, n in one.losers()]
    told = "，".join([*filter(None, [size]), *lost])
    return words(saying, one.a, one.b), f"{told}，n = {one.n}，{p_words(one.p_adjusted)}（已校正）"


def not_well(comparison: Comparison, words: Words) -> Plain | None:
    """Every run that did not end well, with its status and its reason; None where all did."""
    names = ("problem", "configuration", "seed", "status", "reason", "run")
    rows = []
    for group in comparison.groups:
        bad = group.rows.take(group.rows.where("status", lambda status: status not in ENDED_WELL))
        for seed, status, reason, run_id in zip(
            *(bad.values(name) for name in ("seed", "status", "reason", "run_id")), strict=True
        ):
            told = words(str(status).replace("_", " "))
            texts = (group.problem, group.label, text(seed), told, words.sentence(str(reason or "")), run_id)
            values = [cell(str(one), seed if place == 2 else None) for place, one in enumerate(texts)]
            rows.append({"label": clean(group.label), "mark": "", "cells": values})
    if not rows:
        return None
    head = [{"name": name, "title": words(name), "rule": "", "number": name == "seed"} for name in names]
    more = len(rows) - MOST_ROWS
    title = words("{0} runs did not end well", len(rows))
    said = [words("{0} more are not listed; compare --filter status=... finds them", more)] if more > 0 else []
    return {"id": "ends", "title": title, "head": head, "rows": rows[:MOST_ROWS], "notes": said}


def sentence(comparison: Comparison, problem: str, metric: str, words: Words) -> str:
    """The verdict on a problem in a sentence."""
    groups, leader = comparison.problems[problem], comparison.leader(problem)
    name = clean(problem)
    found = None if leader is None else leader.statistics.get(metric)
    if leader is None or found is None:
        return words("{0}: no configuration has a result.", name)
    one = STATISTICS[metric]
    title = words(one.title).partition("%")[0]
    value = f"{one.format(found, leader.of(one))}{' %' if '%' in words(one.title) else ''}"
    told = (name, clean(leader.label), title.strip(" ,，（("), value, leader.n)
    if len(groups) == 1:
        return words("{0}: {1}, the only configuration, has {2} {3} (n = {4}).", *told)
    between = "" if words.language == "zh" else " "
    return between.join([words("{0}: {1} is the best of {5}: {2} {3} (n = {4}).", *told, len(groups)),
                     *_beside(comparison, problem, words)])  # fmt: skip


def _beside(comparison: Comparison, problem: str, words: Words) -> list[str]:
    """What is known of the others beside the best."""
    leader = comparison.leader(problem)
    assert leader is not None
    mine = [one.seen_from(leader.label) for one in comparison.pairs
            if one.problem == problem and leader.label in (one.a, one.b)]  # fmt: skip
    if not mine:
        why = words.sentence(comparison.unsought or "whether that is more than chance was not asked")
        return [f"{why[0].upper()}{why[1:]}{'。' if words.language == 'zh' else '.'}"]
    count = {verdict: [clean(one.b) for one in mine if one.verdict == verdict]
             for verdict in ("better", "worse", "equivalent", "undecided")}  # fmt: skip
    said = []
    if better := count["better"]:
        said.append(words("It is better than {0} of the others, beyond chance.", len(better)))
    if open_ones := count["undecided"]:
        said.append(words("Not told from it: {0}.", _named(open_ones, words)))
    if same := count["equivalent"]:
        said.append(words("Equivalent to it: {0}.", _named(same, words)))
    return said


def _named(names: Sequence[str], words: Words) -> str:
    joined = ("、" if words.language == "zh" else ", ").join(names[:3])
    return joined if len(names) <= 3 else words("{0} and {1} more", joined, len(names) - 3)
