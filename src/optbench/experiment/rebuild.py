"""A recorded network, built again to be evaluated or to predict.

A run folder is data. Its configuration must be the one that its identity was made from, every `_target_` in the parts
that are built must be named by the trusted conf tree, and a checkpoint is loaded as tensors only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.config import build, check_targets, trusted_targets
from optbench.errors import RecordError, UserError, in_a_line
from optbench.experiment.checkpoints import load_checkpoint
from optbench.records import Run, check_own_run, read_run, verify_identity
from optbench.records.belief import sums
from optbench.records.chosen import CHECKPOINTS, chosen
from optbench.records.vocabulary import as_now, kept_checkpoints

if TYPE_CHECKING:
    from torch import nn

    from optbench.problem import AbstractAugmentation, AbstractData
    from optbench.problem.collating import Collator

SPLITS = ("train", "validation", "test")
NO_PROBABILITIES = "leave out --proba: the predictions are the numbers"
"""What to do where probabilities are asked of a regression."""


@dataclass(frozen=True)
class Rebuilt:
    """A recorded network, ready to be used.

    Attributes:
        run: its record.
        config: its configuration, in the form of today.
        model: with the weights of the checkpoint, in evaluation mode.
        loss: what it was trained under.
        device: where the model is.
        checkpoint: best, last, or an epoch.
        trusted: the targets that may be built, see `trusted_targets`.
    """

    run: Run
    config: Mapping[str, Any]
    model: nn.Module
    loss: nn.Module
    device: Any
    checkpoint: str
    trusted: frozenset[str]

    @cached_property
    def data(self) -> AbstractData:
        """The data set it was trained on, where its configuration says that it lies. Raises DataError if not there."""
        return self._data(self.config["data"])

    @property
    def has_root(self) -> bool:
        """Whether its data set is a folder."""
        return "root" in self.config["data"]

    def at(self, root: Path) -> AbstractData:
        """Its data set where it lies now: the folder that data.root was. Raises DataError if it is not there."""
        return self._data({**self.config["data"], "root": str(root)})

    def _data(self, node: Mapping[str, Any]) -> AbstractData:
        from optbench.problem.folds import KEYS, divided

        built: AbstractData = build({key: value for key, value in node.items() if key not in KEYS}, "data")
        return divided(built, node)

    @property
    def decay(self) -> float | None:
        """Of the moving average that its weights are (trainer.ema); None: they are those that were trained on."""
        found: float | None = self.config["trainer"].get("ema")
        return found

    def setting(self, name: str) -> Any:
        """A setting of its data, such as image_size. Raises UserError for data that have none of that name."""
        node = self.config["data"]
        if name not in node:
            raise UserError(f"data={self.config['choices']['data']} has no {name}, and no pictures to ask about",
                            "optbench evaluate and predict take a run folder alone, without --data")  # fmt: skip
        return node[name]

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """In label order: as the run recorded them, or as its data set has them; none of a regression."""
        recorded = self.run.provenance.get("class_names")
        return tuple(map(str, recorded)) if recorded else tuple(self.data.class_names)

    @cached_property
    def augmentation(self) -> AbstractAugmentation | None:
        """What its training images went through; None: nothing. Raises RecordError if it is not trusted."""
        check_targets(self.config["augment"], self.trusted, f"{self.run.path}: augment.")
        built: AbstractAugmentation | None = build(self.config["augment"], "augment")
        return built

    @cached_property
    def collator(self) -> Collator | None:
        """What makes batches of its rows; None: they are stacked. Raises RecordError if it is not trusted."""
        from optbench.experiment.assemble import collate_of
        from optbench.problem.collating import Collator

        if "collate" not in self.config:
            return None
        check_targets(self.config["collate"], self.trusted, f"{self.run.path}: collate.")
        return Collator(collate_of(self.config), self.data.n_classes)

    def outputs(self, images: Any, targets: Any = None) -> Any:
        """Outputs (n, n_outputs) for uint8 images (n, channels, image_size, image_size), and what other data have; see
        `problem.network_outputs`."""
        from optbench.problem import Ragged, network_outputs
        from optbench.problem.collating import stand_ins

        if targets is None and self.collator is not None and isinstance(self.data.load("train").targets, Ragged):
            targets = stand_ins(images)
        return network_outputs(self.model, images, self.device, self.collator, targets)

    def probabilities(self, images: Any) -> Any:
        """Probabilities (n, classes) float64 of images, see `problem.probabilities`."""
        from optbench.problem import probabilities

        return probabilities(self.loss, self.outputs(images), len(self.class_names))

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
    check_own_run(run)
    config = as_now(run.config)
    verify_identity(run)
    if not config["data"].get("_target_"):
        raise UserError(f"{folder} is a run on a surface; there is nothing to predict", "give a network's run folder")
    trusted = trusted_targets(config_dirs)
    for part in ("model", "data", "loss"):
        check_targets(config[part], trusted, f"{folder}: {part}.")
    return _assemble(run, config, which, _weights_file(folder, which), trusted)


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


def checkpoints(rebuilt: Rebuilt) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The step and the weights (as `model.state_dict` has them) of every checkpoint that a run kept: those of
    trainer.keep_every, best and last; loaded one at a time, on the CPU, several of one step where they are the same.

    Raises:
        RecordError: one that is not a checkpoint.
    """
    folder = rebuilt.run.path
    assert folder is not None
    expected = sums(rebuilt.run.summary)
    for file in (*kept_checkpoints(folder).values(), *(folder / f"{name}.pt" for name in CHECKPOINTS)):
        if not file.exists():
            continue
        try:
            state = load_checkpoint(file, "cpu", expected.get(file.relative_to(folder).as_posix()))
            step, weights = int(state["step"] if "step" in state else state["progress"]["step"]), state["model"]
        except Exception as error:  # as in _assemble
            raise RecordError(f"{file}: not a checkpoint of this run ({type(error).__name__})") from error
        yield step, weights


def _assemble(run: Run, config: Mapping[str, Any], checkpoint: str, weights: Path, trusted: frozenset[str]) -> Rebuilt:
    import torch

    from optbench.device import pick_device
    from optbench.experiment.assemble import base_of, is_mup, with_outputs
    from optbench.problem import as_loss
    from optbench.problem.mup import divide
    from optbench.problem.normal import normalise

    device = pick_device("auto")
    model = build(with_outputs(config["model"], _outputs(run, config)), "model").to(device)
    if is_mup(config):
        divide(model, base_of(config, _outputs(run, config)))
    try:
        expected = sums(run.summary).get(weights.relative_to(run.path or weights.parent).as_posix())
        state = load_checkpoint(weights, device, expected)["model"]
        if config["trainer"].get("normalize"):
            normalise(model, state["input_mean"], state["input_deviation"])
        model.load_state_dict(state)
        model = model.to(memory_format=torch.channels_last)
    except FileNotFoundError:
        hint = "the run ended before its first evaluation" if not run.status.final else "try the other --checkpoint"
        raise RecordError(f"{weights}: no such checkpoint", hint) from None
    except Exception as error:  # torch raises pickle's, zipfile's and its own errors: all mean "not these weights"
        raise RecordError(f"{weights}: not a checkpoint of this model ({in_a_line(error)[:160]})") from error
    return Rebuilt(run, config, model.eval(), as_loss(build(config["loss"], "loss")), device, checkpoint, trusted)


def _outputs(run: Run, config: Mapping[str, Any]) -> int | None:
    """The number of outputs that the run recorded where its configuration left it to the data."""
    found: int | None = config.get("n_outputs") or run.provenance.get("n_outputs")
    return found


def check_classes(rebuilt: Rebuilt, hint: str = "its validation loss is val_loss in metrics.csv") -> None:
    """Raises UserError for a regression."""
    classes = rebuilt.config["data"].get("n_classes")
    check_n_classes(rebuilt.config, rebuilt.data.n_classes if classes is None else classes, hint)


def check_n_classes(config: Mapping[str, Any], n_classes: int | None, hint: str) -> None:
    """Raises UserError where a configuration's data are known to be a regression; None: not known."""
    if n_classes == 0:  # of those whose configuration says it the data are not asked: they may have moved
        name = str(config["data"].get("_target_")).rpartition(".")[2]
        raise UserError(f"{name} is a regression: there are no classes to tell apart", hint)
