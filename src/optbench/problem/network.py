"""A network as a problem: images decoded once, batches gathered by index, evaluation on the validation split.

The batch of update k is a function of (seed, k): the order of an epoch comes from (seed, "order", epoch), augmentation
from (seed, "augment", k), mixing from (seed, "mix", k), and what the model itself draws (dropout) from (seed, "model",
k). So a run that resumes at k sees what the uninterrupted one saw. With pseudo-labels (`problem.pseudo`) a batch is a
function of these too, which lie in the checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.parameter import is_lazy

from optbench.errors import DataError, IncompatibleError, UserError
from optbench.problem.base import (
    AbstractAugmentation,
    AbstractData,
    AbstractProblem,
    Batch,
    Guesses,
    Split,
    check_class_weights,
    moved,
    seed_torch,
    stream,
)
from optbench.problem.compiled import GRAPHS, Compiled
from optbench.problem.normal import channels, normalise
from optbench.problem.precision import Scaler, forward
from optbench.problem.pseudo import PseudoLabels, Taken
from optbench.problem.splits import read_split, scaled
from optbench.problem.streams import stream_seed

_EVALUATION_BATCH = 256
_SHARE_OF_GPU = 0.25
"""Part of a GPU's free memory that training images may take there."""
_COUNTED_TOGETHER = 64
"""Batches whose right answers are counted in one go."""
_KEPT_BYTES = 64 << 20
"""Validation images up to this size, as numbers, are kept as the model takes them."""


def convolves(model: nn.Module) -> bool:
    """Whether a model has weights of convolutions, which are faster channels last, on CPU and GPU."""
    return any(is_lazy(weights) or weights.ndim == 4 for weights in model.parameters())


def to_inputs(images: Tensor, device: torch.device, channels_last: bool) -> Tensor:
    """Images (n, c, h, w) as `scaled` in float32 on the device, channels last where that is asked for."""
    inputs = scaled(moved(images, device), torch.float32)
    if channels_last and inputs.ndim == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


def _guesses(labelled: int, n: int, order: Tensor | None, weight: float) -> Guesses:
    """That of n labels those after the labelled ones are guesses; `order`: what each image is mixed with."""
    guessed = torch.arange(n) >= labelled
    return Guesses(guessed, None if order is None else guessed.index_select(0, order), weight)


def label_rule(loss: nn.Module) -> Callable[[Tensor], Tensor]:
    """How outputs (n, n_outputs) become labels (n,): the loss's own rule where it has one, else the largest output."""
    predict: Callable[[Tensor], Tensor] | None = getattr(loss, "predict", None)
    return predict or (lambda outputs: outputs.argmax(dim=-1))


def predicted_labels(loss: nn.Module, outputs: Tensor) -> Tensor:
    """Labels (n,) from outputs (n, n_outputs), by the loss's `label_rule`."""
    return label_rule(loss)(outputs)


def probabilities(loss: nn.Module, outputs: Tensor, n_classes: int) -> Tensor:
    """Probabilities of classes, (n, n_classes) float64, from outputs (n, n_outputs): their softmax, or all on one class
    where the loss reads classes from outputs in its own way."""
    if getattr(loss, "predict", None) is None:
        return torch.softmax(outputs.double(), dim=-1)
    return one_hot(predicted_labels(loss, outputs), n_classes).double()


def network_outputs(model: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """The model's outputs in evaluation mode: uint8 (n, c, h, w) -> (n, n_outputs), on the CPU."""
    return _outputs(model, _inputs(model, images, device))


def _inputs(model: nn.Module, images: Tensor, device: torch.device) -> Iterator[Tensor]:
    """Images as the model takes them, a batch of an evaluation at a time."""
    channels_last = convolves(model)
    return (to_inputs(part, device, channels_last) for part in images.split(_EVALUATION_BATCH))


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Iterable[Tensor]) -> Tensor:
    """The model's outputs of these batches in evaluation mode, (n, n_outputs), on the CPU."""
    training = model.training
    model.eval()
    parts = [model(part) for part in inputs]
    model.train(training)
    return torch.cat(parts).cpu()


class _Evaluated:
    """The images that every evaluation is of, made into numbers once where they are few.

    Args:
        model: that is evaluated.
        images: (n, c, h, w).
        device: where to compute.
    """

    def __init__(self, model: nn.Module, images: Tensor, device: torch.device) -> None:
        self._model, self._images, self._device = model, images, device
        self._kept: list[tuple[Tensor, int]] = []
        self._may_keep = images.numel() * torch.float32.itemsize <= _KEPT_BYTES

    def outputs(self) -> Tensor:
        """The model's outputs now, (n, n_outputs), on the CPU."""
        if not self._may_keep:
            return network_outputs(self._model, self._images, self._device)
        if not self._kept:
            made = _inputs(self._model, self._images, self._device)
            self._kept = [(part, part._version) for part in made]
        outputs = _outputs(self._model, (part for part, _ in self._kept))
        if any(part._version != version for part, version in self._kept):  # the model writes into its inputs
            self._may_keep, self._kept = False, []
        return outputs


def _check_parts(data: AbstractData, loss: nn.Module, pseudo: PseudoLabels | None) -> None:
    """Raises DataError for data that augment by themselves, IncompatibleError for pseudo-labels of no probabilities."""
    if callable(getattr(type(data), "augment", None)):
        raise DataError(
            f"{type(data).__name__}.augment is not called: data sets do not augment",
            "make it the __call__ of an optbench.AbstractAugmentation, chosen by augment=...",
        )
    if pseudo is not None and (data.n_classes == 0 or getattr(loss, "predict", None) is not None):
        why = f"pseudo-labels are taken by the probabilities of classes, and {type(loss).__name__} has none"
        raise IncompatibleError(why, "leave out trainer.unlabelled, or use loss=cross_entropy")


class NetworkProblem(AbstractProblem):
    """A model trained on images under a loss; without classes, in a regression, losses are all that is kept.

    Args:
        model: float (b, c, h, w) to outputs (b, n_outputs).
        data: the images.
        loss: (outputs (b, n_outputs), labels (b,)) to (b,).
        batch_size: images an update sees, or "full".
        seed: root seed of the run.
        device: where to compute.
        augmentation: of the training batches; None: they are trained on as they are.
        normal: whether the model's inputs have mean 0 and deviation 1 on the training images, channel by channel.
        accumulate: mini-batches of batch_size images that an update sees, one after another; of "full", parts.
        precision: of the passes of the training, see `problem.precision`.
        compiled: whether those passes are compiled, see `problem.compiled`; "graphs": and repeated as CUDA graphs.
        pseudo: unlabelled pictures that join the training; None: there are none.

    Raises:
        IncompatibleError: pseudo-labels without probabilities of classes to take them by.
        UserError: a batch larger than the training split.
        DataError: the data set augments by itself.
    """

    def __init__(
        self,
        model: nn.Module,
        data: AbstractData,
        loss: nn.Module,
        batch_size: int | str,
        seed: int,
        device: torch.device,
        augmentation: AbstractAugmentation | None = None,
        normal: bool = False,
        accumulate: int = 1,
        precision: str = "fp32",
        compiled: bool | str = False,
        pseudo: PseudoLabels | None = None,
    ) -> None:
        _check_parts(data, loss, pseudo)
        self._model: nn.Module = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.data, self.loss, self._seed, self._device = data, loss.to(device), seed, device
        self._labels, self._has_classes = label_rule(self.loss), data.n_classes > 0
        self.pseudo = pseudo
        n = len(self.train)
        if normal:
            normalise(self._model, *(part.to(device) for part in channels(self.train.images)))
        wanted = n if isinstance(batch_size, str) else batch_size * accumulate
        if wanted > n:
            together = f" times trainer.accumulate={accumulate}" if accumulate > 1 else ""
            raise UserError(
                f"trainer.batch_size={batch_size}{together} is larger than the {n} training images",
                "use trainer.batch_size=full for full-batch gradient descent",
            )
        if accumulate > n:
            raise UserError(f"trainer.accumulate={accumulate} is larger than the {n} training images")
        self.batch_size, self.mini_batch = wanted, -(-wanted // accumulate)
        whole, rest = divmod(n, self.batch_size)
        # a last batch of one image joins the batch before it: batch norm has no variance on one
        self._steps_per_epoch = whole + (rest > (1 if self.batch_size > 1 and whole else 0))
        self._check_shapes()
        self._precision = precision
        self._scaler = Scaler(self._model, device) if precision == "fp16" else None
        self._channels_last = convolves(self._model)
        self._compiled = Compiled(self._model, compiled == GRAPHS) if compiled else None
        self._augmentation = augmentation
        self._draws = False
        self._order: tuple[int, Tensor] = (-1, torch.empty(0, dtype=torch.long))
        self._correct = torch.zeros((), dtype=torch.long, device=device)
        self._seen = 0
        self._answers: list[tuple[Tensor, Tensor]] = []

    @cached_property
    def train(self) -> Split:
        """The training split."""
        return self._labelled("train")

    @cached_property
    def validation(self) -> Split:
        """The validation split."""
        return self._labelled("validation")

    @cached_property
    def _evaluated(self) -> _Evaluated:
        return _Evaluated(self._model, self.validation.images, self._device)

    def _labelled(self, name: str) -> Split:
        split = read_split(self.data, name)
        if split.labels is None or not len(split):
            raise UserError(f"the {name} split of {type(self.data).__name__} has no labelled images")
        return split

    def _check_shapes(self) -> None:
        """Sends one image through the model and the loss. Raises IncompatibleError where they do not fit."""
        assert self.train.labels is not None
        try:
            outputs = network_outputs(self._model, self.train.images[:1], self._device)
            check_class_weights(self.loss, outputs.shape[-1])
            self.loss.cpu()(outputs, self.train.labels[:1])
            self.loss.to(self._device)
        except (RuntimeError, ValueError, IndexError) as error:
            shape = "x".join(map(str, self.train.images.shape[1:]))
            first = str(error).strip().splitlines()[0]
            raise IncompatibleError(
                f"the model does not take {shape} images with {self.data.n_classes} classes: {first}",
                "change data.channels, data.image_size or the model",
            ) from error

    @property
    def module(self) -> nn.Module:
        return self._model

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.data.class_names)

    @property
    def steps_per_epoch(self) -> int:
        return self._steps_per_epoch

    @property
    def exact_gradient(self) -> bool:
        in_one = self.mini_batch == self.batch_size  # what batch norm makes of parts hangs on which images are in them
        whole = self.steps_per_epoch == 1 and in_one and self.pseudo is None
        return whole and self._augmentation is None and not self._draws

    def prepares(self, epoch: int) -> bool:
        return self.pseudo is not None and self.pseudo.rule.is_due(epoch)

    def begin_epoch(self, epoch: int) -> None:
        if self.pseudo is not None:
            outputs = network_outputs(self._model, self.pseudo.images, self._device)
            self.pseudo.make(epoch, probabilities(self.loss, outputs, self.data.n_classes))

    def batch(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        images, labels = self._source
        if self._order[0] != epoch:
            order = torch.randperm(len(self.train), generator=stream(self._seed, "order", epoch))
            self._order = (epoch, moved(order, images.device))
        last = position == self.steps_per_epoch - 1
        start = position * self.batch_size
        index = self._order[1].narrow(0, start, len(self.train) - start if last else self.batch_size)
        images, labels = images.index_select(0, index), labels.index_select(0, index)
        taken = self._taken(epoch, position)
        if taken is not None:
            images = torch.cat([images, moved(taken.images, images.device)])
            labels = torch.cat([labels, moved(taken.labels, labels.device)])
        images = self._augmented(images, step)
        seed_torch(stream_seed(self._seed, "model", step), self._device)
        inputs = to_inputs(images, self._device, self._channels_last)
        mixture = None
        if self._augmentation is not None:
            mixture = self._augmentation.mixed(inputs, stream(self._seed, "mix", step))
        mixed = None if mixture is None else mixture.order
        guesses = None if taken is None else _guesses(len(index), len(labels), mixed, taken.weight)
        if mixture is None:
            return Batch(inputs, moved(labels, self._device), guesses=guesses)
        others = moved(labels.index_select(0, moved(mixture.order, labels.device)), self._device)
        return Batch(mixture.inputs, moved(labels, self._device), others, mixture.share, guesses)

    def _taken(self, epoch: int, position: int) -> Taken | None:
        """Pictures with pseudo-labels that an update sees beside the labelled ones."""
        if self.pseudo is None:
            return None
        return self.pseudo.taken(epoch, position, self.steps_per_epoch, self.batch_size)

    @cached_property
    def _source(self) -> tuple[Tensor, Tensor]:
        """The training images and their labels, where batches are put together: on a GPU that has room for them, else
        on the CPU. There, with the order of an epoch, nothing goes to the GPU at an update."""
        images, labels = self.train.images, self.train.labels
        assert labels is not None
        takes_them_there = self._augmentation is None or self._augmentation.on_device
        if self._device.type != "cuda" or not takes_them_there:
            return images, labels
        free, _ = torch.cuda.mem_get_info(self._device)
        if images.numel() * images.element_size() >= free * _SHARE_OF_GPU:
            return images, labels
        return images.to(self._device), labels.to(self._device)

    def _augmented(self, images: Tensor, step: int) -> Tensor:
        """The images of a batch as update `step` sees them. Raises DataError where they are no longer such images."""
        if self._augmentation is None:
            return images
        seed_torch(stream_seed(self._seed, "augment, global", step), self._device)
        before = len(images), images.dtype
        if self._augmentation.on_device:
            images = moved(images, self._device)
        made = self._augmentation(images, stream(self._seed, "augment", step))
        if not isinstance(made, Tensor) or (len(made), made.dtype) != before:
            is_tensor = isinstance(made, Tensor)
            what = f"{made.dtype} of shape {tuple(made.shape)}" if is_tensor else f"a {type(made).__name__}"
            raise DataError(f"{type(self._augmentation).__name__} made {what} of {before[0]} images ({before[1]})",
                            "an augmentation gives as many images of the same dtype")  # fmt: skip
        return made

    def differentiate(self, batch: Batch) -> Tensor:
        if self.mini_batch == self.batch_size and self._scaler is None:
            return super().differentiate(batch)
        whole = torch.zeros((), device=self._device)
        for piece in batch.pieces(self.mini_batch):
            loss = self.objective(piece) * (piece.mass / batch.mass)
            (loss if self._scaler is None else self._scaler.scaled(loss)).backward()
            whole += loss.detach()
        if self._scaler is not None:
            self._scaler.unscale()
        return whole

    def objective(self, batch: Batch) -> Tensor:
        outputs = self._watched(batch.inputs) if self.exact_gradient else self._forward(batch.inputs)
        if self._has_classes:
            self._note(outputs, batch)
        losses: Tensor = self.loss(outputs, batch.targets)
        # of a soft label cross-entropy is this mean; of other losses it is the meaning
        others = None if batch.others is None else self.loss(outputs, batch.others)
        if batch.guesses is not None:
            weights = [moved(part, self._device) for part in batch.guesses.weights(batch.share)]
            sums = (losses * weights[0]).sum() + (0.0 if others is None else (others * weights[1]).sum())
            return sums / batch.mass
        if others is not None:
            losses = batch.share * losses + (1.0 - batch.share) * others
        return losses.mean()

    def _note(self, outputs: Tensor, batch: Batch) -> None:
        """Keeps what the network said of the labelled images, to be counted."""
        own = batch.others is None or batch.share >= 0.5
        labels = self._labels(outputs.detach()).detach()
        shown = batch.targets if own or batch.others is None else batch.others
        if batch.guesses is not None:
            guessed = batch.guesses.targets if own or batch.guesses.others is None else batch.guesses.others
            known = moved(torch.nonzero(~guessed).flatten(), self._device)
            labels, shown = labels.index_select(0, known), shown.index_select(0, known)
        self._answers.append((labels, shown))
        if len(self._answers) >= _COUNTED_TOGETHER:
            self._count()

    def _watched(self, inputs: Tensor) -> Tensor:
        """The model's outputs; and from the first draw on (dropout) it is known that a whole batch is random too."""
        before = self._generator.get_state()
        outputs = self._forward(inputs)
        self._draws = not self._generator.get_state().equal(before)
        return outputs

    def _forward(self, inputs: Tensor) -> Tensor:
        return forward(self._precision, self._compiled or self._model, inputs)

    def compile(self) -> float | None:
        if self._compiled is None:
            return None
        self._model.train()
        return self._compiled.warm_up(self._passes())

    def _passes(self) -> Iterator[Callable[[], Tensor]]:
        """A forward pass and loss for each shape of input that the training has, on its first and its last batch."""
        shapes = set()
        for step in dict.fromkeys((0, self.steps_per_epoch - 1)):
            batch = self.batch(step)
            whole = self.mini_batch == self.batch_size and self._scaler is None
            for piece in [batch] if whole else batch.pieces(self.mini_batch):
                if piece.inputs.shape not in shapes:
                    shapes.add(piece.inputs.shape)
                    yield partial(self._one_pass, piece)

    def _one_pass(self, batch: Batch) -> Tensor:
        mean: Tensor = self.loss(self._forward(batch.inputs), batch.targets).mean()
        return mean

    @property
    def _generator(self) -> torch.Generator:
        """The global generator from which code on this device draws."""
        if self._device.type == "cuda":
            index = self._device.index
            return torch.cuda.default_generators[torch.cuda.current_device() if index is None else index]
        return torch.default_generator

    def _count(self) -> None:
        """Counts the answers that were not counted yet."""
        if self._answers:
            labels, targets = (torch.cat(parts) for parts in zip(*self._answers, strict=True))
            self._answers.clear()
            self._correct += (labels == targets).sum()
            self._seen += len(targets)

    def epoch_figures(self) -> dict[str, float]:
        counted = self.counters()
        self.restore_counters({"seen": 0, "correct": 0})
        return {"train_accuracy": counted["correct"] / counted["seen"]} if counted["seen"] else {}

    def counters(self) -> dict[str, Any]:
        self._count()
        scale = {} if self._scaler is None else {"scale": self._scaler.state_dict()}
        pseudo = {} if self.pseudo is None else {"pseudo": self.pseudo.state()}
        return {"seen": self._seen, "correct": int(self._correct), **scale, **pseudo}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        if self._scaler is not None and "scale" in counters:
            self._scaler.load_state_dict(counters["scale"])
        if self.pseudo is not None and "pseudo" in counters:
            self.pseudo.restore(counters["pseudo"])
        self._answers.clear()
        self._seen = counters["seen"]
        self._correct.fill_(counters["correct"])

    def evaluate(self) -> dict[str, float]:
        outputs = self._evaluated.outputs()
        labels = self.validation.labels
        assert labels is not None
        loss = self.loss.cpu()(outputs, labels).mean().item()
        self.loss.to(self._device)
        if not self._has_classes:
            return {"val_loss": float(loss)}
        accuracy = (self._labels(outputs) == labels).double().mean().item()
        return {"val_loss": float(loss), "val_accuracy": float(accuracy)}
