"""The figures of a page over runs, targets, problems and settings, as lines to draw, or why there is none.

The numbers are those of `comparison.figures` and `comparison.response`, of which `plot` draws the same.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optbench.comparison import Comparison, Response, response_of
from optbench.comparison.figures import (
    Distributions,
    Drop,
    Profiles,
    Ranking,
    Searches,
    answers_of,
    distributions,
    profiles,
    ranking,
    searches,
)
from optbench.comparison.judged import p_words
from optbench.comparison.labels import text
from optbench.comparison.ranked_by import Ranked
from optbench.comparison.targets import Aim, Reader
from optbench.errors import OptbenchError, UserError
from optbench.metrics import Estimate
from optbench.pages.curves import MOST_LINES, rounded, without
from optbench.pages.words import Words, clean
from optbench.records.columns import Floats
from optbench.statistics import STATISTICS

Plain = dict[str, Any]
COSTS = {"steps": "steps", "evals": "evaluations", "epochs": "epochs", "seconds": "seconds of training"}
_DECADE = 10.0  # values that span so much have a logarithmic axis
_OPTION = re.compile(r"^--figure [a-z-]+:? ?|--figure [a-z-]+ ?")


def figures(found: Comparison, each: Comparison, aim: Aim, reader: Reader, words: Words) -> list[Plain]:
    """All of them, in order.

    Args:
        found: the comparison.
        each: of the same runs, every setting a group of its own.
        aim: which targets, and what costs are counted in.
        reader: reads curves.
        words: of the page.
    """
    answers = functools.cache(lambda: list(answers_of(found, aim, reader)))
    makers: list[tuple[str, Callable[[], Plain]]] = [
        ("Targets reached by each cost (ECDF)", lambda: _ecdf(distributions(found, aim, answers()), words)),
        ("Performance profile", lambda: _profile(profiles(found, aim, answers()), words)),
        ("Average ranks", lambda: _ranks(ranking(found), words)),
        ("Best of k settings", lambda: _best_of(searches(each), words)),
        ("Sensitivity to the learning rate", lambda: _response(_rates(each), words)),
    ]
    return [_made(words(title), make, words) for title, make in makers]


def _made(title: str, make: Callable[[], Plain], words: Words) -> Plain:
    """A figure, or why there is none."""
    try:
        return {"title": title, **make()}
    except OptbenchError as error:
        return without(title, words.refusal(_OPTION.sub("", error.message), error.hint))


def _rates(each: Comparison) -> Response:
    """Scores over learning rates. Raises UserError where no configuration was tried with two."""
    scores: dict[str, None] = {}
    for groups in each.problems.values():
        own = Ranked(each.checkpoint).of(groups)
        scores |= dict.fromkeys([name for name in own if any(group.statistics.get(name) for group in groups)][:2])
    found = response_of(each, "optimizer.lr", list(scores))
    lines = tuple(line for line in found.lines if len(line.at) > 1)
    if not lines:
        raise UserError("no configuration was tried with two learning rates", "a sweep over optimizer.lr has several")
    return replace(found, lines=lines)


def _ecdf(found: Distributions, words: Words) -> Plain:
    ends = [np.concatenate([line.costs, [line.end]]) for line in found.lines]
    log = _spans_decades(np.concatenate(ends))
    lines = []
    for line in found.lines[:MOST_LINES]:
        x = np.concatenate([[0.0], line.costs, [max([line.end, *line.costs[-1:].tolist()])]])
        last = line.shares[-1:] if len(line.shares) else [0.0]
        lines.append(_line(line.label, x, 100.0 * np.concatenate([[0.0], line.shares, last])))
    view = _view(words("pairs of run and target reached, %"), words(COSTS[found.cost]), lines, (0.0, 100.0), log)
    notes = [words("{0} of a configuration on a problem; a target that was missed is never reached",
                   _span(found.runs, words)), *_targets(found.targets, words)]  # fmt: skip
    return _lines([view | {"stepped": True}], [*notes, *_dropped(found.left_out, words), *_said(found.said, words)])


def _profile(found: Profiles, words: Words) -> Plain:
    end = 1.15 * max([2.0, *(float(line.ratios.max(initial=1.0)) for line in found.lines)])
    lines = []
    for line in found.lines[:MOST_LINES]:
        at_once = line.ratios[:1].tolist() == [1.0]
        last = line.shares[-1:] if len(line.shares) else [0.0]
        x = np.concatenate([[] if at_once else [1.0], line.ratios, [end]])
        lines.append(_line(line.label, x, 100.0 * np.concatenate([[] if at_once else [0.0], line.shares, last])))
    view = _view(words("problems solved so fast, %"), words("time / least time of the problem"), lines, (0.0, 100.0),
                 True)  # fmt: skip
    told = words("{0} problems; a time is the median of {1}, a miss never; at 1: the share on which it is the fastest",
                 len(found.targets), _span(found.runs, words))  # fmt: skip
    return _lines(
        [view | {"stepped": True}],
        [told, *_targets(found.targets, words), *_dropped(found.left_out, words), *_said(found.said, words)],
    )


def _ranks(found: Ranking, words: Words) -> Plain:
    titles = dict.fromkeys(words(STATISTICS[name].title) for _, name in found.metric)
    notes = [
        words("average ranks over {0} problems by the median of {1}, 1 the best", len(found.metric),
              _span(found.runs, words)),
        *(words("ranked by: {0}", title) for title in titles),
        words("a bar joins what cannot be told apart at 5 % (Nemenyi's critical difference)"),
        words("Friedman's test that none differs: {0}", p_words(found.p)),
        *_dropped(found.left_out, words),
    ]  # fmt: skip
    return {
        "kind": "ranks", "labels": [clean(label) for label in found.labels],
        "ranks": [round(rank, 4) for rank in found.ranks.tolist()], "difference": round(found.difference, 4),
        "cliques": [list(members) for members in found.cliques], "notes": notes,
    }  # fmt: skip


def _best_of(found: Searches, words: Words) -> Plain:
    views = []
    for problem in dict.fromkeys(line.problem for line in found.lines):
        own = [line for line in found.lines if line.problem == problem][:MOST_LINES]
        unit = _unit(own[0].metric)
        lines = [
            {"label": clean(one.label), "x": one.best.trials.tolist(), "y": rounded(unit * one.best.expected),
             "low": rounded(unit * one.best.low), "high": rounded(unit * one.best.high),
             "dotted": rounded(unit * one.best.median)}
            for one in own
        ]  # fmt: skip
        values = np.concatenate([unit * one.best.median for one in own])
        title = words(STATISTICS[own[0].metric].title)
        view = _view(f"{clean(problem)}: {title}", words("settings tried, k"), lines, None, False,
                     _spans_decades(values))  # fmt: skip
        views.append(view | {"x": {"log": False, "whole": True}})
    tried = {len(line.values) for line in found.lines}
    each = str(min(tried)) if len(tried) == 1 else words("{0} to {1}", min(tried), max(tried))
    notes = [
        words("best of k of {0} settings, drawn without replacement; a setting: median of {1}", each,
              _span(found.runs, words)),
        words("line: mean of the best of k, not drawn while all k may be without a result; dotted: median; band: 95 %, "
              "bootstrap over settings"),
        *([words("by the tuning seeds, which flatter; the reports are left out")] if found.tuning else []),
        *_dropped(found.left_out, words),
    ]  # fmt: skip
    return _lines(views, notes)


def _response(found: Response, words: Words) -> Plain:
    numbers = np.array([value for value in found.values if not isinstance(value, str)], dtype=np.float64)
    views: list[Plain] = []
    *_, last = problems = list(dict.fromkeys(line.problem for line in found.lines))
    for problem in problems:
        for score in found.scores:
            no_more = problem == last and not views  # a figure has one view, be it empty
            own = [line for line in found.lines if line.problem == problem][:MOST_LINES]
            lines, all_values = [], [np.empty(0)]
            for one in own:
                at = [i for i, place in enumerate(one.at) if place < len(numbers)]
                made = [one.scores[score][i] for i in at]
                value, low, high = (_unit(score) * _column(made, end) for end in ("value", "low", "high"))
                all_values.append(value)
                lines.append(_line(one.label, numbers[[one.at[i] for i in at]], value, low, high))
            if not np.isfinite(np.concatenate(all_values)).any() and not (no_more and score == found.scores[-1]):
                continue  # such as accuracies of a surface
            title = f"{clean(problem)}: {words(STATISTICS[score].title)}"
            views.append(_view(title, words(found.key), lines, None, _spans_decades(numbers),
                               _spans_decades(np.concatenate(all_values))))  # fmt: skip
    runs = {n for line in found.lines for n in line.runs}
    each = _span((min(runs), max(runs)), words)
    notes = [words("each point: median of {0}; band: its interval, at least 95 %, below 6 runs their range", each)]
    if edges := found.edges():
        notes.append(words("best at the edge of what was tried, beyond which there may be better: {0}",
                           words.listed([*map(words.sentence, edges)])))  # fmt: skip
    left = [text(value) for value in found.values if isinstance(value, str)]
    notes += [words("not on the axis: {0}", ", ".join(map(clean, left)))] if left else []
    return _lines([view | {"points": True} for view in views], notes)


def _column(found: Iterable[Estimate | None], end: str) -> Floats:
    values = [None if one is None else getattr(one, end) for one in found]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _unit(score: str) -> float:
    return 100.0 if STATISTICS[score].title.endswith("%") else 1.0


def _spans_decades(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    positive = known[known > 0]
    return len(positive) > 0 and known.min() >= 0 and bool(positive.max() >= _DECADE * positive.min())


def _line(label: str, x: Floats, y: Floats, low: Floats | None = None, high: Floats | None = None) -> Plain:
    line = {"label": clean(label), "x": rounded(x, 7), "y": rounded(y)}
    if low is not None and high is not None and np.isfinite(low).any():
        line |= {"low": rounded(low), "high": rounded(high)}
    return line


def _view(
    what: str, over: str, lines: Sequence[Plain], limits: tuple[float, float] | None, x_log: bool, y_log: bool = False
) -> Plain:
    y = {"log": y_log, "limits": limits}
    return {"what": what, "over": over, "key": over, "lines": list(lines), "x": {"log": x_log}, "y": y}


def _lines(views: Sequence[Plain], notes: Sequence[str]) -> Plain:
    most = max(len(view["lines"]) for view in views)
    return {"kind": "lines", "views": list(views), "notes": list(notes), "most": most}


def _span(sizes: tuple[int, int], words: Words) -> str:
    low, high = sizes
    if low == high:
        return words("one run") if low == 1 else words("{0} runs", low)
    return words("{0} to {1} runs", low, high)


def _targets(targets: Sequence[tuple[str, str]], words: Words) -> list[str]:
    """Which targets the problems have, those with the same ones together."""
    alike: dict[str, list[str]] = {}
    for problem, told in targets:
        alike.setdefault(told, []).append(clean(problem))
    return [f"{', '.join(problems)}: {words.sentence(told)}" for told, problems in alike.items()]


def _dropped(left_out: Sequence[Drop], words: Words) -> list[str]:
    return [words("left out, {0}: {1}", words(drop.why), words.listed([*map(clean, drop.names)])) for drop in left_out]


def _said(said: Sequence[str], words: Words) -> list[str]:
    return [words.sentence(one) for one in said]
