"""Runs to a comparison: which configuration did better on which problem, over seeds, with nothing left out.

    rows         what each run was (its configuration) and gave (its summary), as one flat row; selection by filters
    labels       problems, configurations and their names: only what differs is said
    groups       groups of runs and their statistics
    comparison   the whole, from paths to tables and JSON

pandas (0.5 s to import) is imported where a table is asked for and not before; so reading, grouping and JSON start at
once, and the command line stays quick.
"""

from optbench.comparison.comparison import Comparison, compare
from optbench.comparison.groups import STATISTICS, Group, statistics_of
from optbench.comparison.labels import label_runs

__all__ = ["STATISTICS", "Comparison", "Group", "compare", "label_runs", "statistics_of"]
