"""Settings of optimizers, searched as hard for each, chosen on some seeds and reported on others.

search    which settings are tried: points in a space, in rounds
tune      a task from overrides, its runs, what was chosen, and what it is worth on fresh seeds
    words     the same as text and as plain data
tournament  which optimizer, schedule and loss, within a budget
    budget    how large a tournament may be, by runs or by measured time
    decided   what the clock decided, kept so that the same command follows it
    endings   how runs ended, and whether they were done
    course    curvature along a run
    rates     which learning rates work
    answer    the same as text and as plain data
transfer  whether the best learning rate moves with the width, and under muP
    transfer_words  the same as text and as plain data
runs      what all make: settings with seeds, as recorded sweeps
"""

from optbench.tuning.runs import Trial
from optbench.tuning.search import METHODS, Point, Round, Search
from optbench.tuning.tune import Result, Task, Tuned, Tuner, spaces_of, task_of, tasks_of
from optbench.tuning.words import tuned_json, tuned_lines

__all__ = [
    "METHODS",
    "Point",
    "Result",
    "Round",
    "Search",
    "Task",
    "Trial",
    "Tuned",
    "Tuner",
    "spaces_of",
    "task_of",
    "tasks_of",
    "tuned_json",
    "tuned_lines",
]
