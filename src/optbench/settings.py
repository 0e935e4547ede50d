"""How a run is carried out, typed; and the ranges that values must lie in. Everything here is checked without torch.

The trainer's settings are the closed part of the configuration, so they are dataclasses. The open parts (a model's, an
optimizer's keywords ...) are typed by the values in their YAML files; RANGES says which numbers make sense there.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from optbench.errors import ConfigError


@dataclass(kw_only=True)
class Trainer:
    """Budget, stop rules and recording, common to surfaces and networks.

    Attributes:
        steps: updates to make; None on a network: as many as `epochs` are.
        seconds: budget of training time in seconds, evaluation not counted; None: no limit. Status `timed_out`.
        target: loss at which the run stops as `target_reached`; None: none.
        grad_tol: gradient norm at which the run stops as `converged`; 0: only an exactly zero one stops it. Applies
            where the gradient is that of the whole objective: full batch, no noise.
        plateau_steps: stop as `converged` when the best loss fell by less than `plateau_delta` (relative) over so many
            steps; None: never.
        plateau_delta: see plateau_steps.
        divergence_factor: `diverged` when |loss| exceeds this times max(1, |loss at the start|), or is not finite.
        record_every: steps between rows of the curve; the first and the last step are always recorded.
        curvature_every: updates between measurements of the extreme eigenvalues of the Hessian and of the gradient of
            the whole training objective (columns lambda_min, lambda_max, full_grad_norm), off the clock; None: never.
        device: auto, cpu, cuda, cuda:0 ...
        threads: torch's threads; None: 1 on a surface, all cores on a network.
    """

    steps: int | None = 1000
    seconds: float | None = None
    target: float | None = None
    grad_tol: float = 0.0
    plateau_steps: int | None = None
    plateau_delta: float = 1e-6
    divergence_factor: float = 1e6
    record_every: int = 1
    curvature_every: int | None = None
    device: str = "auto"
    threads: int | None = None


@dataclass(kw_only=True)
class SurfaceTrainer(Trainer):
    """Settings of a run on a surface.

    Attributes:
        start: "usual" (the literature's), "random" (uniform in the domain, by seed) or the coordinates.
        start_anywhere: allow coordinates outside the surface's domain.
        grad_noise: standard deviation of Gaussian noise added to each gradient coordinate: stands in for the sampling
            noise of mini-batches.
    """

    steps: int = 1000
    start: Any = "usual"
    start_anywhere: bool = False
    grad_noise: float = 0.0


@dataclass(kw_only=True)
class NetworkTrainer(Trainer):
    """Settings of a run on a network.

    Attributes:
        epochs: passes over the training data.
        batch_size: 1 (SGD), n (mini-batch) or "full" (full-batch gradient descent).
        target_accuracy: validation accuracy at which the run stops as `target_reached`; None: none.
        eval_every: epochs between evaluations on the validation data; the last epoch is always evaluated.
        curvature_share: part of the training images that curvature is measured on; always the same ones.
        checkpoint_every: epochs between checkpoints from which an interrupted run goes on.
        keep_every: epochs between weights that are kept, the untrained ones among them, as checkpoints/epoch-0003.pt;
            None: none are. `--checkpoint 3` takes them up.
    """

    steps: int | None = None
    epochs: int = 10
    batch_size: Any = 32
    target_accuracy: float | None = None
    eval_every: int = 1
    curvature_share: float = 1.0
    checkpoint_every: int = 1
    keep_every: int | None = None


Check = tuple[Callable[[Any], bool], str]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_positive: Check = (lambda v: _number(v) and v > 0, "a positive number")
_not_negative: Check = (lambda v: _number(v) and v >= 0, "a number that is not negative")
_fraction: Check = (lambda v: _number(v) and 0 <= v < 1, "a number in [0, 1)")
_share: Check = (lambda v: _number(v) and 0 <= v <= 1, "a number in [0, 1]")
_count: Check = (lambda v: _whole(v) and v >= 1, "a whole number of at least 1")
MOST_THREADS = 1024
"""Threads of a run: far more than this and the system refuses them, which torch does not survive."""

_threads: Check = (lambda v: _whole(v) and 1 <= v <= MOST_THREADS, f"a whole number from 1 to {MOST_THREADS}")
_dimension: Check = (lambda v: _whole(v) and 1 <= v <= 1_000_000, "a whole number from 1 to 1000000")
_counts: Check = (
    lambda v: isinstance(v, list) and all(_count[0](w) for w in v),
    "a list of whole numbers of at least 1",
)
_fractions: Check = (
    lambda v: isinstance(v, list) and len(v) >= 2 and all(_fraction[0](w) for w in v),
    "a list of numbers in [0, 1), at least two",
)
_finite: Check = (_number, "a finite number")
_from_zero: Check = (lambda v: _whole(v) and v >= 0, "a whole number that is not negative")
_at_least_one: Check = (lambda v: _number(v) and v >= 1, "a number of at least 1")
_not_zero: Check = (lambda v: _number(v) and v != 0, "a number other than 0")

RANGES: Mapping[str, Check] = {
    "seed": (lambda v: _whole(v) and 0 <= v < 2**63, "a whole number from 0 to 2^63 - 1"),
    "n_outputs": (lambda v: _whole(v) and v >= 0, "a whole number that is not negative"),
    "model.dim": _dimension,
    "model.width": _count,
    "model.hidden": _counts,
    "data.image_size": _count,
    "data.n_classes": (lambda v: _whole(v) and v >= 0, "a whole number"),
    "data.channels": (lambda v: v in (1, 3), "1 or 3"),
    "loss.gamma": _not_negative,
    "loss.label_smoothing": _share,
    "optimizer.lr": _positive,
    "optimizer.momentum": _not_negative,
    "optimizer.betas": _fractions,
    "optimizer.beta1": _fraction,
    "optimizer.alpha": _share,
    "optimizer.rho": _share,
    "optimizer.eps": _not_negative,
    "optimizer.weight_decay": _not_negative,
    "optimizer.lr_decay": _not_negative,
    "optimizer.momentum_decay": _not_negative,
    "optimizer.initial_accumulator_value": _not_negative,
    "optimizer.etas": (
        lambda v: isinstance(v, list) and len(v) == 2 and all(map(_number, v)) and 0 < v[0] < 1 < v[1],
        "a list of two numbers, one in (0, 1) and one above 1",
    ),
    "optimizer.step_sizes": (
        lambda v: isinstance(v, list) and len(v) == 2 and all(map(_number, v)) and 0 < v[0] <= v[1],
        "a list of two positive numbers, the smaller one first",
    ),
    "optimizer.ns_steps": _count,
    "optimizer.max_iter": _count,
    "optimizer.max_eval": _count,
    "optimizer.history_size": _count,
    "optimizer.tolerance_grad": _not_negative,
    "optimizer.tolerance_change": _not_negative,
    "scheduler.gamma": _positive,
    "scheduler.warmup_steps": _from_zero,
    "scheduler.step_size": (lambda v: _whole(v) and v != 0, "a whole number other than 0"),
    "scheduler.milestones": (lambda v: isinstance(v, list) and all(map(_whole, v)), "a list of whole numbers"),
    "scheduler.T_max": _not_zero,
    "scheduler.T_0": _count,
    "scheduler.T_mult": _count,
    "scheduler.total_steps": _count,
    "scheduler.total_iters": (_whole, "a whole number"),
    "scheduler.power": _finite,
    "scheduler.eta_min": _finite,
    "scheduler.min_lr": _not_negative,
    "scheduler.min_factor": _share,
    "scheduler.factor": _not_negative,
    "scheduler.pct_start": _share,
    "scheduler.div_factor": _at_least_one,
    "scheduler.final_div_factor": _at_least_one,
    "scheduler.patience": _from_zero,
    "scheduler.cooldown": _from_zero,
    "scheduler.threshold": _not_negative,
    "trainer.steps": _count,
    "trainer.epochs": _count,
    "trainer.seconds": _positive,
    "trainer.target": _finite,
    "trainer.target_accuracy": _share,
    "trainer.grad_tol": _not_negative,
    "trainer.plateau_steps": _count,
    "trainer.plateau_delta": _not_negative,
    "trainer.divergence_factor": (lambda v: _number(v) and v > 1, "a number above 1"),
    "trainer.record_every": _count,
    "trainer.curvature_every": _count,
    "trainer.curvature_share": (lambda v: _number(v) and 0 < v <= 1, "a number above 0 and at most 1"),
    "trainer.eval_every": _count,
    "trainer.checkpoint_every": _count,
    "trainer.keep_every": _count,
    "trainer.threads": _threads,
    "trainer.grad_noise": _not_negative,
    "trainer.batch_size": (lambda v: v == "full" or _count[0](v), "a whole number of at least 1, or full"),
    "trainer.start": (
        lambda v: v in ("usual", "random") or (isinstance(v, list) and bool(v) and all(_number(w) for w in v)),
        "usual, random, or a list of finite coordinates such as [-1.2,1]",
    ),
}


_NULL_IS_A_VALUE = frozenset({"optimizer.max_eval"}) | {
    f"scheduler.{key}" for key in ("warmup_steps", "step_size", "T_max", "T_0", "total_steps", "total_iters")
}
"""Keys of parts where null says something: of a schedule, the length of the run."""


def check_ranges(config: Mapping[str, Any]) -> None:
    """Checks every value of a resolved configuration that RANGES knows, as check_range does.

    Raises:
        ConfigError: naming the key, the value and what was expected.
    """
    for key in RANGES:
        *heads, last = key.split(".")
        node = _at(config, heads)
        if isinstance(node, Mapping) and last in node:
            check_range(key, node[last])


def check_range(key: str, value: Any) -> None:
    """Checks one value if RANGES knows its key. Raises ConfigError.

    Null passes where it means "not set" (settings of the trainer and the data) or has a meaning of its own; a number
    or a list of a model, a loss, an optimizer or a schedule cannot be null.
    """
    if key not in RANGES or (value is None and _may_be_null(key)):
        return
    holds, expected = RANGES[key]
    if not holds(value):
        raise ConfigError(f"{key}={shown(value)}: expected {expected}")


def _may_be_null(key: str) -> bool:
    return key in _NULL_IS_A_VALUE or not key.startswith(("model.", "loss.", "optimizer.", "scheduler."))


def _at(config: Mapping[str, Any], names: Sequence[str]) -> Any:
    value: Any = config
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def shown(value: Any) -> str:
    """A value as one types it on the command line: true, null, [1,2]."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value).replace(" ", "") if isinstance(value, list | dict) else str(value)


def trainer_from(config: Mapping[str, Any]) -> SurfaceTrainer | NetworkTrainer:
    """The typed settings of a resolved configuration's `trainer` node. Raises ConfigError on a foreign key."""
    node = dict(config["trainer"])
    kind = NetworkTrainer if "batch_size" in node else SurfaceTrainer
    known = {f.name for f in fields(kind)}
    for key in node:
        if key not in known:
            raise ConfigError(f"'trainer' has no key '{key}'", did_you_mean(key, known, "trainer."))
    return kind(**node)


def did_you_mean(word: str, known: Any, prefix: str = "", suffix: str = "?") -> str:
    """A hint with the closest known words, or an empty one."""
    near = difflib.get_close_matches(word.lower(), sorted(known), n=3, cutoff=0.6)
    return "did you mean: " + ", ".join(f"{prefix}{n}" for n in near) + suffix if near else ""
