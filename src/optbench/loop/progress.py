"""The state of a run while it runs, and its summary at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from optbench.records import Status

Row = dict[str, Any]
_OWN = ("val_loss", "val_accuracy")
"""Figures of an evaluation that have fields of their own."""


@dataclass
class Summary:
    """The summary of a run; every field is a column of the `runs` table.

    final_loss and best_loss are of the measure: on a surface the objective at the last iterate and at the best one; on
    a network the mean batch loss of the last epoch and of the best one. val_* are at the last iterate, best_val_* at
    the best evaluation: by the first metric (without metrics the accuracy), of equal ones, and without classes, that of
    the lower loss. `figures` are those of the other metrics, each a column of its name. compile_seconds, None where
    nothing is compiled, are no part of seconds; of a run that went on they are those of all its processes. evals are
    passes forward and backward, gradients backward passes of the objective, hessian_products backward passes through
    the graph of its gradient; None where there is no such graph.
    """

    status: Status = Status.COMPLETED
    reason: str = ""
    steps: int = 0
    evals: int = 0
    gradients: int | None = None
    hessian_products: int | None = None
    epochs: float | None = None
    seconds: float = 0.0
    compile_seconds: float | None = None
    final_loss: float | None = None
    best_loss: float | None = None
    best_step: int | None = None
    final_grad_norm: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    best_val_accuracy: float | None = None
    best_val_loss: float | None = None
    best_val_step: int | None = None
    target: float | None = None
    steps_to_target: int | None = None
    figures: dict[str, float] = field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """By column."""
        found = asdict(self)
        figures: dict[str, float] = found.pop("figures")
        return {**found, **figures}


@dataclass
class Progress:
    """Everything of the loop that must survive an interruption, beside the tensors."""

    step: int = 0
    evals: int = 0
    more_gradients: int = 0
    hessian_products: int | None = None
    idle_first: bool = False
    seconds: float = 0.0
    compile_seconds: float | None = None
    start_loss: float | None = None
    grad_norm: float | None = None
    measure: float | None = None
    best_measure: float = math.inf
    best_step: int | None = None
    plateau_measure: float = math.inf
    plateau_step: int = 0
    epoch_losses: list[float] = field(default_factory=list)
    val_loss: float | None = None
    val_accuracy: float | None = None
    best_val_loss: float = math.inf
    best_val_accuracy: float | None = None
    best_val_step: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    best_figures: dict[str, float] = field(default_factory=dict)
    judged_by: str = ""
    judged_sign: int = 1
    best_judged: float = -math.inf
    stale: int = 0
    target_step: int | None = None
    left_out: int = 0
    left_out_in_a_row: int = 0

    def __post_init__(self) -> None:
        """Of a checkpoint from before there were metrics, says what its best evaluation was judged by."""
        if self.judged_by or self.best_val_step is None:
            return
        of_classes = self.best_val_accuracy is not None
        self.judged_by, self.judged_sign = ("val_accuracy", 1) if of_classes else ("val_loss", -1)
        self.best_judged = -self.best_val_loss if self.best_val_accuracy is None else self.best_val_accuracy

    def judge(self, measure: float, plateau_delta: float) -> None:
        """Takes the measure of the current iterate into account: the best one so far, and since when nothing falls."""
        self.measure = measure
        if measure < self.best_measure:
            self.best_measure, self.best_step = measure, self.step
        enough = plateau_delta * abs(self.plateau_measure) if math.isfinite(self.plateau_measure) else 0.0
        if measure < self.plateau_measure - enough:
            self.plateau_measure, self.plateau_step = measure, self.step

    def evaluated(self, figures: Mapping[str, float], ranked_by: tuple[str, int]) -> bool:
        """Takes an evaluation at the current iterate into account; whether it is the best one so far: by the figure
        that it is ranked by, then by loss.

        Args:
            figures: columns of the evaluation.
            ranked_by: one of them, and 1 where large values are better, -1 where small ones are. One that is no number
                is worse than any; where there is none, it is the loss.
        """
        name, sign = ranked_by if ranked_by[0] in figures else ("val_loss", -1)
        self.judged_by, self.judged_sign = name, sign
        self.val_loss, self.val_accuracy = figures["val_loss"], figures.get("val_accuracy")
        self.figures = {key: value for key, value in figures.items() if key not in _OWN}
        now = -math.inf if math.isnan(figures[name]) else sign * figures[name]
        self.stale = 0 if now > self.best_judged else self.stale + 1
        if not (now, -self.val_loss) > (self.best_judged, -self.best_val_loss):
            return False
        self.best_val_accuracy, self.best_val_loss = self.val_accuracy, self.val_loss
        self.best_judged, self.best_figures, self.best_val_step = now, self.figures, self.step
        return True

    def summary(self, status: Status, reason: str, target: float | None, per_epoch: int | None = None) -> Summary:
        """The summary of the run so far, under this status.

        Args:
            status, reason: how it ended.
            target: trainer.target.
            per_epoch: updates in one pass over the data; None where there is none.
        """
        losses = self.epoch_losses
        return Summary(
            status=status,
            reason=reason,
            steps=self.step,
            evals=self.evals,
            gradients=self.evals + self.more_gradients,
            hessian_products=self.hessian_products,
            epochs=None if per_epoch is None else self.step / per_epoch,
            seconds=self.seconds,
            compile_seconds=self.compile_seconds,
            final_loss=sum(losses) / len(losses) if self.measure is None and losses else self.measure,
            best_loss=self.best_measure if math.isfinite(self.best_measure) else None,
            best_step=self.best_step,
            final_grad_norm=self.grad_norm,
            val_loss=self.val_loss,
            val_accuracy=self.val_accuracy,
            best_val_accuracy=self.best_val_accuracy,
            best_val_loss=self.best_val_loss if math.isfinite(self.best_val_loss) else None,
            best_val_step=self.best_val_step,
            target=target,
            steps_to_target=self.step if status is Status.TARGET_REACHED else self.target_step,
            figures={**self.figures, **{f"best_{name}": value for name, value in self.best_figures.items()}},
        )
