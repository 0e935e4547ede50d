"""What a schedule will not do within the run: milestones past its end, a warm-up that is longer. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optbench.settings import shown

_KNOWN = ("torch.optim.lr_scheduler.", "optbench.schedulers.")


def schedule_note(scheduler: Mapping[str, Any], steps: int) -> str | None:
    """A sentence where a schedule never acts within the run, or the run ends inside its warm-up; else None.

    Args:
        scheduler: node of the configuration; of other classes than torch's and this package's nothing is known.
        steps: updates of the run; its last one has the learning rate of t = steps - 1.
    """
    target = str(scheduler["_target_"])
    if not target.startswith(_KNOWN):
        return None
    name = target.rpartition(".")[2]
    keywords: dict[str, Any] = {key: steps if value is None else value for key, value in scheduler.items()}
    never = f"is not reached within {steps} update{'s' * (steps != 1)}: the learning rate never changes"
    if name == "StepLR" and abs(keywords["step_size"]) >= steps:
        return f"scheduler.step_size={keywords['step_size']} {never}"
    if name == "MultiStepLR" and not any(0 < mark < steps for mark in keywords["milestones"]):
        return f"scheduler.milestones={shown(keywords['milestones'])} {never}"
    if name == "ReduceLROnPlateau" and keywords.get("patience", 10) + 2 >= steps:
        return f"scheduler.patience={keywords.get('patience', 10)} {never}"
    if keywords.get("warmup_steps", 0) > steps:
        return (
            f"scheduler.warmup_steps={keywords['warmup_steps']}: the run ends after {steps} updates, inside the "
            "warm-up, while the rate still rises; a number below 1 is a share of the run"
        )
    return None


def note_of(config: Mapping[str, Any], made: int | None = None) -> str | None:
    """The note of a configuration: by trainer.steps, or by the updates `made`, once a run has shown how many its
    epochs are."""
    steps = config["trainer"].get("steps")
    if steps is None:
        steps = made
    return None if steps is None else schedule_note(config["scheduler"], steps)
