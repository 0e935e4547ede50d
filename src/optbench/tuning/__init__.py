"""Settings of optimizers, searched as hard for each, chosen on some seeds and reported on others.

search    which settings are tried: points in a space, in rounds
tune      a task from overrides, its runs, what was chosen, and what it is worth on fresh seeds
"""

from optbench.tuning.search import METHODS, Point, Round, Search
from optbench.tuning.tune import Result, Task, Trial, Tuned, Tuner, task_of

__all__ = ["METHODS", "Point", "Result", "Round", "Search", "Task", "Trial", "Tuned", "Tuner", "task_of"]
