"""The settings of each launcher, typed; what conf/hydra/launcher/*.yaml may say."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from optbench.errors import ConfigError
from optbench.settings import MOST_THREADS, did_you_mean


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """Worker processes on this machine.

    Attributes:
        jobs: worker processes; None: as many as pay (see local.jobs_that_pay); 0: none, everything in this process.
        threads: torch threads of a network's run; None: the cores divided by the jobs.
        retries: how often a run is tried again after its worker died.
    """

    jobs: int | None = None
    threads: int | None = None
    retries: int = 2


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """Tasks on a Ray cluster.

    Attributes:
        address: of an existing cluster, "auto" or host:port; None: one is started on this machine and ended afterwards.
        jobs: runs at once; None: as many as the cluster has room for.
        threads: CPUs that a run reserves and torch threads that it uses.
        gpus: GPUs that a run reserves; a fraction shares one.
        retries: how often a run is tried again after its worker or node was lost.
    """

    address: str | None = None
    jobs: int | None = None
    threads: int = 1
    gpus: float = 0.0
    retries: int = 2


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """A job array, one task a run.

    Attributes:
        cluster: "slurm", or "local" to try the same path without Slurm.
        jobs: tasks at once, retries included; None: as many as the queue lets run (cluster=local: as many as there are
            cores).
        threads: CPUs and torch threads of a run.
        gpus: GPUs of a run.
        minutes: time limit of a run; a network that hits it goes on from its checkpoint at the next attempt.
        memory_gb: memory of a run; None: the queue's default.
        partition: None: the queue's default.
        account: None: the user's default.
        extra: further sbatch options by name, e.g. {qos: long}.
        retries: how often a run is tried again after its task was lost; not after it took too much memory or somebody
            cancelled it.
    """

    cluster: str = "slurm"
    jobs: int | None = None
    threads: int = 1
    gpus: int = 0
    minutes: int = 60
    memory_gb: float | None = None
    partition: str | None = None
    account: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    retries: int = 2


Settings = LocalSettings | RaySettings | SlurmSettings

LAUNCHERS: Mapping[str, type[Settings]] = {"local": LocalSettings, "ray": RaySettings, "slurm": SlurmSettings}
"""Name to settings."""

_LEAST = {"jobs": 0, "threads": 1, "retries": 0, "gpus": 0, "minutes": 1, "memory_gb": 0}
_MOST = {"threads": MOST_THREADS}


def settings_from(node: Mapping[str, Any]) -> Settings:
    """The typed settings of a `hydra.launcher` node. Raises ConfigError naming the key and what was expected."""
    given = dict(node)
    name = given.pop("name", None)
    if name not in LAUNCHERS:
        came = name if name is not None else node.get("_target_", "nothing")
        hint = did_you_mean(str(name), LAUNCHERS, "hydra/launcher=")
        raise ConfigError(f"hydra/launcher: expected {', '.join(LAUNCHERS)}, not {came}", hint)
    kind = LAUNCHERS[name]
    known = [f.name for f in fields(kind)]
    hints = typing.get_type_hints(kind)
    for key, value in given.items():
        if key not in known:
            raise ConfigError(
                f"hydra.launcher has no key '{key}' (keys of {name}: {', '.join(known)})",
                did_you_mean(key, known, "hydra.launcher."),
            )
        _check(key, value, hints[key])
    if kind is SlurmSettings and given.get("cluster", "slurm") not in ("slurm", "local"):
        raise ConfigError(f"hydra.launcher.cluster={given['cluster']}: expected slurm or local")
    if kind is not LocalSettings and given.get("jobs") == 0:
        raise ConfigError("hydra.launcher.jobs=0: expected a whole number of at least 1, or null")
    return kind(**given)


def _check(key: str, value: Any, hint: Any) -> None:
    accepted = typing.get_args(hint) or (typing.get_origin(hint) or hint,)
    kinds = tuple(typing.get_origin(a) or a for a in accepted)
    if key == "extra":
        kinds = (Mapping,)
    if float in kinds:
        kinds = (*kinds, int)
    right = isinstance(value, kinds) and not isinstance(value, bool)
    if right and (not isinstance(value, int | float) or _LEAST[key] <= value <= _MOST.get(key, math.inf)):
        return
    words = {int: "a whole number", float: "a number", str: "a text", Mapping: "a mapping"}
    least = f" of at least {_LEAST[key]}" if key in _LEAST else ""
    least += f" and at most {_MOST[key]}" if key in _MOST else ""
    named = next(words[k] for k in kinds if k in words)
    raise ConfigError(
        f"hydra.launcher.{key}={value}: expected {named}{least}{', or null' if type(None) in kinds else ''}"
    )
