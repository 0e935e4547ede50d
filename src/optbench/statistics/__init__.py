"""The scores of a group of runs: each is one object that says what it is called, how it is computed, and how it reads.

    statistic    Statistic, and Groups: the runs of several groups as arrays, from which it is computed
    scores       STATISTICS, the list: a further one is a further entry in it
    of_metrics   those of metrics, of one's own too
    each         the number of each single run that a score is of
    numbers      numbers as people read them

Headings of tables, columns of CSV, keys of JSON, what can be sorted by, footnotes, `optbench compare --explain NAME`
and the page of rules in the documentation follow from the list.
"""

from optbench.statistics.scores import INTERVAL, MEDIAN, STATISTICS, explain, statistics_of
from optbench.statistics.statistic import Groups, Statistic, has_result

__all__ = ["INTERVAL", "MEDIAN", "STATISTICS", "Groups", "Statistic", "explain", "has_result", "statistics_of"]
