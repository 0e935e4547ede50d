"""The words of a record: columns, statuses, and what makes two runs the same run."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from optbench.records.metrics import column_of
from optbench.records.shared import PerObject

NUMERICS = 1
"""Part of every run's identity: raised when the same configuration starts to give other numbers."""


@dataclass(frozen=True)
class CurveColumn:
    """A column of curves, in metrics.csv and in the `curves` table alike.

    Attributes:
        name: of the column.
        rule: what stands in it.
        of: which runs have it: "all", "network", "surface", "backward" (those whose optimizer differentiates in a way
            of its own), "curvature" (those with trainer.curvature_every), "metrics" (those with trainer.metrics), or
            "groups" (those with parameter groups of several learning rates).
        in_rows: under which name the engine that runs rows keeps it; None: the rows of a batch have no such column.
        whole: whether its numbers are whole.
    """

    name: str
    rule: str
    of: str = "all"
    in_rows: str | None = None
    whole: bool = False


_CURVE = (
    CurveColumn("step", "updates made before this iterate", in_rows="step", whole=True),
    CurveColumn("epoch", "passes over the training data before it", of="network"),
    CurveColumn("evals", "evaluations of objective and gradient before it", in_rows="step", whole=True),
    CurveColumn("gradients", "backward passes of the objective before it", of="backward", whole=True),
    CurveColumn(
        "hessian_products",
        "backward passes through the graph of the gradient before it: products with the Hessian",
        of="backward",
        whole=True,
    ),
    CurveColumn("seconds", "time of training before it; evaluation, records and checkpoints are not counted"),
    CurveColumn(
        "lr", "learning rate of the update that follows; of parameter group 0 where there are several", in_rows="lr"
    ),
    CurveColumn("loss", "objective at the iterate; on networks of the batch that the next update uses", in_rows="loss"),
    CurveColumn("grad_norm", "Euclidean norm of the gradient of that loss", in_rows="grad_norm"),
    CurveColumn("val_loss", "loss on the validation data, where it was evaluated", of="network"),
    CurveColumn(
        "val_accuracy",
        "share of the validation data that is classified correctly, where it was evaluated",
        of="network",
    ),
    CurveColumn("train_accuracy", "share of the training data of the epoch that ended", of="network"),
    CurveColumn("lambda_min", "least eigenvalue of the Hessian of the whole training objective", of="curvature"),
    CurveColumn("lambda_max", "its largest eigenvalue", of="curvature"),
    CurveColumn("full_grad_norm", "norm of the gradient of that objective", of="curvature"),
)
CURVE_COLUMNS = tuple(column.name for column in _CURVE if column.of in ("all", "network"))
WHOLE_COLUMNS = tuple(column.name for column in _CURVE if column.whole)
CURVATURE_COLUMNS = tuple(column.name for column in _CURVE if column.of == "curvature")
"""Further columns with trainer.curvature_every."""
RUN_COLUMNS = ("run_id", "sweep", "status", "reason", "model", "data", "loss_name", "optimizer", "scheduler", "seed",
               "engine", "device", "steps", "evals", "gradients", "hessian_products",
               "epochs", "seconds", "seconds_of", "compile_seconds",
               "final_loss", "best_loss", "best_step", "final_grad_norm", "val_accuracy", "target", "steps_to_target",
               "stopped_at", "critical_type", "lambda_min")  # fmt: skip
ROW_ENGINES = frozenset({"eager", "fused"})
"""Engines that execute runs as the rows of a batch. Rows share one clock: `seconds` is empty and `seconds_of` is
"batch", elsewhere "run"; what a batch took is in `provenance.batch`."""
MAX_COORDINATES = 10
"""Surfaces up to this dimension record their coordinates, x0 ... x9."""

NOT_IDENTITY = frozenset(
    {"trainer.device", "trainer.threads", "trainer.checkpoint_every", "trainer.keep_every", "trainer.unlabelled",
     "data.root", "data.on_bad", "data.download"}
)  # fmt: skip
"""Configuration keys that do not change what is computed, or name a place; data is identified by its fingerprint, which
says too which files of it are bad, and unlabelled pictures by `unlabelled.pseudo_labels`."""

_AUGMENTATIONS: Mapping[str, Mapping[str, Any]] = {
    "none": {"_target_": None},
    "flip_crop": {"_target_": "optbench.augment.flip_crop.FlipCrop"},
    "auto": {
        "_target_": "optbench.augment.each_image.EachImage",
        "transform": {"_target_": "torchvision.transforms.v2.AutoAugment"},
    },
}
"""What augmentation was called while it was a setting of the data, `data.augment`, and what it is now."""


def curve_columns(
    dim: int | None,
    network: bool,
    curvature: bool = False,
    rates: int = 1,
    backward: bool = False,
    metrics: Sequence[str] = (),
) -> tuple[CurveColumn, ...]:
    """The columns of the curve of a run, in order, whichever engine makes it.

    Args:
        dim: of the surface, whose coordinates follow up to MAX_COORDINATES; None: no coordinates.
        network: whether the model is a network.
        curvature: whether the run has trainer.curvature_every.
        rates: parameter groups whose learning rates are recorded each; those after the first stand last: lr1, lr2 ...
        backward: whether its optimizer differentiates in a way of its own (optimizer.protocol.backward).
        metrics: names in trainer.metrics; those without a column of their own have val_NAME.
    """
    has = {"network": network, "curvature": curvature, "backward": backward}
    kinds = {"all", *(kind for kind, holds in has.items() if holds)}
    count = dim if dim is not None and dim <= MAX_COORDINATES else 0
    place = (CurveColumn(f"x{i}", f"coordinate {i} of the iterate", "surface", f"x{i}") for i in range(count))
    further = (CurveColumn(f"lr{i}", f"learning rate of parameter group {i}", "groups") for i in range(1, rates))
    known = {column.name for column in _CURVE}
    judged = (
        CurveColumn(name, "that metric of the validation data, where it was evaluated", "metrics")
        for name in map(column_of, metrics)
        if name not in known
    )
    return (*(column for column in _CURVE if column.of in kinds), *judged, *place, *further)


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
    matters = {k: v for k, v in flatten(config).items() if k.partition(".")[0] != "choices"}
    text = json.dumps([numerics, data_fingerprint, _as_before(_matters(matters))], sort_keys=True, ensure_ascii=False)
    return _hashed(text)


class Identities:
    """`run_id` of many configurations: a part that they have in common, as the same object, is written down once.

    What is hashed is a JSON object of dotted keys in order, and the keys of a part stand together in it.
    """

    def __init__(self) -> None:
        self._parts: dict[str, PerObject[_Lines]] = {}
        self._of_data: dict[tuple[int, int], tuple[Any, _Lines]] = {}

    def __call__(self, config: Mapping[str, Any], data_fingerprint: str | None = None, numerics: int = NUMERICS) -> str:
        """Arguments as of run_id."""
        lines = list(self._data(config))
        for part, node in config.items():
            if part in ("choices", "data", "augment"):
                continue
            if not isinstance(node, Mapping):
                lines += _lines({part: node})
                continue
            if part not in self._parts:
                self._parts[part] = PerObject(functools.partial(_part_lines, part))
            lines += self._parts[part](node)
        head = json.dumps([numerics, data_fingerprint], ensure_ascii=False)[:-1]
        text = f"{head}, {{{', '.join(line for _, line in sorted(lines))}}}]"
        return _hashed(text)

    def _data(self, config: Mapping[str, Any]) -> _Lines:
        """Of data and augmentation, which are one where they were one."""
        pair = {part: config[part] for part in ("data", "augment") if part in config}
        key = id(pair.get("data")), id(pair.get("augment"))
        if key not in self._of_data:
            flat = _as_before(_matters(flatten(pair)))
            self._of_data[key] = pair, [line for part in pair for line in _lines(_below(flat, part))]
        return self._of_data[key][1]


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


_Lines = list[tuple[str, str]]
"""The first key of some that stand together, and their text."""


def _part_lines(part: str, node: Mapping[str, Any]) -> _Lines:
    return _lines(flatten({part: node}))


def _lines(flat: Mapping[str, Any]) -> _Lines:
    kept = _matters(flat)
    return [(min(kept), json.dumps(kept, sort_keys=True, ensure_ascii=False)[1:-1])] if kept else []


def _below(flat: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {key: value for key, value in flat.items() if key == part or key.startswith(f"{part}.")}


def _matters(flat: Mapping[str, Any]) -> dict[str, Any]:
    off = (key for key, values in _OFF.items() if flat.get(key) in values)
    wraps = ((key, _OFF.get(f"optimizer.{key.split('.', 2)[-1]}", ())) for key in flat if key.startswith("wrap."))
    off_too = (key for key, values in wraps if flat[key] in values)
    left_out = NOT_IDENTITY.union(off, off_too, _PSEUDO if flat.get("trainer.unlabelled") is None else ())
    if _is_packaged(flat.get("data._target_")):
        left_out = left_out.union(("data.path",))  # a place; the file counts by its content, see sources
    return {key: value for key, value in flat.items() if key not in left_out}


_OFF: Mapping[str, tuple[Any, ...]] = {
    "model.instance": (None,),
    "model.dropout": (None,),
    "trainer.clip_norm": (None,),
    "trainer.ema": (None,),
    "trainer.nan": (None, "stop"),
    "trainer.precision": (None, "fp32"),
    "trainer.compile": (None, False),
    "trainer.stochastic_depth": (None, 0),
    "trainer.deterministic": (None, False),
    "trainer.patience": (None,),
    "trainer.metrics": (None, ["accuracy"]),
    "trainer.normalize": (None, False),
    "trainer.accumulate": (None, 1),
    "trainer.target_val_loss": (None,),
    "trainer.stop_at_target": (True,),
    "trainer.mup_base": (None,),
    "trainer.engine": (None, "auto"),
    "optimizer.protocol": (None, {}),
    "optimizer.protocol.closure": ("auto",),
    "optimizer.protocol.backward": ("plain",),
    "optimizer.protocol.draws": ("fresh",),
    "optimizer.protocol.statistics": ("every",),
    "optimizer.protocol.modes": (None,),
    "optimizer.protocol.batch_norm": (0,),
    "optimizer.protocol.after_step": (None,),
    "optimizer.protocol.extra_every": (None,),
    "optimizer.protocol.extra_call": ("update_hessian",),
    "optimizer.protocol.rows_as": (None,),
    "optimizer.protocol.layout": ("any",),
    "optimizer.protocol.first_step": ("moves",),
}
"""Settings that came later, with the values that do nothing: the runs of before are those of now."""
_PSEUDO = tuple(f"trainer.pseudo_{name}" for name in ("threshold", "start", "every", "weight", "ramp"))
"""Settings that do nothing where no unlabelled pictures are named."""


def _as_before(matters: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with augmentation where it stood before it was a group: runs keep the identity that they had.

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


def settings_as_now(flat: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dotted settings of a recorded configuration under the names of today; a name that is unknown stays."""
    name = flat.get("data.augment")
    if not isinstance(name, str) or name not in _AUGMENTATIONS or not _is_packaged(flat.get("data._target_")):
        return flat
    rest = {key: value for key, value in flat.items() if key != "data.augment"}
    return {**rest, **flatten({"augment": _AUGMENTATIONS[name]})}


def summary_as_now(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """A summary without the swept name that a setting had before, where `settings_as_now` has renamed it."""
    if "data.augment" not in summary or "data.augment" in settings:
        return summary
    return {key: value for key, value in summary.items() if key != "data.augment"}


def _is_packaged(data: Any) -> bool:
    return str(data).startswith("optbench.data.")
