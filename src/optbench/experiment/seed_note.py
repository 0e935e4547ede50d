"""That a sweep's seeds make copies, said before they run. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optbench.experiment.sources import KEY
from optbench.settings import seed_is_idle

if TYPE_CHECKING:
    from optbench.experiment.plan import Planned

_WOULD = "trainer.start=random or trainer.grad_noise would"
_MAY_DRAW = ("optimizer", "scheduler", "model", "loss")
"""Parts that may draw numbers by themselves where they are code of the user's own."""


def seed_note(plan: Sequence[Planned]) -> list[str]:
    """A line where runs that differ in their seeds alone will be copies of each other; else none."""
    if len({planned.config["seed"] for planned in plan}) < 2:
        return []
    idle = sum(map(is_idle, plan))
    if not idle:
        return []
    where = "here" if idle == len(plan) else f"in {idle} of {len(plan)} runs"
    return [f"note: seed changes nothing {where}: {_WOULD}"]


def is_idle(planned: Planned) -> bool:
    """Whether a run with another seed would be a copy of this one."""
    trainer = planned.config["trainer"]
    own = planned.config.get(KEY) or {}
    return seed_is_idle(trainer.get("start"), trainer.get("grad_noise")) and own.keys().isdisjoint(_MAY_DRAW)
