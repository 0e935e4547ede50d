"""Why a run ends: each rule looks at the current row and answers with a status and a reason, or with None."""

from __future__ import annotations

import math

from optbench.loop.progress import Progress, Row
from optbench.records import Status
from optbench.settings import NetworkTrainer, SurfaceTrainer

Trainer = SurfaceTrainer | NetworkTrainer
Verdict = tuple[Status, str]


def verdict(row: Row, p: Progress, trainer: Trainer, exact_gradient: bool) -> Verdict | None:
    """The first rule that ends the run at this row, in the order diverged, target, gradient, plateau, patience, clock.

    Args:
        row: the current row; rules about what is not in it yet stay silent.
        p: the run so far.
        trainer: the limits.
        exact_gradient: whether the gradient is that of the whole objective (no noise, no sampling): only then does a
            small one mean that nothing will move any more.
    """
    return (
        _diverged(row, p, trainer)
        or _at_target(row, p, trainer)
        or _at_rest(row, p, trainer, exact_gradient)
        or _on_plateau(p, trainer)
        or _out_of_patience(p, trainer)
        or _out_of_time(p, trainer)
    )


def by_measurement(row: Row, p: Progress, trainer: Trainer, exact_gradient: bool) -> bool:
    """Whether a rule about the loss or the gradient of this row ends the run; arguments as of `verdict`.

    By these rules a row is judged whose numbers are fetched when further updates were made.
    """
    return bool(_diverged(row, p, trainer) or _at_rest(row, p, trainer, exact_gradient))


def is_left_out(row: Row, trainer: Trainer) -> bool:
    """Whether the update of a row that was measured is not to be made: it is not finite, and the run goes on."""
    if not leaves_out(trainer):
        return False
    assert isinstance(trainer, NetworkTrainer)
    finite = math.isfinite(row["loss"])
    if finite and math.isfinite(row["grad_norm"]):
        return False
    return trainer.nan == "skip" or finite  # of fp16 a gradient that overflowed is no sign of divergence


def leaves_out(trainer: Trainer) -> bool:
    """Whether a run may leave out updates."""
    return isinstance(trainer, NetworkTrainer) and (trainer.nan == "skip" or trainer.precision == "fp16")


def _diverged(row: Row, p: Progress, trainer: Trainer) -> Verdict | None:
    loss = row.get("loss")
    if loss is None or is_left_out(row, trainer):
        return None
    if not math.isfinite(loss):
        return Status.DIVERGED, f"the loss became {loss} at step {p.step}"
    if not math.isfinite(row["grad_norm"]):
        return Status.DIVERGED, f"the gradient became {row['grad_norm']} at step {p.step} (loss {loss:.6g})"
    factor = trainer.divergence_factor
    if abs(loss) <= factor * max(1.0, abs(p.start_loss or 0.0)):
        return None
    words = "fell below minus" if loss < 0 else "rose above"
    return Status.DIVERGED, f"the loss {words} {factor:g} times the start's scale at step {p.step}: {loss:.6g}"


def _at_target(row: Row, p: Progress, trainer: Trainer) -> Verdict | None:
    """The target that is met at this row; of a run that goes on the first such step is noted, and nothing ends."""
    if isinstance(trainer, SurfaceTrainer) or trainer.stop_at_target:
        return _meets(row, p, trainer)
    if p.target_step is None and _meets(row, p, trainer) is not None:
        p.target_step = p.step
    return None


def _meets(row: Row, p: Progress, trainer: Trainer) -> Verdict | None:
    if trainer.target is not None and p.measure is not None and p.measure <= trainer.target:
        return Status.TARGET_REACHED, f"loss {p.measure:.6g} <= target {trainer.target:g} after {p.step} updates"
    wanted = trainer.target_accuracy if isinstance(trainer, NetworkTrainer) else None
    if wanted is not None and p.step and row.get("val_accuracy", -1.0) >= wanted:
        reason = f"validation accuracy {row['val_accuracy']:.4f} >= {wanted:g} after {p.step} updates"
        return Status.TARGET_REACHED, reason
    lowest = trainer.target_val_loss if isinstance(trainer, NetworkTrainer) else None
    if lowest is not None and p.step and row.get("val_loss", math.inf) <= lowest:
        return Status.TARGET_REACHED, f"validation loss {row['val_loss']:.6g} <= {lowest:g} after {p.step} updates"
    return None


def _at_rest(row: Row, p: Progress, trainer: Trainer, exact_gradient: bool) -> Verdict | None:
    norm = row.get("grad_norm")
    if norm is None or not norm <= trainer.grad_tol or not exact_gradient:
        return None
    return Status.CONVERGED, f"gradient norm {norm:.3g} <= {trainer.grad_tol:g} at step {p.step}"


def _on_plateau(p: Progress, trainer: Trainer) -> Verdict | None:
    steps = trainer.plateau_steps
    if steps is None or p.step - p.plateau_step < steps:
        return None
    delta = trainer.plateau_delta
    return Status.CONVERGED, f"the loss fell by less than {delta:g} (relative) over {steps} steps, at step {p.step}"


def _out_of_patience(p: Progress, trainer: Trainer) -> Verdict | None:
    patience = trainer.patience if isinstance(trainer, NetworkTrainer) else None
    if patience is None or p.stale <= patience:
        return None
    name = p.judged_by.removeprefix("val_")
    if name == "accuracy":
        stays = f"accuracy has not risen above {p.best_judged:.4f}"
    else:
        words = "risen above" if p.judged_sign > 0 else "fallen below"
        stays = f"{name} has not {words} {p.judged_sign * p.best_judged:.4g}"
    return Status.CONVERGED, f"validation {stays} in {p.stale} evaluations, after {p.step} updates"


def _out_of_time(p: Progress, trainer: Trainer) -> Verdict | None:
    if trainer.seconds is None or p.seconds < trainer.seconds:
        return None
    return Status.TIMED_OUT, f"{trainer.seconds:g} s of training time were spent after {p.step} updates"
