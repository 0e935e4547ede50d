"""What targets are asked for (--cost, --target, --budget), and the minima of surfaces, which they are levels above."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from optbench.cli.common import paths

if TYPE_CHECKING:
    from optbench.comparison.targets import Aim
    from optbench.records import Run


def aim_of(cost: str | None, target: str, budget: str | None, config_dir: list[Path] | None) -> Aim:
    """What is asked of targets. Raises UserError for a word that is none."""
    from optbench.comparison.targets import aim

    return aim(cost, target, budget, minimum_of(config_dir))


def minimum_of(config_dir: list[Path] | None) -> Callable[[Run], float | None]:
    """Tells the minimum of the surface of a run; what that takes is imported where it is asked."""

    def minimum(run: Run) -> float | None:
        from optbench.experiment.surface import recorded_minimum

        return recorded_minimum(run, paths(config_dir))

    return minimum
