"""The words of a record: columns, statuses, and what makes two runs the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

NUMERICS = 1
"""Part of every run's identity: raised when the same configuration starts to give other numbers."""

CURVE_COLUMNS = ("step", "epoch", "evals", "seconds", "lr", "loss", "grad_norm", "val_loss", "val_accuracy",
                 "train_accuracy")  # fmt: skip
CURVATURE_COLUMNS = ("lambda_min", "lambda_max", "full_grad_norm")
"""Further columns with trainer.curvature_every: extreme eigenvalues of the Hessian and gradient norm, both of the whole
training objective."""
RUN_COLUMNS = ("run_id", "sweep", "status", "reason", "model", "data", "loss_name", "optimizer", "scheduler", "seed",
               "engine", "steps", "evals", "epochs", "seconds", "final_loss", "best_loss", "best_step",
               "final_grad_norm", "val_accuracy", "target", "steps_to_target", "stopped_at", "critical_type",
               "lambda_min")  # fmt: skip
MAX_COORDINATES = 10
"""Surfaces up to this dimension record their coordinates, x0 ... x9."""

NOT_IDENTITY = frozenset(
    {"trainer.device", "trainer.threads", "trainer.checkpoint_every", "trainer.keep_every", "data.root"}
)
"""Configuration keys that do not change what is computed, or name a place; data is identified by its fingerprint."""

_AUGMENTATIONS: Mapping[str, Mapping[str, Any]] = {
    "none": {"_target_": None},
    "flip_crop": {"_target_": "optbench.augment.flip_crop.FlipCrop"},
    "auto": {
        "_target_": "optbench.augment.each_image.EachImage",
        "transform": {"_target_": "torchvision.transforms.v2.AutoAugment"},
    },
}
"""What augmentation was called while it was a setting of the data, `data.augment`, and what it is now."""


class Status(StrEnum):
    """How a run ended; always with a reason."""

    COMPLETED = "completed"
    CONVERGED = "converged"
    TARGET_REACHED = "target_reached"
    DIVERGED = "diverged"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        """Whether running the same configuration again would only repeat it."""
        return self not in (Status.FAILED, Status.INTERRUPTED)


def kept_checkpoint(epoch: int) -> str:
    """Where the weights after so many epochs are kept (trainer.keep_every), within a run's folder, without suffix."""
    return f"checkpoints/epoch-{epoch:04d}"


def kept_checkpoints(folder: Path) -> dict[int, Path]:
    """The weights that a run's folder kept, by epoch, rising."""
    files = folder.glob("checkpoints/epoch-*.pt")
    found = {int(path.stem.removeprefix("epoch-")): path for path in files if path.stem[6:].isdecimal()}
    return dict(sorted(found.items()))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping to dotted keys: {"a": {"b": 1}} -> {"a.b": 1}. Lists and empty mappings are leaves."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, name + "."))
        else:
            flat[name] = value
    return flat


def run_id(config: Mapping[str, Any], data_fingerprint: str | None = None, numerics: int = NUMERICS) -> str:
    """Identity of a run: 12 hexadecimal digits of the SHA-256 of everything that affects its numbers.

    Args:
        config: the resolved configuration; keys in NOT_IDENTITY are left out, and so are the
            names of the choices: what they stand for is in the configuration itself.
        data_fingerprint: of the data folder, where the data is one.
        numerics: the NUMERICS that the run was made under.
    """
    matters = {k: v for k, v in flatten(config).items() if k not in NOT_IDENTITY and not k.startswith("choices.")}
    matters = _as_before(matters)
    text = json.dumps([numerics, data_fingerprint, matters], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _as_before(matters: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with augmentation where it stood before it was a group: the runs of then are those of now.

    The data sets that come with optbench named it; surfaces and data sets of the user's own had none.
    """
    augment = {key: value for key, value in matters.items() if key.startswith("augment.")}
    rest = {key: value for key, value in matters.items() if key not in augment}
    known = {name: flatten({"augment": node}) for name, node in _AUGMENTATIONS.items()}
    name = next((name for name, settings in known.items() if settings == augment), None)
    if name is not None and _is_packaged(matters.get("data._target_")):
        return {**rest, "data.augment": name}
    return rest if name == "none" else {**rest, **augment}


def as_now(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recorded configuration in the form of today; of the same run, see `run_id`."""
    if "augment" in config:
        return config
    data = dict(config["data"])
    name = data.pop("augment", "none") if _is_packaged(data.get("_target_")) else "none"
    return {**config, "data": data, "augment": _AUGMENTATIONS[name]}


def _is_packaged(data: Any) -> bool:
    return str(data).startswith("optbench.data.")
