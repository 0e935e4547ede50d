"""Settings of optimizers, searched as hard for each, chosen on some seeds and reported on others.

search    which settings are tried: points in a space, in rounds
tune      a task from overrides, its runs, what was chosen, and what it is worth on fresh seeds
    words     the same as text and as plain data
"""

from optbench.tuning.search import METHODS, Point, Round, Search
from optbench.tuning.tune import Result, Task, Trial, Tuned, Tuner, spaces_of, task_of
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
    "tuned_json",
    "tuned_lines",
]
