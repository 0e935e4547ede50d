"""Overrides to results: plan, execute, record. What the command line and notebooks call.

Example:
    >>> import optbench
    >>> run = optbench.run("model=sphere", "optimizer=gd", "optimizer.lr=0.25", "trainer.steps=3")
    >>> run.curve().x0.tolist()  # x - 0.25 * 2 x
    [4.0, 2.0, 1.0, 0.5]
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from optbench.config import Composer
from optbench.experiment.execute import execute, run_and_record, skipped
from optbench.experiment.interrupting import interruptible
from optbench.experiment.plan import Planned, plan_run, plan_sweep
from optbench.experiment.recorder import STOP_SIGNALS, Display, Stop
from optbench.ranks import of_environment
from optbench.records import Run

__all__ = [
    "STOP_SIGNALS",
    "Display",
    "Folders",
    "Planned",
    "Stop",
    "compose",
    "execute",
    "interruptible",
    "paths_of",
    "plan_run",
    "plan_sweep",
    "run",
    "run_and_record",
    "skipped",
]

log = logging.getLogger(__name__)

Folders = str | Path | Iterable[str | Path]


def paths_of(folders: Folders) -> list[Path]:
    """One folder or several, as a list."""
    return [Path(folders)] if isinstance(folders, str | Path) else [Path(f) for f in folders]


def compose(*overrides: str, config_dir: Folders = ()) -> dict[str, Any]:
    """The resolved configuration that overrides describe; what `optbench config` prints. Raises ConfigError."""
    with Composer(paths_of(config_dir)) as composer:
        return composer.compose(overrides).config


def run(
    *overrides: str,
    config_dir: Folders = (),
    out: str | Path | None = None,
    force: bool = False,
    display: Display | None = None,
    callbacks: Sequence[str] = (),
) -> Run:
    """Runs one configuration and returns its record; a run that is done already is read, not repeated.

    In a program that torchrun started several times they do it together: the first process returns the record, the
    others how it ended.

    Args:
        overrides: as on the command line, e.g. "optimizer=rmsprop", "optimizer.lr=1e-3".
        config_dir: folders laid over optbench's conf/.
        out: folder that holds runs; default outputs/runs.
        force: run again although it is done.
        display: who watches; default nobody.
        callbacks: as `--callback` has them.

    Raises:
        ConfigError, DataError, IncompatibleError, OutputError: nothing ran; the message says why.
    """
    planned = plan_run(overrides, paths_of(config_dir), Path(out) if out else None, callbacks=callbacks)
    if (rank := of_environment()) is not None and not rank.is_first:
        with interruptible() as stop:
            return execute(planned, stop, force=force, rank=rank)
    if not force and (flaw := planned.look()[1]) is not None:
        log.warning("%s: %s; the run is done again", planned.folder, flaw)
    with interruptible() as stop:
        if display is not None:
            display.start(planned.label, 0, 1)
        done = execute(planned, stop, display, force, rank=rank)
        if display is not None:
            display.end(done)
    return done
