"""Scores of runs: pure functions of arrays, each computed exactly as its written rule says.

    estimates    a statistic with its interval: medians by order statistics, shares by Wilson, expected running time
    resampling   the bootstrap, the same whatever the order of the runs
    runtimes     first hits of many targets, ERT (also of balanced instances) with interval, penalised runtimes, SP1
    ecdf         distributions of runtimes over runs, targets and problems; simulated restarts and budget marks
    censored     Kaplan-Meier: the share solved by a cost where budgets differ; restricted mean
    profiles     performance profiles, AlgoPerf's score by its rule and as its program computes it, speed-ups
    ranks        average ranks over problems, Friedman's test, critical difference and cliques
    aggregate    interquartile mean, probability of improvement, optimality gap, by stratified bootstrap
    tuned        best of k trials, what choosing flatters, sensitivity to the learning rate, edges of ranges
    steps_to     certified steps to a target: evidence and pairwise rules
    pairs        which of two configurations is better: verdicts, corrected for their number, effects, seeds to add
    multiplicity many pairs judged together: adjusted p-values
    rank_tests   the permutation distributions of the tests that they rest on
    intervals    the effects and intervals that belong to these tests
    anytime      tests and intervals that hold while seeds are added and looked at
    power        how many seeds a difference needs

A run that never reached its target, or that diverged, is never dropped: it takes part as an infinite time, an infinite
loss or a failure, and every denominator counts it. The wording that reports print beside the numbers is `statistics`'.

What stands in this list is light, numpy and the standard library alone, since everything that reads results imports it;
modules that need scipy are imported by name where they are used.
"""

from optbench.metrics.estimates import (
    Estimate,
    Floats,
    expected_running_time,
    expected_running_times,
    median_interval,
    median_intervals,
    success_rate,
    wilson,
)
from optbench.metrics.runtimes import PRECISIONS, ert, ert_intervals, first_hits, penalised, sp1

__all__ = [
    "PRECISIONS",
    "Estimate",
    "Floats",
    "ert",
    "ert_intervals",
    "expected_running_time",
    "expected_running_times",
    "first_hits",
    "median_interval",
    "median_intervals",
    "penalised",
    "sp1",
    "success_rate",
    "wilson",
]
