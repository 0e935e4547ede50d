"""Runs to a comparison: which configuration did better on which problem, over seeds, with nothing left out.

    filters      which rows of the table of runs (`records.RunTable`) take part
    facts        what each run was: its configuration
    labels       problems, configurations and their names, which say only what differs
    observations which runs are copies of each other, and so one observation
    groups       which runs make a group, and what it is called
    header       what differs between groups, and what must be said of it
    tuned        groups of several settings: the best of each, chosen on other seeds than those reported
    judged       verdicts on pairs of configurations over the seeds they share
    targets      targets common to all configurations of a problem, and when each run met them
    across       scores over several problems
    rules        what of this is no score, in words
    learning     learning curves of repeated runs: medians and bands
    figures      what figures over runs, targets and problems show, as plain numbers
    shown        the runs that a figure shows
    response     scores over the values of a setting, and whether the best lies at their edge
    comparison   the whole, from paths to tables and JSON
    by_seed      the numbers of single runs, configurations by seeds
    seeds        how many seeds a difference needs, from the spread of these runs

pandas (0.5 s to import) is imported where a table is asked for and not before; so reading, grouping and JSON start at
once, and the command line stays quick.
"""

from optbench.comparison.comparison import Comparison, compare, read_runs
from optbench.comparison.groups import Group
from optbench.comparison.labels import label_runs, named_runs
from optbench.comparison.response import Best, Line, Response, respond, response_of
from optbench.comparison.shown import Drawn, drawn
from optbench.statistics import STATISTICS

__all__ = [
    "STATISTICS",
    "Best",
    "Comparison",
    "Drawn",
    "Group",
    "Line",
    "Response",
    "compare",
    "drawn",
    "label_runs",
    "named_runs",
    "read_runs",
    "respond",
    "response_of",
]
