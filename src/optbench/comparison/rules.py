"""The rules of a comparison that are no score of a group, by name: for `compare --explain` and the page of rules."""

from __future__ import annotations

import difflib

from optbench.comparison import across, judged, observations, tuned
from optbench.errors import UserError
from optbench.statistics import STATISTICS
from optbench.statistics import explain as explain_score

HEADER = (
    "what differs between the groups of a problem: settings of the trainer, engine, device, processor, threads, "
    "host and versions. A ranking of unequal budgets, batch sizes, precisions, devices or versions, and of runs "
    "that a limit of time or a schedule longer than the run cut inside a decay, has a warning; times are comparable "
    "within one engine, device, processor, number of threads and host, and what else a machine did meanwhile is in "
    "no record"
)
RULES = {
    "distinct": observations.RULE,
    "header": HEADER,
    "pairs": f"{judged.RULE}. {judged.DETAILS}",
    "tuned": tuned.RULE,
    **{f"{name}_across" if name in STATISTICS else name: rule for name, rule in across.RULES.items()},
}
"""A clause each."""


def explain(name: str) -> str:
    """The rule of a score or of one of RULES.

    Raises:
        UserError: there is none of that name.
    """
    if name in RULES:
        return f"{name}: {RULES[name].removeprefix(f'{name}: ')}."
    if name in STATISTICS:
        return explain_score(name)
    known = [*STATISTICS, *RULES]
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"no score or rule {name!r}", f"{meant}scores: {', '.join(STATISTICS)}; rules: {', '.join(RULES)}")
