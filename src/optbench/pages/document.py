"""A comparison and its curves as plain data: everything that a page says, in its language, computed once."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from optbench.comparison import Comparison
from optbench.comparison.across import RULES
from optbench.comparison.arrivals import RULE as ARRIVALS
from optbench.comparison.labels import natural
from optbench.comparison.ranked_by import Ranked
from optbench.comparison.targets import Aim
from optbench.pages import tables
from optbench.pages.curves import Cache, Curved, curvature_figure, curved, learning_figure, points_of_a_line
from optbench.pages.figures import figures
from optbench.pages.networks import Asking, Networks, mistakes
from optbench.pages.surface import GroundOf, is_surface, paths_figure
from optbench.pages.words import Words, clean
from optbench.report import COVERING, covering_less, footnotes, unreadable_lines
from optbench.report.cells import sheets

Plain = dict[str, Any]
_WARNING = "warning: "
_NEEDS = "Tables and figures of this page need JavaScript."


@dataclass(frozen=True)
class Asked:
    """What a page is asked for beside its comparison.

    Attributes:
        language: en or zh.
        command: the command line that makes it, word by word; empty: it is not said.
        aim: which targets, and what costs are counted in.
        ground_of: gives the surface that a run descended; None: no contours.
        networks: how networks are asked what they get wrong; None: they are not.
        version: of optbench.
    """

    language: str = "en"
    command: Sequence[str] = ()
    aim: Aim = field(default_factory=Aim)
    ground_of: GroundOf | None = None
    networks: Networks | None = None
    version: str = ""


def document(found: Comparison, each: Comparison, asked: Asked = Asked()) -> Plain:
    """What the page says of a comparison, as strict JSON can hold it.

    Args:
        found: the comparison.
        each: of the same runs, every setting a group of its own; the same one where it is that already.
        asked: see Asked.
    """
    words = Words(asked.language)
    reader = Cache()
    shown = {problem: curved(groups, reader) for problem, groups in found.problems.items()}
    most = points_of_a_line(4 * sum(map(len, shown.values())))
    runs = sum(group.n for group in found.groups)
    labels = dict.fromkeys(group.label for group in (*found.groups, *each.groups))
    asking = Asking(asked.networks, found.checkpoint, words)
    problems = [_problem(found, name, shown[name], most, asked, asking) for name in found.problems]
    notes = [note.removesuffix(".") for note in footnotes(found)]
    across = figures(found, each, asked.aim, reader, words)
    return {
        "language": asked.language,
        "title": words("1 run compared") if runs == 1 else words("{0} runs compared", runs),
        "verdicts": [one["sentence"] for one in problems],
        "needs": words(_NEEDS),
        "problems": problems,
        "across": [*_scores(found, words), *across],
        "ends": tables.not_well(found, words),
        "notes": [
            *(words.sentence(note) for note in notes if not note.startswith((_WARNING, COVERING))),
            *_covering(found, words),
        ],
        "warnings": [words.sentence(note.removeprefix(_WARNING)) for note in notes if note.startswith(_WARNING)],
        "unreadable": [words.sentence(line) for line in unreadable_lines(found)],
        "unread": [words.sentence(line) for line in reader.unread],
        "provenance": _provenance(found, asked, words),
        "command": clean(shlex.join(asked.command)) if asked.command else "",
        "colours": [clean(label) for label in sorted(labels, key=natural)],
        "words": words.of_script(),
    }


def _covering(found: Comparison, words: Words) -> list[str]:
    """Which intervals cover less than 95 %, in words."""
    few = covering_less(found)
    said = [f"{share}: {', '.join(words(title) for title in own)}" for share, own in few.items()]
    return [words(f"{COVERING}: {{0}}", words.listed(said))] if few else []


def waiting(asked: Asked, why: str = "") -> Plain:
    """The document while there is nothing to compare: it says so, or why there is no comparison."""
    words = Words(asked.language)
    return {
        "language": asked.language, "title": words("0 runs so far"), "needs": words(_NEEDS),
        "verdicts": [words.sentence(why) if why else words("No run is recorded yet; this page follows.")],
        "problems": [], "across": [], "ends": None, "notes": [], "warnings": [], "unreadable": [], "unread": [],
        "provenance": [], "command": "", "colours": [], "words": words.of_script(),
    }  # fmt: skip


def _problem(found: Comparison, name: str, shown: Sequence[Curved], most: int, asked: Asked, asking: Asking) -> Plain:
    """The section of a problem: sentence, tables and figures."""
    words = asking.words
    groups = found.problems[name]
    metric = found.question.metric or Ranked(found.checkpoint).first(groups)
    drawn = [learning_figure(shown, len(groups), most, words)]
    if is_surface(shown):
        drawn.append(paths_figure(shown, asked.ground_of, words))
    elif any(group.keys.get("data") not in (None, "none") for group in groups):
        drawn += [curvature_figure(shown, most, words), mistakes(groups, asking)]
    own = [tables.scores(found, name, words), tables.verdicts(found, name, words), *_stopped(found, name, words),
           tables.settings(found, name, words)]  # fmt: skip
    said = [words.sentence(one.in_words()) for one in found.differences if one.problem == name]
    return {
        "name": clean(name),
        "sentence": tables.sentence(found, name, metric, words),
        "tables": [one for one in own if one is not None],
        "differs": said,
        "figures": drawn,
    }


def _stopped(found: Comparison, problem: str, words: Words) -> list[Plain]:
    """Where the runs of a problem stopped, if they did at critical points."""
    part = [sheet for sheet in sheets(found) if sheet.header == ("configuration", "runs", "stopped at")]
    own = [sheet for sheet in part if sheet.title.startswith(f"{clean(problem)}: ")]
    made = [tables.of_sheet(sheet, words, {"stopped at": ARRIVALS}) for sheet in own]
    return [one | {"id": "stopped", "title": words("Where runs stopped")} for one in made]


def _scores(found: Comparison, words: Words) -> list[Plain]:
    """Scores over problems, those that were asked for."""
    if not found.scores:
        return []
    return [{"kind": "table", "table": tables.of_sheet(sheets(found)[-1], words, RULES)}]


def _provenance(found: Comparison, asked: Asked, words: Words) -> list[Plain]:
    """Where the runs were made: the values of each fact with the number of runs that have it."""
    said: list[Plain] = [{"what": words("page made by"), "values": [f"optbench {asked.version}".strip()]}]
    counts: dict[str, Counter[str]] = {}
    for group in found.groups:
        for fact, column in group.rows.origins().items():
            for code, runs in Counter(column.codes.tolist()).items():
                value = column.values[code]
                name = words("not recorded") if value is None else clean(str(value))
                counts.setdefault(fact, Counter())[name] += runs
    total = sum(group.n for group in found.groups)
    for fact, own in counts.items():
        told = [value if runs == total else words("{0} ({1} runs)", value, runs) for value, runs in own.most_common(8)]
        said.append({"what": words(fact), "values": told})
    said.append({"what": words("network checkpoints"), "values": [words(found.checkpoint)]})
    return said
