"""What a measuring module is given: the records of its claim's sweeps. What it gives back: findings.

A measuring module has one function, `measure(study) -> Findings`. It reads records; what no run records (a Hessian, a
closed form) it computes itself, with the parts that the runs are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from applebook.claim import Arm, Claim
from applebook.evidence import Evidence
from optbench import Run, Status, read_curves, sweep
from optbench.errors import RunFailure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from optbench import Crew, Stop, SweepWatcher

T = TypeVar("T")


@dataclass(frozen=True)
class Findings:
    """What a claim's measurement gives.

    Attributes:
        evidence: by prediction id; one for each prediction.
        figures: by name; one for each caption.
        tables: rows by name; one for each caption. Numbers are printed with four digits.
    """

    evidence: Mapping[str, Evidence]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


class Study:
    """A claim's sweeps and their records.

    Args:
        claim: the claim.
        folder: where its records go, a sweep an arm.
        quick: smaller sweeps.
        config_dirs: folders laid over conf/.
        force: run again what is done.
        crew: worker processes kept between its sweeps.
    """

    def __init__(
        self,
        claim: Claim,
        folder: Path,
        quick: bool = False,
        config_dirs: Sequence[Path] = (),
        force: bool = False,
        crew: Crew | None = None,
    ) -> None:
        self.claim, self.folder, self.quick = claim, folder, quick
        self._dirs, self._force, self._crew = tuple(config_dirs), force, crew
        self._runs: dict[str, list[Run]] = {}

    def execute(self, stop: Stop, watcher: SweepWatcher | None) -> None:
        """Runs every arm; runs that are done are not repeated.

        Raises:
            ConfigError: an arm's overrides.
            RunFailure: a run broke; the other runs of its arm are recorded.
        """
        for arm in self.claim.arms:
            if not stop.requested:
                self._runs[arm.name] = self._execute(arm, stop, watcher)

    def _execute(self, arm: Arm, stop: Stop, watcher: SweepWatcher | None) -> list[Run]:
        overlay = [] if arm.alone else [self.claim.experiment]
        runs = sweep(
            *overlay, *arm.overrides(self.quick), config_dir=self._dirs, out=self.folder, name=arm.name,
            force=self._force, retry_failed=True, curves=arm.curves, least=2, stop=stop, watcher=watcher,
            crew=self._crew,
        )  # fmt: skip
        if broken := [run for run in runs if run.status in (Status.FAILED, Status.SKIPPED)]:
            run = broken[0]
            raise RunFailure(f"{self.claim.id}, {arm.name}: {len(broken)} of {len(runs)} runs did not run "
                             f"({run.status}: {run.reason})", f"see {run.path}")  # fmt: skip
        return runs

    def pick(self, quick: T, full: T) -> T:
        """The first under --quick, else the second."""
        return quick if self.quick else full

    def runs(self, arm: str = "main", **where: Any) -> list[Run]:
        """The runs of an arm with these columns or settings (`optimizer="adam"`), in the order of the plan.

        Dots in names are written as two underscores: optimizer__lr=0.1.
        """
        wanted = {key.replace("__", "."): value for key, value in where.items()}
        return [r for r in self._runs[arm] if all(value_of(r, k) == v for k, v in wanted.items())]

    def curves(self, arm: str = "main", **where: Any) -> list[pd.DataFrame]:
        """The curves of these runs, see `runs`."""
        return read_curves(self.runs(arm, **where))

    def with_curves(self, arm: str = "main", **where: Any) -> list[tuple[Run, pd.DataFrame]]:
        """These runs, each with its curve."""
        runs = self.runs(arm, **where)
        return list(zip(runs, read_curves(runs), strict=True))

    @property
    def count(self) -> dict[str, int]:
        """Number of runs by arm."""
        return {name: len(runs) for name, runs in self._runs.items()}

    @property
    def starts(self) -> list[datetime]:
        """When each run began, to the second."""
        return [
            datetime.fromisoformat(run.provenance["started"])
            for runs in self._runs.values()
            for run in runs
            if "started" in run.provenance
        ]


def value_of(run: Run, key: str) -> Any:
    """A column of the run; or, where the key was not swept, the setting."""
    if key in run.summary:
        return run.summary[key]
    value: Any = run.config
    for part in key.split("."):
        value = value[part]
    return value
