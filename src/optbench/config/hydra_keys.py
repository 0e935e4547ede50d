"""Hydra's own settings: which of them do something here, and a sentence for each of the others.

Hydra is driven as a library that composes: its command line, its working folders and its logging are not used. A
setting that would be ignored is refused, since whoever gives it expects an effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optbench.errors import ConfigError

RUN = ("hydra.run.dir",)
"""What `optbench run` takes."""
SWEEP = ("hydra.sweep.dir", "hydra/launcher", "hydra.launcher", "hydra.sweeper.params")
"""What `optbench sweep` takes."""

_INSTEAD = {
    "hydra.job.chdir": "runs write into their own folders and leave the working folder as it is; -o says where",
    "hydra.job.name": "a run is named by its configuration, a sweep by --name",
    "hydra.job.env_set": "set the variable before the command",
    "hydra.mode": "optbench run makes one run, optbench sweep many",
    "hydra.output_subdir": "config.yaml lies in the run's folder",
    "hydra.sweep.subdir": "a run's folder in its sweep is named by its configuration",
    "hydra.searchpath": "--config-dir lays a folder of yours over optbench's",
    "hydra.verbose": "OPTBENCH_TRACEBACK=1 shows the traceback of an error",
    "hydra/sweeper": "optbench has a sweeper of its own: choices, ranges, intervals with --samples",
    "hydra/launcher": "a run executes in this process; optbench sweep takes a launcher",
    "hydra.launcher": "a run executes in this process; optbench sweep takes a launcher",
    "hydra.sweeper": "write the values as they are: optimizer=adam,sgd",
    "hydra.run.dir": "sweeps go to hydra.sweep.dir, or to -o",
    "hydra.sweep.dir": "a single run goes to hydra.run.dir, or to -o",
}


def check_hydra_keys(overrides: Iterable[str], taken: Sequence[str] = (*RUN, *SWEEP)) -> None:
    """Refuses overrides of Hydra's settings that would be ignored.

    Args:
        overrides: as typed.
        taken: the keys that do something, with all below them.

    Raises:
        ConfigError: naming the key, with what does the same here.
    """
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if not key.startswith(("hydra.", "hydra/")) or _below(key, taken):
            continue
        if (key, value) == ("hydra.job.chdir", "false"):
            continue
        hint = next((words for known, words in _INSTEAD.items() if _below(key, [known])), "")
        takes = f"of Hydra's own settings this takes {', '.join(taken)}" if taken else "this takes none of Hydra's own"
        raise ConfigError(f"{key} has no effect here, so it is refused", hint or takes)


def _below(key: str, places: Iterable[str]) -> bool:
    return any(key == place or key.startswith((f"{place}.", f"{place}@")) for place in places)
