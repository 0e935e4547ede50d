"""What a measuring module is given: the records of its claim's sweeps. What it gives back: findings.

A measuring module has one function, `measure(study) -> Findings`. It reads records; what no run records (a Hessian, a
closed form) it computes itself, with the parts that the runs are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from applebook.claim import Arm, Claim
from applebook.evidence import Evidence
from optbench.errors import RunFailure
from optbench.experiment import Stop, plan_sweep
from optbench.launch import launcher
from optbench.launch.sweep import Options, SweepWatcher, recorded, run_sweep
from optbench.records import Run, read_curves

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from optbench.launch.crew import Crew

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

    def execute(self, stop: Stop, watcher: SweepWatcher) -> None:
        """Runs every arm; runs that are done are not repeated.

        Raises:
            ConfigError: an arm's overrides.
            RunFailure: a run broke; the other runs of its arm are recorded.
        """
        for arm in self.claim.arms:
            if not stop.requested:
                self._runs[arm.name] = self._execute(arm, stop, watcher)

    def _execute(self, arm: Arm, stop: Stop, watcher: SweepWatcher) -> list[Run]:
        overrides = [*([] if arm.alone else [self.claim.experiment]), *arm.overrides(self.quick)]
        plan = plan_sweep(overrides, self._dirs, self.folder, arm.name)
        options = Options(force=self._force, retry_failed=True, recorded=arm.curves, least=2)
        outcome = run_sweep(plan, launcher(plan.launcher, self._crew), stop, watcher, options)
        if broken := [*outcome.failed, *outcome.skipped]:
            run = broken[0]
            raise RunFailure(f"{self.claim.id}, {arm.name}: {len(broken)} of {len(plan)} runs did not run "
                             f"({run.status}: {run.reason})", f"see {run.path}")  # fmt: skip
        return recorded(plan)

    def pick(self, quick: T, full: T) -> T:
        """The first under --quick, else the second."""
        return quick if self.quick else full

    def runs(self, arm: str = "main", **where: Any) -> list[Run]:
        """The runs of an arm with these columns or settings (`optimizer="adam"`), in the order of the plan.

        Dots in names are written as two underscores: optimizer__lr=0.1.
        """
        wanted = {key.replace("__", "."): value for key, value in where.items()}
        return [r for r in self._runs[arm] if all(_value(r, k) == v for k, v in wanted.items())]

    def frame(self, arm: str = "main") -> pd.DataFrame:
        """The runs of an arm as a table: the columns of run.json, swept settings under their dotted names."""
        import pandas as pd

        return pd.DataFrame([run.summary for run in self._runs[arm]])

    def curves(self, arm: str = "main", **where: Any) -> list[pd.DataFrame]:
        """The curves of these runs, see `runs`."""
        return read_curves(self.runs(arm, **where))

    @property
    def count(self) -> dict[str, int]:
        """Number of runs by arm."""
        return {name: len(runs) for name, runs in self._runs.items()}


def _value(run: Run, key: str) -> Any:
    """A column of the run; or, where the key was not swept, the setting."""
    if key in run.summary:
        return run.summary[key]
    value: Any = run.config
    for part in key.split("."):
        value = value[part]
    return value
