"""How a run is carried out, typed; and the ranges that values must lie in. Everything here is checked without torch.

The trainer's settings are the closed part of the configuration, so they are dataclasses. The open parts (a model's, an
optimizer's keywords ...) are typed by the values in their YAML files; RANGES says which numbers make sense there.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from optbench.errors import ConfigError

SAMPLES = 20
"""Points that a sweep draws from intervals unless told otherwise."""


@dataclass(kw_only=True)
class Trainer:
    """Budget, stop rules and recording, common to surfaces and networks.

    Attributes:
        steps: updates to make; None on a network: as many as `epochs` are.
        seconds: budget of training time in seconds, evaluation not counted; None: no limit. Status `timed_out`.
        target: loss at which the run stops as `target_reached`; None: none.
        grad_tol: gradient norm at which the run stops as `converged`; 0: only an exactly zero one stops it. Applies
            where the gradient is that of the whole objective: full batch, no noise, no augmentation, no dropout.
        plateau_steps: stop as `converged` when the best loss fell by less than `plateau_delta` (relative) over so many
            steps; None: never.
        plateau_delta: see plateau_steps.
        divergence_factor: `diverged` when |loss| exceeds this times max(1, |loss at the start|), or is not finite.
        record_every: steps between rows of the curve; the first and the last step are always recorded.
        curvature_every: updates between measurements of the extreme eigenvalues of the Hessian and of the gradient of
            the whole training objective (columns lambda_min, lambda_max, full_grad_norm), off the clock; None: never.
        device: auto, cpu, cuda, cuda:0 ...
        threads: torch's threads; None: 1 on a surface, all cores on a network.
        engine: portable: of a run on a surface, the traced step with functions that have the same bits on every machine
            and in JavaScript (`descend.portable`), but for the factors of a schedule; part of the run's identity, since
            the last digits are its own. None, as auto: whatever is quickest.
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
    engine: str | None = None


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
        accumulate: mini-batches whose gradients, their mean over all images, make one update; a step is then that
            update of accumulate * batch_size images (with "full": of all images, in at most so many parts), an
            evaluation (`evals`) its whole gradient, an epoch all images once. A network without batch norm
            gets the numbers of one batch of that size, to rounding, in the memory of one mini-batch; its gradient
            counts as exact, for grad_tol, only where there is one mini-batch.
        clip_norm: norm to which a longer gradient is cut before the optimizer sees it; None: none is. The recorded
            gradient norm is that before.
        ema: factor by which the weights of an update count less after each later one, in an exponential moving average
            that every evaluation, and so the best checkpoint, patience and target_accuracy, is of. Checkpoints have it
            as `model` and the weights that are trained on as `trained`; the curve's loss, gradient and curvature are
            of the latter. None: no average.
        nan: what a loss or gradient that is not finite does. stop: the run ends as `diverged`. skip: that update is
            left out (weights, optimizer, average and batch norm's statistics stay; the step counts, the schedule goes
            on), and counted; losses that are not finite are not part of an epoch's mean. As many in a row as an epoch
            has, and 10 at least, end the run as `diverged` all the same. On a GPU, skip looks at every loss.
        precision: what the forward and backward passes of the training are computed in; weights, loss and evaluations
            are float32. fp32: torch's own choice, which on a GPU lets cuDNN's convolutions use TF32; tf32: matrix
            products too, on NVIDIA GPUs; bf16, fp16: under torch.autocast, refused on a CPU where short probes find
            an update slower so. fp16 scales the loss; an update whose gradient overflows is left out as by nan=skip.
        compile: true: the forward and backward passes of the training go through torch.compile before the first
            update, which takes `compile_seconds`, not part of `seconds`. Losses differ from uncompiled ones by rounding
            that grows, and dropout draws other numbers. A run that goes on is compiled again; it gets the uninterrupted
            run's bits where that gives the same code: on a CPU with the same torch, compiler and threads. graphs: and
            repeated as CUDA graphs, on an NVIDIA GPU.
        stochastic_depth: probability with which the last residual branch of the network is left out for an image of the
            training, less for those before it, in proportion to their depth. Models have it that are known to have such
            branches, or say so by `residual_branches()`. None, as 0: all stay.
        deterministic: true: only algorithms that give the same bits each time, on a GPU as on a CPU; an operation that
            has none ends the run. false: on a GPU the quickest, found by timing, so that a run that goes on, or one
            that is repeated, has the same batches and draws and other roundings. On a CPU runs repeat to the bit
            either way.
        patience: evaluations without a better value of the first metric that are waited for; one more ends the run as
            `converged`. None: it is never ended so.
        normalize: true: the network's inputs have mean 0 and deviation 1 in each channel on the training images, and
            later ones are measured by the same rule. None, as false: inputs are between 0 and 1.
        unlabelled: a folder or zip of pictures without labels that join the training under labels which the network
            gives them (`problem.pseudo`), or `test`: the test pictures of the data set. None: there are none.
        pseudo_threshold: probability of a class from which on it is taken for the label of such a picture.
        pseudo_start: epochs that are trained before the first time.
        pseudo_every: epochs until labels are made anew.
        pseudo_weight: weight of a picture with such a label in the loss of an update; a labelled one has 1.
        pseudo_ramp: epochs from pseudo_start on in which that weight still rises, in equal steps.
        target_accuracy: validation accuracy at which the run stops as `target_reached`; None: none.
        target_val_loss: validation loss at which it does; None: none.
        mup_base: {key: value}, settings of the model at which muP (`problem.mup`) is the standard parametrisation,
            such as {width: 32}: initial weights and rates of others follow from how much wider they are. None: no muP.
        stop_at_target: false: a run that meets its target goes on to its end, and the first step at which it was met
            is recorded all the same.
        metrics: names of metrics (`optbench list metric`) that each evaluation on the validation data computes beside
            the loss, columns val_NAME: the first says which evaluation is the best one, and so what best.pt and
            patience go by, and what runs are ranked by. One of the user's own is a YAML in metric/ of a --config-dir,
            or a node {_target_: ..., direction: max}. None: accuracy where the data have classes, else the loss alone.
            The accuracy of classes is computed in any case.
        eval_every: epochs between evaluations on the validation data; the last epoch is always evaluated.
        curvature_share: part of the training images that curvature is measured on; always the same ones.
        checkpoint_every: epochs between checkpoints from which a killed run goes on; None: they are written by time,
            seconds apart, and take a fiftieth of it at most. An interrupted run always writes one.
        keep_every: epochs between weights that are kept, the untrained ones among them, as checkpoints/epoch-0003.pt;
            None: none are kept. `--checkpoint 3` loads them.
    """

    steps: int | None = None
    epochs: int = 10
    batch_size: Any = 32
    accumulate: int = 1
    clip_norm: float | None = None
    ema: float | None = None
    nan: str = "stop"
    precision: str = "fp32"
    compile: Any = False
    stochastic_depth: float | None = None
    deterministic: bool = False
    patience: int | None = None
    normalize: bool | None = None
    unlabelled: str | None = None
    pseudo_threshold: float = 0.7
    pseudo_start: int = 1
    pseudo_every: int = 1
    pseudo_weight: float = 1.0
    pseudo_ramp: int = 0
    target_accuracy: float | None = None
    target_val_loss: float | None = None
    stop_at_target: bool = True
    mup_base: Any = None
    metrics: Any = None
    eval_every: int = 1
    curvature_share: float = 1.0
    checkpoint_every: int | None = None
    keep_every: int | None = None


def seed_is_idle(start: Any, grad_noise: float | None) -> bool:
    """Whether a run has no use for its seed: on a surface, from the usual start or a given one, without noise.

    Args:
        start: `trainer.start`; None of a network, which draws its weights and batches.
        grad_noise: `trainer.grad_noise`.
    """
    return start is not None and start != "random" and not grad_noise


Check = tuple[Callable[[Any], bool], str]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _word(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _one_of(*words: str) -> Check:
    return (lambda v: v in words, f"one of {', '.join(words)}")


_positive: Check = (lambda v: _number(v) and v > 0, "a positive number")
_not_negative: Check = (lambda v: _number(v) and v >= 0, "a number that is not negative")
_fraction: Check = (lambda v: _number(v) and 0 <= v < 1, "a number in [0, 1)")
_within: Check = (lambda v: _number(v) and 0 < v < 1, "a number between 0 and 1")
_share: Check = (lambda v: _number(v) and 0 <= v <= 1, "a number in [0, 1]")


def _widths(value: Any) -> bool:
    """Whether a value of the model is a width, or several."""
    return all(_whole(one) and one >= 1 for one in (value if isinstance(value, list) and value else [value]))


_count: Check = (lambda v: _whole(v) and v >= 1, "a whole number of at least 1")
MOST_THREADS = 1024
"""Threads of a run: far beyond this the system refuses to start them, and torch crashes."""

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
_switch: Check = (lambda v: isinstance(v, bool), "true or false")
_path: Check = (lambda v: isinstance(v, str) and bool(v) and "${" not in v, "a path, without ${ in it")
_columns: Check = (
    lambda v: _word(v) or (isinstance(v, list) and bool(v) and all(map(_word, v))),
    "the name of a column or array, or a list of names",
)
_weights: Check = (
    lambda v: isinstance(v, list) and len(v) >= 2 and all(_number(w) and w >= 0 for w in v) and any(v),
    "a list of numbers that are not negative, one per class",
)

RANGES: Mapping[str, Check] = {
    "seed": (lambda v: _whole(v) and 0 <= v < 2**63, "a whole number from 0 to 2^63 - 1"),
    "model.dim": _dimension,
    "model.instance": _count,
    "model.condition": _at_least_one,
    "model.l2": _not_negative,
    "model.third": _finite,
    "model.width": _count,
    "model.hidden": _counts,
    "data.image_size": _count,
    "data.root": _path,
    "data.on_bad": _one_of("error", "skip"),
    "data.n_classes": _from_zero,
    "data.n_targets": _count,
    "data.channels": (lambda v: _whole(v) and v in (1, 3), "1 or 3"),
    "data.validation_share": _within,
    "data.test_share": _fraction,
    "data.split_seed": _from_zero,
    "data.picture_seed": _from_zero,
    "data.path": _path,
    "data.target": _columns,
    "data.inputs": _columns,
    "data.weight": (lambda v: _word(v), "the name of a column of weights, or null"),
    "data.drop": (lambda v: isinstance(v, list) and all(map(_word, v)), "a list of names of columns"),
    "data.task": _one_of("classification", "regression"),
    "data.standardize": _switch,
    "data.download": _switch,
    "data.density": _count,
    "data.context": _count,
    "data.train_windows": _count,
    "data.validation_windows": _count,
    "data.test_windows": _count,
    "data.train_sentences": _count,
    "data.validation_sentences": _count,
    "data.test_sentences": _count,
    "data.text_seed": _from_zero,
    "data.signal_seed": (lambda v: _whole(v) and 0 <= v < 2**32, "a whole number from 0 to 4294967295"),
    "data.folds": (lambda v: _whole(v) and 2 <= v <= 1000, "a whole number from 2 to 1000"),
    "data.fold": _from_zero,
    "data.train_per_class": _count,
    "data.validation_per_class": _count,
    "data.n_test": _from_zero,
    "augment.parts": _count,
    "augment.mixup": _not_negative,
    "augment.cutmix": _not_negative,
    "augment.scale": (
        lambda v: isinstance(v, list) and len(v) == 2 and all(map(_number, v)) and 0 < v[0] <= v[1] <= 1,
        "a list of two shares above 0, the smaller one first",
    ),
    "augment.colour": _share,
    "augment.erasing": _share,
    "augment.deviation": _not_negative,
    "n_outputs": _from_zero,  # after what it refers to, as the next ones are: who set it is to be named
    "model.n_outputs": _count,
    "model.num_classes": _count,
    "model.in_channels": _count,
    "model.in_features": _count,
    "model.image_size": _count,
    "model.dropout": _share,
    "model.length": (lambda v: _whole(v) and v >= 5, "a whole number of at least 5"),
    "model.context": _count,
    "model.layers": _count,
    "model.heads": _count,
    "model.stochastic_depth_prob": _share,
    "loss.n_classes": (lambda v: _whole(v) and (v == 0 or v >= 2), "a whole number of at least 2, or 0 for unknown"),
    "loss.weight": _weights,
    "loss.alpha": (
        lambda v: isinstance(v, list) and len(v) >= 2 and all(_positive[0](w) for w in v),
        "a list of positive numbers, one per class, or null",
    ),
    "loss.reduction": (lambda v: v == "none", "none: the mean over a batch is taken outside"),
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
    "optimizer.dampening": _finite,
    **dict.fromkeys(
        (f"optimizer.{name}" for name in ("amsgrad", "nesterov", "centered", "maximize", "foreach", "fused")), _switch
    ),
    **dict.fromkeys((f"optimizer.{name}" for name in ("capturable", "differentiable")), _switch),
    "optimizer.decoupled_weight_decay": _switch,
    "optimizer.ns_steps": _count,
    "optimizer.max_iter": _count,
    "optimizer.max_eval": _count,
    "optimizer.history_size": _count,
    "optimizer.tolerance_grad": _not_negative,
    "optimizer.tolerance_change": _not_negative,
    **dict.fromkeys(("wrap.clip.norm", "wrap.clip.value", "wrap.swa.lr"), _positive),
    **dict.fromkeys(("wrap.agc.clipping", "wrap.agc.eps"), _positive),
    "wrap.sam.rho": _not_negative,
    "wrap.sam.adaptive": _switch,
    "wrap.lookahead.k": _count,
    "wrap.lookahead.alpha": _share,
    "wrap.ema.decay": _within,
    "wrap.swa.start": _share,
    "wrap.swa.every": _count,
    "scheduler.gamma": _positive,
    "scheduler.warmup_steps": (
        lambda v: _from_zero[0](v) or (isinstance(v, float) and 0 < v < 1),
        "a whole number of updates that is not negative, or a share of the run between 0 and 1",
    ),
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
    "scheduler.eps": _not_negative,
    "scheduler.last_epoch": (lambda v: _whole(v) and v == -1, "-1: a run begins at its beginning"),
    "trainer.steps": _count,
    "trainer.epochs": _count,
    "trainer.seconds": _positive,
    "trainer.target": _finite,
    "trainer.target_accuracy": _share,
    "trainer.target_val_loss": _finite,
    "trainer.stop_at_target": _switch,
    "trainer.mup_base": (
        lambda v: isinstance(v, Mapping) and bool(v) and all(map(_widths, v.values())),
        "settings of the model at the base width, such as {width: 32}",
    ),
    "trainer.accumulate": _count,
    "trainer.clip_norm": _positive,
    "trainer.ema": _within,
    "trainer.nan": _one_of("stop", "skip"),
    "trainer.precision": _one_of("fp32", "tf32", "bf16", "fp16"),
    "trainer.compile": (lambda v: v is True or v is False or v == "graphs", "true, false or graphs"),
    "trainer.stochastic_depth": _share,
    "trainer.deterministic": _switch,
    "trainer.normalize": _switch,
    "trainer.patience": _from_zero,
    "trainer.unlabelled": _path,
    "trainer.pseudo_threshold": (lambda v: _number(v) and 0 < v <= 1, "a number above 0 and at most 1"),
    "trainer.pseudo_start": _from_zero,
    "trainer.pseudo_every": _count,
    "trainer.pseudo_weight": _positive,
    "trainer.pseudo_ramp": _from_zero,
    "trainer.grad_tol": _not_negative,
    "trainer.plateau_steps": _count,
    "trainer.plateau_delta": _not_negative,
    "trainer.divergence_factor": (lambda v: _number(v) and v > 1, "a number above 1"),
    "trainer.record_every": _count,
    "trainer.curvature_every": _count,
    "trainer.curvature_share": (lambda v: _number(v) and 0 < v <= 1, "a number above 0 and at most 1"),
    "trainer.metrics": (
        lambda v: (
            isinstance(v, list) and bool(v) and all(_word(w) or (isinstance(w, dict) and "_target_" in w) for w in v)
        ),
        "a list of names, such as [accuracy,macro_f1]",
    ),
    "trainer.eval_every": _count,
    "trainer.checkpoint_every": _count,
    "trainer.keep_every": _count,
    "trainer.threads": _threads,
    "trainer.grad_noise": _not_negative,
    "trainer.engine": _one_of("auto", "portable"),
    "trainer.batch_size": (lambda v: v == "full" or _count[0](v), "a whole number of at least 1, or full"),
    "trainer.start": (
        lambda v: v in ("usual", "random") or (isinstance(v, list) and bool(v) and all(_number(w) for w in v)),
        "usual, random, or a list of finite coordinates such as [-1.2,1]",
    ),
}


_TWO_BETAS: Check = (
    lambda v: isinstance(v, list) and len(v) == 2 and all(_fraction[0](w) for w in v),
    "a list of numbers in [0, 1), two of them",
)

_KNOWN_CLASSES: Check = (
    lambda v: v is None or (_whole(v) and v >= 2),
    "a whole number of at least 2, or null for as many as there are",
)

NARROWER: Mapping[str, Mapping[str, Check]] = {
    **{
        f"torch.optim.{name}": {"optimizer.betas": _TWO_BETAS}
        for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SparseAdam")
    },
    "optbench.optimizers.nadam.NAdam": {"optimizer.betas": _TWO_BETAS},
    "optbench.optimizers.lion.Lion": {"optimizer.betas": _TWO_BETAS},
    "optbench.optimizers.muon.Muon": {
        "optimizer.betas": _TWO_BETAS,
        "optimizer.momentum": _share,
        "optimizer.ns_steps": (lambda v: _whole(v) and 1 <= v < 100, "a whole number from 1 to 99"),
    },
    "optbench.optimizers.book.book_momentum": {"optimizer.momentum": _fraction},
    "optbench.optimizers.book.book_rmsprop": {"optimizer.alpha": _fraction},
    "optbench.optimizers.book.book_adam": {"optimizer.alpha": _fraction},
    "optbench.optimizers.book.Book": {
        "optimizer.momentum": _fraction,
        "optimizer.alpha": _fraction,
        "optimizer.m": _one_of("gradient", "momentum", "sum", "mean"),
        "optimizer.sigma": _one_of("one", "adagrad", "rmsprop"),
    },
    "optbench.models.deep_sets.DeepSets": {"model.pool": _one_of("max", "mean")},
    "optbench.collate.pad.Pad": {
        "collate.value": (_number, "a number"),
        "collate.length": (lambda v: v is None or _count[0](v), "a whole number of at least 1, or null"),
        "collate.multiple": _count,
        "collate.beside": _one_of("mask", "lengths", "nothing"),
    },
    "optbench.surfaces.bbob.Bbob": {
        "model.function": (lambda v: _whole(v) and 1 <= v <= 24, "a whole number from 1 to 24"),
    },
    "optbench.models.mlp.MLP": {
        "model.dropout": (lambda v: v is None or _share[0](v), "a number in [0, 1]"),
    },
    "optbench.data.image_folder.ImageFolder": {"data.n_classes": _KNOWN_CLASSES},
    "optbench.data.torchvision_set.TorchvisionSet": {
        "data.n_classes": _KNOWN_CLASSES,
        "data.channels": (lambda v: v is None or (_whole(v) and v in (1, 3)), "1 or 3, or null for those that it has"),
        "data.image_size": (lambda v: v is None or _count[0](v), f"{_count[1]}, or null for that which it has"),
    },
    "optbench.data.diabetes.Diabetes": {"data.channels": (lambda v: _whole(v) and v == 10, "10")},
    "torch.optim.lr_scheduler.ConstantLR": {"scheduler.factor": _share},
    "torch.optim.lr_scheduler.ReduceLROnPlateau": {"scheduler.factor": _fraction},
}
"""For some targets: keys with another range than RANGES gives, or of which RANGES knows nothing."""

_NULL_IS_A_VALUE = frozenset(
    (
        "model.instance",
        "optimizer.max_eval",
        "optimizer.foreach",
        "optimizer.fused",
        "loss.alpha",
        "loss.weight",
        "data.root",
        "n_outputs",
        "data.inputs",
        "data.n_targets",
        "data.task",
        "data.weight",
        "model.n_outputs",
        "model.num_classes",
        "model.in_channels",
        "model.in_features",
        "collate.length",
        "model.image_size",
        "wrap.clip.norm",
        "wrap.clip.value",
        "wrap.swa.lr",
        "wrap.swa.every",
    )
) | {f"scheduler.{key}" for key in ("warmup_steps", "step_size", "T_max", "T_0", "total_steps", "total_iters")}
"""Keys of parts where null has a meaning: for a schedule, the length of the run; for sizes, what the data have."""

_PARTS = ("model", "data", "augment", "collate", "loss", "optimizer", "wrap", "scheduler")


def check_ranges(config: Mapping[str, Any]) -> None:
    """Checks every value of a resolved configuration that RANGES or NARROWER knows, as check_range does, and what they
    make together.

    Raises:
        ConfigError: naming the key, the value and what was expected.
    """
    if config["data"].get("n_classes") == 0 == config["model"].get("n_outputs"):
        if target_of(config, "data") == "":
            raise ConfigError("data=none: a network is trained on data", "choose some, such as data=digits")
        raise ConfigError("the data have numbers and no classes; the loss compares classes", "use loss=squared_error")
    own = {key: None for part in _PARTS for key in NARROWER.get(target_of(config, part), ())}
    for key in {**dict.fromkeys(RANGES), **own}:
        part, _, last = key.rpartition(".")
        node: Any = config
        for name in part.split(".") if part else ():
            node = node.get(name) if isinstance(node, Mapping) else None
        if key == "data.channels" and isinstance(node, Mapping) and node.get("image_size") == 1:
            continue  # a vector, of any length
        if isinstance(node, Mapping) and last in node:
            check_range(key, node[last], target_of(config, part))
    check_together(config)


def target_of(config: Mapping[str, Any], part: str) -> str:
    """The `_target_` of a part, or nothing."""
    node = config.get(part) if part else None
    return str(node.get("_target_") or "") if isinstance(node, Mapping) else ""


def check_range(key: str, value: Any, target: str = "") -> None:
    """Checks one value if RANGES, or NARROWER for its target, knows its key. Raises ConfigError.

    Null passes where it means "not set" (settings of the trainer that may be left out) or has a meaning of its own; a
    number, a switch or a list of a part cannot be null. What a class of anyone else means by alpha, layers or scale is
    its own affair: of a part that is neither torch's nor ours that alone is known which is read outside it.

    Args:
        key: dotted.
        value: as resolved.
        target: of the part that the key belongs to; some take less than others.
    """
    found = NARROWER.get(target, {}).get(key) or RANGES.get(key)
    part = key.partition(".")[0]
    if part in _PARTS and key not in _READ_OUTSIDE and target and not _is_known(part, target):
        return
    if found is None or (value is None and _may_be_null(key)):
        return
    if value is None and key in TO_BE_SAID:
        raise ConfigError(f"{key} is not set", TO_BE_SAID[key])
    holds, expected = found
    if not holds(value):
        raise ConfigError(f"{key}={shown(value)}: expected {expected}")


_KNOWN = ("torch.", "torchvision.", "optbench.")
_READ_OUTSIDE = frozenset(
    ("optimizer.lr", "data.n_classes", "data.n_targets", "data.folds", "data.fold", "model.n_outputs",
     "model.num_classes", "loss.reduction")
)  # fmt: skip
"""Keys of parts that mean the same whoever wrote the class: something else than the class goes by them."""
TO_BE_SAID = {
    "data.path": "name the file, or the folder: data.path=PATH",
    "data.target": "name the column that is to be learnt, or several: data.target=NAME",
}
"""Settings without which a part is nothing, null in its YAML, and what to do."""
_NEVER_NULL = ("seed", "trainer.batch_size", "trainer.start", "trainer.stop_at_target")


def _is_known(part: str, target: str) -> bool:
    """Whether RANGES has this class in mind where it speaks of a part; as models it has none of torch's layers."""
    return target.startswith(_KNOWN) and not (part == "model" and target.startswith("torch."))


def _may_be_null(key: str) -> bool:
    return key in _NULL_IS_A_VALUE or not (key in _NEVER_NULL or key.startswith(tuple(f"{p}." for p in _PARTS)))


def check_together(config: Mapping[str, Any]) -> None:
    """Checks values that are right by themselves and wrong beside each other. Raises ConfigError."""
    check_mup(config)
    check_schedule(config["scheduler"], config["trainer"].get("steps"))
    check_folds(config["data"])
    check_pseudo(config["trainer"], config["data"])
    optimizer, weight = config["optimizer"], config["loss"].get("weight")
    if optimizer.get("_target_") == "torch.optim.SGD" and optimizer.get("nesterov"):
        if not optimizer.get("momentum"):
            momentum = shown(optimizer.get("momentum", 0))
            raise ConfigError(
                f"optimizer.momentum={momentum}: expected a number above 0 beside optimizer.nesterov=true"
            )
        if optimizer.get("dampening"):
            raise ConfigError(
                f"optimizer.dampening={optimizer['dampening']}: expected 0 beside optimizer.nesterov=true"
            )
    outputs = config.get("n_outputs")
    is_known = _is_known("loss", target_of(config, "loss"))
    if isinstance(weight, list) and is_known and config["data"].get("_target_") and len(weight) != outputs:
        raise ConfigError(f"loss.weight={shown(weight)}: expected {outputs} numbers, one per class, not {len(weight)}")


MUP: Mapping[str, str] = MappingProxyType(
    {
        "torch.optim.SGD": "sgd",
        **{
            f"torch.optim.{name}": "adam"
            for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad")
        },
        "optbench.optimizers.nadam.NAdam": "adam",
        "optbench.optimizers.lion.Lion": "adam",
    }
)
"""Classes that the rules of muP are known for: sgd, updates are multiples of gradients; adam, updates are
of about the rate whatever the size of the gradient."""


def check_mup(config: Mapping[str, Any]) -> None:
    """Checks that a base of muP is one of the model, and its rules are of the optimizer. Raises ConfigError."""
    base, node = config["trainer"].get("mup_base"), config["optimizer"]
    if not base:
        return
    for key in base:
        if key not in config["model"]:
            model = config.get("choices", {}).get("model", "the model")
            known = [one for one in config["model"] if not one.startswith("_")]
            hint = did_you_mean(key, known) or f"its settings: {', '.join(known)}"
            raise ConfigError(f"trainer.mup_base.{key}: {model} has no '{key}'", hint)
    if (target := str(node.get("_target_"))) not in MUP:
        name = target.rpartition(".")[2]
        raise ConfigError(f"trainer.mup_base: the rules of muP are for SGD and Adam, and say nothing of {name}",
                          "e.g. optimizer=adam or momentum")  # fmt: skip
    if node.get("groups"):
        raise ConfigError("trainer.mup_base beside optimizer.groups: both divide the parameters", "leave one out")


def check_folds(data: Mapping[str, Any]) -> None:
    """Checks that settings of data name one fold of some, or none. Raises ConfigError."""
    folds, fold = data.get("folds"), data.get("fold")
    if folds is None and fold is None:
        return
    if data.get("_target_") is None:
        raise ConfigError("data.folds divides data, and a surface has none", "choose a network, such as model=hw3_cnn")
    if folds is None:
        raise ConfigError(f"data.fold={fold}: of how many folds?", f"data.folds=5 data.fold={fold}")
    if fold is None:
        raise ConfigError(f"data.folds={folds}: on which fold?",
                          f"optbench sweep runs all {folds}; one is data.folds={folds} data.fold=0")  # fmt: skip
    if fold >= folds:
        raise ConfigError(f"data.fold={fold}: expected 0 to {folds - 1}, one of data.folds={folds}")


PSEUDO: Mapping[str, Any] = MappingProxyType(
    {f.name: f.default for f in fields(NetworkTrainer) if f.name.startswith("pseudo_")}
)
"""Settings of pseudo-labels, with what they are where nothing is said."""


def check_pseudo(trainer: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Checks that pseudo-labels, where they are asked for, are classes, and fit the trainer. Raises ConfigError."""
    if trainer.get("unlabelled") is None:
        return
    asked = f"trainer.unlabelled={trainer['unlabelled']}"
    if data.get("n_classes") == 0:
        raise ConfigError(f"{asked}: pseudo-labels are classes, and the data have numbers", "leave it out")
    if trainer.get("compile"):
        compiled = f"trainer.compile={shown(trainer['compile'])}"
        raise ConfigError(f"{asked} beside {compiled}: what is compiled is for one size of batch, and these have many",
                          "leave out one of them")  # fmt: skip


def idle(trainer: Mapping[str, Any]) -> str | None:
    """The first setting of pseudo-labels that is not as it usually is, where there are no pictures for it; or None."""
    if trainer.get("unlabelled") is not None:
        return None
    return next((key for key, usual in PSEUDO.items() if trainer.get(key, usual) != usual), None)


def check_schedule(scheduler: Mapping[str, Any], steps: int | None) -> None:
    """Checks that a schedule of torch's divides by nothing within the run.

    Args:
        scheduler: node of the configuration.
        steps: updates of the run; None: not known yet.

    Raises:
        ConfigError: it does.
    """
    if scheduler.get("_target_") != "torch.optim.lr_scheduler.PolynomialLR" or not scheduler.get("power", 1) < 0:
        return
    end = scheduler.get("total_iters", 5)
    if end is None or (steps is not None and 0 < end <= steps):
        raise ConfigError(
            f"scheduler.power={scheduler['power']}: expected a number that is not negative",
            "the rate would be divided by 0 where the schedule ends, within the run",
        )


def shown(value: Any) -> str:
    """A value as typed on the command line: true, null, [1,2]."""
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


def by_engine(overrides: Sequence[str], engine: str) -> tuple[list[str], str]:
    """Overrides and engine as they are meant: `--engine portable` is a setting of the runs, part of their identity."""
    portable = engine == "portable"
    return ([*overrides, "trainer.engine=portable"], "auto") if portable else ([*overrides], engine)


def did_you_mean(word: str, known: Any, prefix: str = "", suffix: str = "?") -> str:
    """A hint with the closest known words, or an empty one."""
    near = difflib.get_close_matches(word.lower(), sorted(known), n=3, cutoff=0.6)
    return "did you mean: " + ", ".join(f"{prefix}{n}" for n in near) + suffix if near else ""
