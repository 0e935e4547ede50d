"""Where planned runs execute: worker processes here, a Ray cluster, or a Slurm queue. The records are the same.

A launcher takes planned runs and yields their records as they finish, in any order. What it adds to
`experiment.run_and_record` is what happens around a run:

    a worker dies       its run is tried again in a fresh one, up to `retries` times, then recorded as `failed`
    the driver dies     workers notice, end after their update and save; the same sweep again goes on from there. On
                        Slurm the array goes on, and the same sweep adopts it
    the user stops      running ones end after their update, save and are `interrupted`; waiting ones stay to do
    records fail        the others are ended as if the user had stopped, then the OutputError is raised
    no record is there  where the driver reads, or not a whole one: its run counts as lost, whatever the worker says

Workers on other machines need the same optbench, and the code and data of the runs. Slurm's see the same folders under
the same names, by a shared file system; Ray's need none, records then travel back with the results.

Example:
    >>> from optbench.launch import Nobody, launcher
    >>> from optbench.experiment import interruptible, plan_sweep
    >>> plans = plan_sweep(["seeds=2", "trainer.steps=5"])
    >>> with interruptible() as stop:
    ...     runs = list(launcher({"name": "local"}).launch(plans, stop, Nobody()))
    >>> [run.status.value for run in runs]
    ['completed', 'completed']
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optbench.launch.base import Launcher, Nobody, Watcher
from optbench.launch.settings import LAUNCHERS, LocalSettings, RaySettings, SlurmSettings, settings_from

if TYPE_CHECKING:
    from optbench.launch.crew import Crew

__all__ = ["LAUNCHERS", "Launcher", "Nobody", "Watcher", "launcher"]


def launcher(settings: Mapping[str, Any], crew: Crew | None = None) -> Launcher:
    """The launcher that `hydra.launcher` describes: `name` (local, ray, slurm) and its keys; see conf/hydra/launcher/.

    Args:
        settings: the node `hydra.launcher` of a composition.
        crew: worker processes to keep between launches on this machine.

    Raises:
        ConfigError: an unknown launcher or key, or a value of the wrong kind.
        UserError: the extra that it needs is not installed.
    """
    chosen = settings_from(settings)
    if isinstance(chosen, LocalSettings):
        from optbench.launch.local import LocalLauncher

        return LocalLauncher(chosen, crew=crew)
    if isinstance(chosen, RaySettings):
        from optbench.launch.ray_cluster import RayLauncher

        return RayLauncher(chosen)
    assert isinstance(chosen, SlurmSettings)
    from optbench.launch.slurm import SlurmLauncher

    return SlurmLauncher(chosen)
