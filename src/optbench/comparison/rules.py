"""The rules of a comparison that are no score of a group, by name: for `compare --explain` and the page of rules."""

from __future__ import annotations

import difflib

from optbench.comparison import across, judged, observations, ranked_by, tuned, within
from optbench.errors import UserError
from optbench.statistics import STATISTICS
from optbench.statistics import explain as explain_score
from optbench.statistics.of_targets import OF_TARGETS

HEADER = (
    "what differs between the groups of a problem: settings of the trainer, engine, device, processor, threads, "
    "processes, host and versions. A ranking of unequal budgets, targets, batch sizes, precisions, devices, numbers of "
    "processes or versions, and of runs that a limit of time or a schedule longer than the run cut inside a decay, "
    "has a warning; times are comparable within one engine, device, processor, number of threads and processes, and "
    "host, and what else a machine did meanwhile is in no record"
)
TARGETS = (
    "on a surface its minimum and 51 precisions above it, 10^2 to 10^-8; on a network the target of validation "
    "accuracy or loss that all its runs have (trainer.target_accuracy, trainer.target_val_loss), else the levels of "
    "accuracy (without classes: loss) that the median run of the best configuration newly reached; or those of "
    "--target; the same for all configurations of a problem, read from the curves, which --budget cuts alike"
)
BUDGET = (
    "with --budget every run that went on beyond it is grouped, ranked and judged as its curve says that it was there: "
    "last and best values, costs, the target if it was met by then; a run that ended before is what it was. A "
    "configuration with a run that went on and has no curve is left out with a warning, and schedules that are cut "
    "inside their decay have theirs"
)
RULES = {
    "distinct": observations.RULE,
    "header": HEADER,
    "ranked_by": ranked_by.RULE,
    "pairs": f"{judged.RULE}. {judged.DETAILS}",
    "targets": TARGETS,
    "budget": BUDGET,
    "tuned": tuned.RULE,
    **{f"{name}_across" if name in STATISTICS else name: rule for name, rule in across.RULES.items()},
    **within.RULES,
}
"""A clause each."""
KNOWN = (*STATISTICS, *OF_TARGETS, *RULES)
"""Names that have a rule."""


def explain(name: str) -> str:
    """The rule of a score or of one of RULES.

    Raises:
        UserError: there is none of that name.
    """
    if name in RULES:
        return f"{name}: {RULES[name].removeprefix(f'{name}: ')}."
    if name in STATISTICS:
        return explain_score(name)
    if name in OF_TARGETS:
        one = OF_TARGETS[name]
        better = "small" if one.direction < 0 else "large"
        return f"{name} ({one.title}): {one.rule}.\nCommon targets: {TARGETS}.\nBetter: {better}."
    close = difflib.get_close_matches(name, KNOWN, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise UserError(
        f"no score or rule {name!r}",
        f"{meant}scores: {', '.join([*STATISTICS, *OF_TARGETS])}; rules: {', '.join(RULES)}",
    )
