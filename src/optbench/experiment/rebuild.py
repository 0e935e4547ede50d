"""A recorded network, built again to be evaluated or to predict.

A run folder is data. Its configuration must be the one that its identity was made from, every `_target_` in the parts
that are built must be named by the trusted conf tree, and a checkpoint is loaded as tensors only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.config import build, check_targets, trusted_targets
from optbench.errors import RecordError, UserError
from optbench.experiment.checkpoints import load_checkpoint
from optbench.records import Run, read_run, verify_identity
from optbench.records.belief import sums
from optbench.records.chosen import CHECKPOINTS, chosen
from optbench.records.vocabulary import as_now, kept_checkpoints

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from optbench.problem import AbstractData

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Evaluation:
    """What a recorded network does on a labelled split.

    Attributes:
        split: train, validation or test.
        n: number of images.
        loss: mean loss.
        accuracy: share of images whose predicted class is right.
        confusion: int64 (n_classes, n_classes): rows are true classes, columns predicted ones.
        class_names: in label order.
    """

    split: str
    n: int
    loss: float
    accuracy: float
    confusion: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def class_accuracy(self) -> list[float | None]:
        """Accuracy on the images of each class; None where the split has none."""
        totals = self.confusion.sum(axis=1)
        return [float(self.confusion[i, i] / n) if n else None for i, n in enumerate(totals)]


@dataclass(frozen=True)
class Rebuilt:
    """A recorded network with its data, ready to be used; `checkpoint` says with which weights."""

    run: Run
    model: nn.Module
    data: AbstractData
    loss: nn.Module
    device: Any
    checkpoint: str

    def outputs(self, images: Any) -> Any:
        """Outputs (n, n_outputs) for uint8 images (n, channels, image_size, image_size)."""
        from optbench.problem import network_outputs

        return network_outputs(self.model, images, self.device)

    def labels(self, outputs: Any) -> Any:
        """Predicted classes (n,)."""
        from optbench.problem import predicted_labels

        return predicted_labels(self.loss, outputs)


def rebuild(folder: Path, checkpoint: str | None = None, config_dirs: Sequence[Path] = ()) -> Rebuilt:
    """The network of a run folder with the weights of a checkpoint.

    Args:
        folder: of the run.
        checkpoint: best, last, or the number of an epoch whose weights trainer.keep_every kept; None: as `chosen` says.
        config_dirs: conf folders that are trusted beside the packaged one.

    Raises:
        RecordError: no such run, a changed configuration, an untrusted target, a missing or foreign checkpoint.
        UserError: the run is on a surface.
    """
    which = chosen(checkpoint, others=True)
    run = read_run(folder)
    config = as_now(run.config)
    verify_identity(run)
    if not config["data"].get("_target_"):
        raise UserError(f"{folder} is a run on a surface; there is nothing to predict", "give a network's run folder")
    trusted = trusted_targets(config_dirs)
    for part in ("model", "data", "loss"):
        check_targets(config[part], trusted, f"{folder}: {part}.")
    return _assemble(run, config, which, _weights_file(folder, which))


def _weights_file(folder: Path, checkpoint: str) -> Path:
    """The file of a checkpoint; RecordError where an epoch was not kept."""
    if not checkpoint.isdecimal():
        return folder / f"{checkpoint}.pt"
    kept = kept_checkpoints(folder)
    if int(checkpoint) in kept:
        return kept[int(checkpoint)]
    hint = (
        f"there are {', '.join([*CHECKPOINTS, *map(str, kept)])}"
        if kept
        else "none was kept: run again with trainer.keep_every=1 --force, or take best or last"
    )
    raise RecordError(f"{folder}: no checkpoint of epoch {int(checkpoint)}", hint)


def _assemble(run: Run, config: Mapping[str, Any], checkpoint: str, weights: Path) -> Rebuilt:
    import torch

    from optbench.device import pick_device

    device = pick_device("auto")
    model = build(config["model"], "model").to(device).to(memory_format=torch.channels_last)
    try:
        expected = sums(run.summary).get(weights.relative_to(run.path or weights.parent).as_posix())
        state = load_checkpoint(weights, device, expected)["model"]
        model.load_state_dict(state)
    except FileNotFoundError:
        hint = "the run ended before its first evaluation" if not run.status.final else "try the other --checkpoint"
        raise RecordError(f"{weights}: no such checkpoint", hint) from None
    except Exception as error:  # torch raises pickle's, zipfile's and its own errors: all mean "not these weights"
        first = str(error).strip().splitlines()[0]
        raise RecordError(
            f"{weights}: not a checkpoint of this model ({type(error).__name__}: {first[:120]})"
        ) from error
    data, loss = build(config["data"], "data"), build(config["loss"], "loss")
    return Rebuilt(run, model.eval(), data, loss, device, checkpoint)


def _check_classes(rebuilt: Rebuilt) -> None:
    if rebuilt.data.n_classes == 0:
        name = type(rebuilt.data).__name__
        raise UserError(f"{name} is a regression: there are no classes to tell apart",
                        "its validation loss is val_loss in metrics.csv")  # fmt: skip


def evaluate(rebuilt: Rebuilt, split: str = "validation") -> Evaluation:
    """Accuracy, loss and confusion matrix on a split. Raises UserError for a split without labels."""
    from optbench.problem import read_split

    if split not in SPLITS:
        raise UserError(f"--split {split}: expected {', '.join(SPLITS)}")
    _check_classes(rebuilt)
    part = read_split(rebuilt.data, split)
    if part.labels is None:
        raise UserError(f"the {split} split has no labels to compare with", "use optbench predict")
    outputs = rebuilt.outputs(part.images)
    loss = float(rebuilt.loss(outputs, part.labels).mean())
    predicted, true = rebuilt.labels(outputs).numpy(), part.labels.numpy()
    k = rebuilt.data.n_classes
    confusion = np.bincount(true * k + predicted, minlength=k * k).reshape(k, k)
    accuracy = float((predicted == true).mean())
    return Evaluation(split, len(part), loss, accuracy, confusion, rebuilt.data.class_names)


def predict(
    rebuilt: Rebuilt, folder: Path | None, progress: Callable[[int, int], None] | None = None
) -> list[tuple[str, int]]:
    """Predicted class of every image, in file order, as (file name, class).

    Args:
        rebuilt: the network.
        folder: images to classify; None: the data set's own test split.
        progress: told how many images are decoded.
    """
    from optbench.images import read_folder
    from optbench.problem import read_split

    _check_classes(rebuilt)
    if folder is None:
        part = read_split(rebuilt.data, "test")
        images, names = part.images, part.names
    else:
        images, names = read_folder(folder, rebuilt.data.image_size, rebuilt.data.channels, progress=progress)
    labels = rebuilt.labels(rebuilt.outputs(images))
    return list(zip(names, (int(v) for v in labels), strict=True))


def submission(predictions: Sequence[tuple[str, int]]) -> str:
    """The homework's submission file: a header, then one line per image in file order: four-digit Id, Category.

    The Id is the number that names the file (0001.jpg has 0001, as in the homework); where some name is not a number,
    files are numbered from 1.
    """
    stems = [Path(name).stem for name, _ in predictions]
    numbers = [int(s) for s in stems] if all(s.isdecimal() for s in stems) else range(1, len(stems) + 1)
    lines = (f"{number:04d},{label}\n" for number, (_, label) in zip(numbers, predictions, strict=True))
    return "Id,Category\n" + "".join(lines)
