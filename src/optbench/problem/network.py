"""A network as a problem: examples read once, batches gathered by index, evaluation on the validation split.

The batch of update k is a function of (seed, k): the order of an epoch comes from (seed, "order", epoch), augmentation
from (seed, "augment", k), mixing from (seed, "mix", k), and what the model itself draws (dropout) from (seed, "model",
k). So a run that resumes at k sees what the uninterrupted one saw. Rows that differ in length are made into a batch by
a collate (`problem.collating`) after augmentation; a mean is then over real targets. With pseudo-labels
(`problem.pseudo`) a batch is a function of these too, which lie in the checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.parameter import is_lazy

from optbench.errors import DataError, IncompatibleError, UserError, first_line
from optbench.problem import trees
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
from optbench.problem.collating import Collate, Collator, check_ragged, check_repeats, picked
from optbench.problem.compiled import GRAPHS, Compiled
from optbench.problem.losses import check_values, row_losses, row_weights, tokenwise, weighted_mean
from optbench.problem.measures import MEASURES, Metric, columns, in_rows
from optbench.problem.normal import channels, normalise
from optbench.problem.precision import Scaler, forward
from optbench.problem.pseudo import PseudoLabels, Taken
from optbench.problem.ragged import Ragged
from optbench.problem.splits import is_pictures, noun, read_split, scaled
from optbench.problem.streams import stream_seed
from optbench.problem.trees import Tree

if TYPE_CHECKING:
    from optbench.problem.parallel import Parallel
    from optbench.problem.shares import Shares

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


def waits_for_sizes(model: nn.Module) -> bool:
    """Whether a model has lazy modules that saw no inputs yet."""
    return any(is_lazy(weights) for weights in (*model.parameters(), *model.buffers()))


def first_examples(data: AbstractData, collate: Collate | None = None) -> Tree:
    """Inputs of so few examples as say what form a data set has; what a collate makes of rows that differ in length."""
    train, few = read_split(data, "train"), slice(0, _few(data))
    inputs = trees.part_of(train.inputs, few)
    if collate is None:
        return inputs
    return Collator(collate, data.n_classes)(inputs, trees.part_of(train.targets, few)).inputs


def _few(data: AbstractData) -> int:
    return 1 if is_pictures(data) else 2


def give_sizes(model: nn.Module, few: Callable[[], Tree]) -> bool:
    """Lets lazy modules of a model see `first_examples`, as they would in `NetworkProblem`: then weights are drawn.
    Whether there were any.

    Raises what the model raises that does not take them.
    """
    if not waits_for_sizes(model):
        return False
    network_outputs(model, few(), torch.device("cpu"))
    return True


def to_inputs(inputs: Tree, device: torch.device, channels_last: bool) -> Tree:
    """Inputs as `scaled` in float32 on the device; images (n, c, h, w) channels last where that is asked for."""
    return trees.mapped(partial(_to_input, device=device, channels_last=channels_last), inputs)


def _to_input(images: Tensor, device: torch.device, channels_last: bool) -> Tensor:
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


def network_outputs(
    model: nn.Module, inputs: Tree, device: torch.device, collator: Collator | None = None, targets: Tree | None = None
) -> Any:
    """The model's outputs in evaluation mode, (n, ...) or a tree of such, on the CPU.

    Args:
        model: that is asked.
        inputs: of n examples, as `problem.Split` has them.
        device: where the model is.
        collator: makes batches of them; None: rows have one length. Outputs of positions then come as a Ragged, one of
            each that is no padding.
        targets: of the examples, or what `collating.stand_ins` makes; None: the outputs are of rows.
    """
    return _outputs(model, _inputs(model, inputs, device, collator, targets))


def collated_targets(split: Split, collator: Collator | None) -> Tree:
    """The targets of a split as evaluations compare with them: those of its batches, one after the other."""
    if collator is None:
        return split.targets
    parts = zip(*(trees.split(tree, _EVALUATION_BATCH) for tree in (split.inputs, split.targets)), strict=True)
    return trees.joined([collator(*part).targets for part in parts])


_Part = tuple[Tree, Tensor | None]
"""Inputs of a batch of an evaluation, and which positions of its outputs are real, see `problem.collating`."""


def _inputs(
    model: nn.Module, inputs: Tree, device: torch.device, collator: Collator | None = None, targets: Tree | None = None
) -> Iterator[_Part]:
    """Inputs as the model takes them, a batch of an evaluation at a time."""
    channels_last = convolves(model)
    of_rows: Iterator[Tree] = repeat(None) if targets is None else trees.split(targets, _EVALUATION_BATCH)
    for part, wanted in zip(trees.split(inputs, _EVALUATION_BATCH), of_rows, strict=False):
        if collator is None:
            yield to_inputs(part, device, channels_last), None
            continue
        made = collator(part, wanted)
        yield to_inputs(made.inputs, device, channels_last), made.real


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Iterable[_Part]) -> Any:
    """The model's outputs of these batches in evaluation mode, (n, ...) or a tree of such, on the CPU."""
    training = model.training
    model.eval()
    parts = [picked(trees.called(model, part), real) for part, real in inputs]
    model.train(training)
    if any(part is None for part in parts):
        raise TypeError(f"{type(model).__name__}.forward returns nothing")
    return trees.mapped(lambda part: part.cpu(), trees.joined(parts))


def _rows_of(values: Any) -> Any:
    """Outputs or targets as rows where they are of positions: the values of a Ragged; else as they are."""
    return values.values if isinstance(values, Ragged) else values


def _likely(outputs: Tensor) -> Tensor:
    """Probabilities of classes, float64, on the CPU."""
    return torch.softmax(outputs.detach().double(), dim=-1).cpu()


def _labels_drawn(likely: Tensor, batch: Batch, generator: torch.Generator) -> Tree:
    """Labels of a batch drawn from these probabilities, in the form of its targets."""
    drawn = torch.multinomial(likely.flatten(0, -2), 1, generator=generator)
    return trees.mapped(lambda targets: drawn.reshape(targets.shape), batch.targets)


class _Evaluated:
    """The inputs that every evaluation is of, made into numbers once where they are few.

    Args:
        model: that is evaluated.
        inputs: of n examples.
        device: where to compute.
        parallel: the processes that each compute a part; None: this is the only one.
        collator, targets: as of `network_outputs`.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tree,
        device: torch.device,
        parallel: Parallel | None = None,
        collator: Collator | None = None,
        targets: Tree | None = None,
    ) -> None:
        self._parallel, self._counts = parallel, [0]
        if parallel is not None:
            targets = None if targets is None else shared_out(targets, parallel)[0]
            inputs, self._counts = shared_out(inputs, parallel)
        self._model, self._inputs, self._device = model, inputs, device
        self._collated = collator, targets if collator is not None else None
        self._kept: list[tuple[_Part, list[int]]] = []
        self._may_keep = trees.size_in_bytes(inputs, torch.float32.itemsize) <= _KEPT_BYTES

    def outputs(self) -> Any:
        """The model's outputs now, (n, ...) or a tree of such, on the CPU."""
        own = self._own()
        if (parallel := self._parallel) is None:
            return own
        if isinstance(own, Ragged):
            return _of_all(own, self._counts, parallel)
        return trees.mapped(lambda part: parallel.rows_of_all(part, self._counts), own)

    def _own(self) -> Any:
        """Of the inputs that are this process's."""
        if not self._may_keep:
            return network_outputs(self._model, self._inputs, self._device, *self._collated)
        if not self._kept:
            made = _inputs(self._model, self._inputs, self._device, *self._collated)
            self._kept = [(part, _versions(part[0])) for part in made]
        outputs = _outputs(self._model, (part for part, _ in self._kept))
        if any(_versions(part[0]) != before for part, before in self._kept):  # the model writes into its inputs
            self._may_keep, self._kept = False, []
        return outputs


def _of_all(own: Ragged, counts: Sequence[int], parallel: Parallel) -> Ragged:
    """The rows of all processes in order, of each of which this one has some."""
    lengths = parallel.rows_of_all(own.lengths, counts)
    each = [int(part.sum()) for part in lengths.split(list(counts))]
    values = parallel.rows_of_all(own.values, each)
    return Ragged(values, torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]))


def shared_out(inputs: Tree, parallel: Parallel) -> tuple[Tree, list[int]]:
    """The examples of an evaluation that this process looks at, in whole batches, so that they are those of one
    process; and how many each process has. One that has none is given one, for the shape of its outputs."""
    counts = parallel.blocks(trees.rows(inputs), _EVALUATION_BATCH)
    first = sum(counts[: parallel.rank])
    part = slice(first, first + counts[parallel.rank]) if counts[parallel.rank] else slice(0, 1)
    return trees.part_of(inputs, part), counts


def _versions(inputs: Tree) -> list[int]:
    return [leaf._version for leaf in trees.leaves(inputs)]


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


def _check_for_images(
    data: AbstractData, augmentation: AbstractAugmentation | None, pseudo: PseudoLabels | None, collated: bool
) -> None:
    """Raises IncompatibleError for what is done to images and cannot be done to other inputs."""
    name = type(data).__name__
    if collated and is_pictures(data):
        raise IncompatibleError(f"{name} has pictures, which have one size and are stacked", "use collate=stack")
    if augmentation is not None and augmentation.of_pictures and not is_pictures(data):
        raise IncompatibleError(f"{type(augmentation).__name__} changes images, and {name} has none",
                                "use augment=none, or jitter, which is for any numbers")  # fmt: skip
    if pseudo is not None and not is_pictures(data):
        raise IncompatibleError(f"pseudo-labels are given to pictures, and {name} has none",
                                "leave out trainer.unlabelled")  # fmt: skip


def _account(tree: Tree) -> list[tuple[int, torch.dtype]]:
    """Rows and type of each tensor; nothing of what is no tensor."""
    return [(len(leaf), leaf.dtype) for leaf in trees.leaves(tree) if isinstance(leaf, Tensor | Ragged)]


def _form(tree: Tree) -> str:
    """Shapes with their rows, of a tensor or a tree, in words."""
    return str(tuple(tree.shape)) if isinstance(tree, Tensor) else f"{trees.rows(tree)} x {trees.shape_of(tree)}"


class NetworkProblem(AbstractProblem):
    """A model trained on examples under a loss.

    Args:
        model: inputs by the rule of `problem.trees`, such as float (b, c, h, w), to outputs (b, n_outputs); of texts
            (b, length, n_outputs).
        data: the examples; where they have weights, the objective is the mean of weight times loss, over the mean
            weight of the training data.
        loss: (outputs, targets) to (b,), see `problem.losses`.
        batch_size: examples an update sees, or "full".
        seed: root seed of the run.
        device: where to compute.
        augmentation: of the training batches; None: they are trained on as they are.
        normal: whether the model's inputs have mean 0 and deviation 1 on the training data, channel by channel (of a
            table, column by column).
        accumulate: mini-batches of batch_size images that an update sees, one after another; of "full", parts.
        precision: of the passes of the training, see `problem.precision`.
        compiled: whether those passes are compiled, see `problem.compiled`; "graphs": and repeated as CUDA graphs.
        pseudo: unlabelled pictures that join the training; None: there are none.
        metrics: computed at each evaluation beside the loss; evaluations are judged by the first. None: by the accuracy
            of classes, by the loss of numbers.
        contiguous: whether weights of convolutions and images lie as torch makes them; else channels last, which is
            faster.
        parallel: the processes that have a share in each batch, see `problem.shares`; None: this is the only one.
        collate: makes a batch of rows, see `problem.collating`; None: they have one length and are stacked.

    Raises:
        IncompatibleError: parts that do not fit; what is for images asked of other data; a model that cannot be shared.
        UserError: a batch larger than the training split, or too small to be shared.
        DataError: the data set augments by itself; rows that differ in length without a collate; what a collate makes
            is no batch.
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
        metrics: Sequence[Metric] = (),
        contiguous: bool = False,
        parallel: Parallel | None = None,
        collate: Collate | None = None,
    ) -> None:
        _check_parts(data, loss, pseudo)
        _check_for_images(data, augmentation, pseudo, collate is not None)
        self.collator = None if collate is None else Collator(collate, data.n_classes)
        self.data, self._seed, self._device = data, seed, device
        self.pseudo, self.metrics = pseudo, tuple(metrics)
        self.parallel = parallel
        self._initialise(model)
        if parallel is not None:
            from optbench.problem.shares import shareable

            model = shareable(model, parallel)
        layout = torch.contiguous_format if contiguous else torch.channels_last
        self._model: nn.Module = model.to(device).to(memory_format=layout)  # type: ignore[call-overload]
        self.loss = loss.to(device)
        self._labels, self._has_classes = label_rule(self.loss), data.n_classes > 0
        if normal:
            self._normalise()
        self._divide(batch_size, accumulate)
        self._check_shapes()
        self._precision = precision
        self._scaler = Scaler(self._model, device) if precision == "fp16" else None
        self._channels_last = convolves(self._model) and not contiguous
        self._compiled = self._passes_compiled(compiled)
        self._augmentation = augmentation
        self._shares = None if parallel is None else self._shared_by(parallel)
        self._draws = False
        self._order: tuple[int, Tensor] = (-1, torch.empty(0, dtype=torch.long))
        self._correct = torch.zeros((), dtype=torch.long, device=device)
        self._seen = 0
        self._answers: list[tuple[Tensor, Tensor]] = []

    def _normalise(self) -> None:
        """Has the model measure its inputs by the training data, see `problem.normal`."""
        of_each = channels(self.train.inputs)
        against = (-1, *[1] * (_rows_of(self.train.inputs).ndim - 2))
        normalise(self._model, *(part.to(self._device).reshape(against) for part in of_each))

    def _passes_compiled(self, compiled: bool | str) -> Compiled | None:
        """The compiled passes, where they are asked for. Raises IncompatibleError for graphs of batches that differ."""
        if compiled == GRAPHS and self.collator is not None:
            raise IncompatibleError("trainer.compile=graphs repeats passes of one shape, and a collate makes several",
                                    "use trainer.compile=true")  # fmt: skip
        any_length = self.collator is not None
        return Compiled(self._model, compiled == GRAPHS, any_length) if compiled else None

    def _shared_by(self, parallel: Parallel) -> Shares:
        from optbench.problem.shares import Shares

        generators = list({id(g): g for g in (torch.default_generator, self._generator)}.values())
        passes = self._model, self._compiled
        return Shares(parallel, *passes, self._seed, self._precision, generators, self.mini_batch)

    def _divide(self, batch_size: int | str, accumulate: int) -> None:
        """How many examples an update and a mini-batch see, and how many updates an epoch has. Raises UserError."""
        n, data = len(self.train), self.data
        wanted = n if isinstance(batch_size, str) else batch_size * accumulate
        if wanted > n:
            together = f" times trainer.accumulate={accumulate}" if accumulate > 1 else ""
            raise UserError(
                f"trainer.batch_size={batch_size}{together} is larger than the {n} training {noun(data)}",
                "use trainer.batch_size=full for full-batch gradient descent",
            )
        if accumulate > n:
            raise UserError(f"trainer.accumulate={accumulate} is larger than the {n} training {noun(data)}")
        self.batch_size, self.mini_batch = wanted, -(-wanted // accumulate)
        whole, rest = divmod(n, self.batch_size)
        # a last batch of one image joins the batch before it: batch norm has no variance on one
        self._steps_per_epoch = whole + (rest > (1 if self.batch_size > 1 and whole else 0))

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
        held = self.validation
        return _Evaluated(self._model, held.inputs, self._device, self.parallel, self.collator, held.targets)

    @cached_property
    def _wanted(self) -> Tree:
        """The validation targets, as the outputs of an evaluation are compared with them."""
        return collated_targets(self.validation, self.collator)

    def _labelled(self, name: str) -> Split:
        split = read_split(self.data, name)
        if split.weights is not None and self.pseudo is not None:
            raise IncompatibleError("pseudo-labels have weights of their own, beside those of the data",
                                    "leave out trainer.unlabelled")  # fmt: skip
        if split.targets is None or not len(split):
            kind = noun(self.data)
            raise UserError(f"the {name} split of {type(self.data).__name__} has no labelled {kind}")
        if self.collator is None:
            check_ragged(split.inputs, split.targets, f"the {name} split of {type(self.data).__name__}")
        else:
            self.collator.check(split.inputs, split.targets, f"the {name} split of {type(self.data).__name__}")
        return split

    def _initialise(self, model: nn.Module) -> None:
        """Gives lazy modules their sizes, by the first examples, before an optimizer asks for their weights. Raises
        IncompatibleError where the model does not take them, or has nothing to train."""
        if waits_for_sizes(model):
            self._tried(model, torch.device("cpu"))
        if not any(weights.requires_grad for weights in model.parameters()):
            raise IncompatibleError(f"{type(model).__name__} has no weights to train", "parameters of an nn.Module are")

    def _tried(self, model: nn.Module, device: torch.device) -> Any:
        """What a model makes of the first examples. Raises IncompatibleError where it does not take them."""
        few, targets = (trees.part_of(t, slice(0, _few(self.data))) for t in (self.train.inputs, self.train.targets))
        if self.collator is not None:
            check_repeats(self.collator, few, targets)
        try:
            return network_outputs(model, few, device, self.collator, targets)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            shape = f"{trees.shape_of(few)} {noun(self.data)} with {self._learned}"
            hint = (
                "change data.channels, data.image_size or the model" if is_pictures(self.data) else "change the model"
            )
            if self.collator is not None:
                hint += ", or what it is given beside padded rows: collate.beside=mask, lengths or nothing"
            raise IncompatibleError(f"the model does not take {shape}: {first_line(error)}", hint) from error

    @property
    def _learned(self) -> str:
        return f"{self.data.n_classes} classes" if self.data.n_classes else "numbers to learn"

    def _check_shapes(self) -> None:
        """Sends examples through the model and the loss. Raises IncompatibleError where they do not fit."""
        assert self.train.targets is not None
        outputs = self._tried(self._model, self._device)
        few = slice(0, _few(self.data))
        targets = trees.part_of(self.train.targets, few)
        if self.collator is not None:
            targets = self.collator(trees.part_of(self.train.inputs, few), targets).targets
        is_tree = not isinstance(targets, Tensor | Ragged)
        self._check_kinds(outputs, is_tree)
        width = 0 if is_tree else int((outputs.values if isinstance(outputs, Ragged) else outputs).shape[-1])
        try:
            if not is_tree:
                check_class_weights(self.loss, width)
            values = row_losses(self.loss.cpu(), outputs, targets)
            self.loss.to(self._device)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            shapes = f"outputs {_form(outputs)} and targets {_form(targets)}"
            given = f"{shapes} ({self._learned})"
            hint = "use loss=cross_entropy, or n_outputs=N" if self._has_classes else "use loss=squared_error"
            if is_tree:
                given, hint = shapes, "a loss of your own takes them as they are"
            raise IncompatibleError(
                f"{type(self.loss).__name__} does not take the model's {given}: {first_line(error)}", hint
            ) from error
        check_values(values, trees.rows(targets), self.loss)
        self.n_outputs = width

    def _check_kinds(self, outputs: Any, is_tree: bool) -> None:
        """Raises IncompatibleError for several outputs to one target, metrics of one where there are several, and those
        that would not know of weights."""
        unweighted = [one.name for one in self.metrics if not one.takes_weights]
        if unweighted and self.train.weights is not None:
            has = f"and the examples of {type(self.data).__name__} have"
            why = f"trainer.metrics: {unweighted[0]} takes no weights, {has}"
            raise IncompatibleError(why, "give the function a third argument: (outputs, targets, weights)")
        if not is_tree and not isinstance(outputs, Tensor | Ragged):
            came = f"{type(self._model).__name__} gives a {type(outputs).__name__}; expected a tensor (b, ...)"
            raise IncompatibleError(came, "wrap it in a module that returns the outputs alone")
        ours = [one.name for one in self.metrics if getattr(one.function, "func", one.function) in MEASURES]
        if is_tree and ours:
            why = f"trainer.metrics: {ours[0]} is of one tensor of targets, and {type(self.data).__name__} has several"
            raise IncompatibleError(why, "a metric of your own takes them as they are")

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
            outputs = _Evaluated(self._model, self.pseudo.images, self._device, self.parallel).outputs()
            self.pseudo.make(epoch, probabilities(self.loss, outputs, self.data.n_classes))

    def batch(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        inputs, targets, weights = self._source
        if self._order[0] != epoch:
            order = torch.randperm(len(self.train), generator=stream(self._seed, "order", epoch))
            self._order = (epoch, moved(order, trees.leaves(targets)[0].device))
        last = position == self.steps_per_epoch - 1
        start = position * self.batch_size
        index = self._order[1].narrow(0, start, len(self.train) - start if last else self.batch_size)
        inputs, targets = trees.chosen(inputs, index), trees.chosen(targets, index)
        weights = None if weights is None else moved(weights.index_select(0, index), self._device)
        taken = self._taken(epoch, position)
        if taken is not None:
            inputs = torch.cat([inputs, moved(taken.images, inputs.device)])
            targets = torch.cat([targets, moved(taken.labels, targets.device)])
        inputs, real = self._augmented(inputs, step), None
        if self.collator is not None:
            made = self.collator(trees.mapped(lambda part: part.cpu(), inputs), targets)
            inputs, targets, real = made.inputs, made.targets, made.real
        self.seed_draws(step)
        inputs = to_inputs(inputs, self._device, self._channels_last)
        mixture = None
        if self._augmentation is not None:
            mixture = self._augmentation.mixed(inputs, stream(self._seed, "mix", step))
        mixed = None if mixture is None else mixture.order
        guesses = None if taken is None else _guesses(len(index), len(targets), mixed, taken.weight)
        if mixture is None:
            targets = trees.mapped(partial(moved, device=self._device), targets)
            return Batch(inputs, targets, guesses=guesses, weights=weights, real=real)
        if weights is not None:
            raise IncompatibleError("images that are mixed with one another have no weights of their own",
                                    "choose an augment without mixup and cutmix, or data without weights")  # fmt: skip
        others = moved(targets.index_select(0, moved(mixture.order, targets.device)), self._device)
        return Batch(mixture.inputs, moved(targets, self._device), others, mixture.share, guesses)

    def _taken(self, epoch: int, position: int) -> Taken | None:
        """Pictures with pseudo-labels that an update sees beside the labelled ones."""
        if self.pseudo is None:
            return None
        return self.pseudo.taken(epoch, position, self.steps_per_epoch, self.batch_size)

    @cached_property
    def _source(self) -> tuple[Tree, Any, Tensor | None]:
        """Training inputs, targets and weights (of mean 1), where batches are put together: on a GPU that has room for
        them, else on the CPU. There, with the order of an epoch, nothing goes to the GPU at an update."""
        inputs, targets, weights = self.train.inputs, self.train.targets, self.train.weights
        assert targets is not None
        if weights is not None:
            weights = weights / weighted_mean(weights, row_weights(targets, None))
        takes_them_there = (self._augmentation is None or self._augmentation.on_device) and self.collator is None
        if self._device.type != "cuda" or not takes_them_there:
            return inputs, targets, weights
        free, _ = torch.cuda.mem_get_info(self._device)
        if trees.size_in_bytes(inputs) >= free * _SHARE_OF_GPU:
            return inputs, targets, weights
        there = None if weights is None else weights.to(self._device)
        inputs, targets = (trees.mapped(lambda part: part.to(self._device), tree) for tree in (inputs, targets))
        return inputs, targets, there

    def _augmented(self, inputs: Tree, step: int) -> Tree:
        """The inputs of a batch as update `step` sees them. Raises DataError where they are no longer such inputs."""
        if self._augmentation is None:
            return inputs
        seed_torch(stream_seed(self._seed, "augment, global", step), self._device)
        before = _account(inputs)
        if self._augmentation.on_device:
            inputs = trees.mapped(partial(moved, device=self._device), inputs)
        made = self._augmentation(inputs, stream(self._seed, "augment", step))
        if _account(made) != before:
            what = (
                f"{made.dtype} of shape {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
            )
            n, kinds = trees.rows(inputs), " and ".join(dict.fromkeys(str(dtype) for _, dtype in before))
            raise DataError(f"{type(self._augmentation).__name__} made {what} of {n} {noun(self.data)} ({kinds})",
                            f"an augmentation gives as many {noun(self.data)} of the same dtype")  # fmt: skip
        return made

    def differentiate(self, batch: Batch) -> Tensor:
        if self._shares is not None:
            return self._differentiate_share(self._shares, batch)
        if self.mini_batch == self.batch_size and self._scaler is None:
            return super().differentiate(batch)
        whole = torch.zeros((), device=self._device)
        for piece, share in self.parts(batch):
            loss = self.objective(piece) * share
            (loss if self._scaler is None else self._scaler.scaled(loss)).backward()
            whole += loss.detach()
        if self._scaler is not None:
            self._scaler.unscale()
        return whole

    def _differentiate_share(self, shares: Shares, batch: Batch) -> Tensor:
        """As `differentiate`; the passes are of this process's share, loss and gradients of the whole batch."""
        whole, parts = torch.zeros((), device=self._device), list(self.parts(batch))
        with shares.draws():
            for k, (piece, share) in enumerate(parts):
                own, part = shares.of(piece)
                with shares.passes(own, is_last=k == len(parts) - 1):
                    # a share that counts nothing is one row for all to take part
                    loss = self.objective(own) if part else trees.total(self._forward(own.inputs))
                    loss = loss * (share * part)
                    # DistributedDataParallel gives the mean over the processes, and this is a sum
                    (loss if self._scaler is None else self._scaler.scaled(loss)).mul(shares.parallel.size).backward()
                whole += loss.detach()
        if self._scaler is not None:
            self._scaler.unscale()
        return shares.parallel.summed(whole)

    def parts(self, batch: Batch) -> Iterator[tuple[Batch, float]]:
        if self.mini_batch == self.batch_size and self._scaler is None:
            yield batch, 1.0
            return
        for piece in batch.pieces(self.mini_batch):
            yield piece, piece.mass / batch.mass

    def differentiate_sampled(self, batch: Batch, step: int) -> None:
        self._check_distribution()
        generator, parts = stream(self._seed, "labels", step), list(self.parts(batch))
        if self._shares is None:
            for part, share in parts:
                outputs = self._forward(part.inputs, part.real)
                drawn = _labels_drawn(_likely(_rows_of(outputs)), part, generator)
                (self._loss_of_labels(outputs, drawn, part) * share).backward()
            return
        with self._shares.draws():
            for k, (part, share) in enumerate(parts):
                self._differentiate_sampled_share(self._shares, part, share, generator, k == len(parts) - 1)

    def _differentiate_sampled_share(
        self, shares: Shares, piece: Batch, share: float, generator: torch.Generator, is_last: bool
    ) -> None:
        """As `differentiate_sampled` of a mini-batch; the labels are drawn for all its rows, as one process would."""
        parallel, (own, part) = shares.parallel, shares.of(piece)
        first, counts = parallel.share(len(piece)).start, parallel.counts(len(piece))
        if piece.real is not None:
            counts = [int(rows.sum()) for rows in piece.real.split(counts)]
        with shares.passes(own, is_last):
            outputs = self._forward(own.inputs, own.real)
            likely = parallel.rows_of_all(_likely(_rows_of(outputs)), counts)
            drawn = trees.part_of(_labels_drawn(likely, piece, generator), slice(first, first + len(own)))
            loss = self._loss_of_labels(outputs, drawn, own) if part else _rows_of(outputs).sum()
            (loss * (share * part * parallel.size)).backward()

    def _loss_of_labels(self, outputs: Any, labels: Tree, batch: Batch) -> Tensor:
        labels = trees.mapped(partial(moved, device=self._device), labels)
        return self._mean(row_losses(self.loss, outputs, labels), batch)

    def _check_distribution(self) -> None:
        """Raises IncompatibleError where labels cannot be drawn from the model's outputs."""
        outputs = getattr(self.loss, "n_outputs", None)
        if not self._has_classes or hasattr(self.loss, "predict") or outputs not in (None, self.data.n_classes):
            raise IncompatibleError(
                f"labels are drawn from probabilities of classes, and {type(self.loss).__name__} has none",
                "use loss=cross_entropy",
            )

    def seed_draws(self, step: int) -> None:
        seed_torch(stream_seed(self._seed, "model", step), self._device)
        if self._shares is not None:
            self._shares.seed(step)

    @torch.no_grad()
    def refresh_batch_norm(self, step: int, batches: int) -> bool:
        normed = [m for m in self._model.modules() if getattr(m, "track_running_stats", False)]
        if not normed or not batches:
            return False
        training = self._model.training
        self._model.train()
        for k in range(max(0, step - batches), max(step, 1)):
            for part, _ in self.parts(self.batch(k)):
                own = part if self._shares is None else self._shares.of(part)[0]
                forward(self._precision, self._model, own.inputs)
        self._model.train(training)
        return True

    def objective(self, batch: Batch) -> Tensor:
        outputs = (self._watched if self.exact_gradient else self._forward)(batch.inputs, batch.real)
        if self._has_classes:
            self._note(outputs, batch)
        losses = row_losses(self.loss, outputs, batch.targets)
        if batch.real is not None:
            return self._mean(losses, batch)
        if batch.weights is not None:
            losses = losses * batch.weights
        # of a soft label cross-entropy is this mean; of other losses it is the meaning
        others = None if batch.others is None else row_losses(self.loss, outputs, batch.others)
        if batch.guesses is not None:
            weights = [moved(part, self._device) for part in batch.guesses.weights(batch.share)]
            sums = (losses * weights[0]).sum() + (0.0 if others is None else (others * weights[1]).sum())
            return sums / batch.mass
        if others is not None:
            losses = batch.share * losses + (1.0 - batch.share) * others
        return losses.mean()

    def _mean(self, losses: Tensor, batch: Batch) -> Tensor:
        """The mean loss of a batch, of those of its rows, (b,): over rows, or over the positions that have targets."""
        losses = losses if batch.weights is None else losses * batch.weights
        if batch.real is None:
            return losses.mean()
        counts = moved(batch.targets.lengths.to(losses.dtype), self._device)
        return (losses * counts).sum() / counts.sum().clamp(min=1.0)

    def _note(self, outputs: Any, batch: Batch) -> None:
        """Keeps what the network said of the labelled images, to be counted."""
        own = batch.others is None or batch.share >= 0.5
        wanted = batch.targets if own or batch.others is None else batch.others
        outputs, shown = tokenwise(_rows_of(outputs).detach(), _rows_of(wanted))
        labels = self._labels(outputs).detach()
        if batch.guesses is not None:
            guessed = batch.guesses.targets if own or batch.guesses.others is None else batch.guesses.others
            known = moved(torch.nonzero(~guessed).flatten(), self._device)
            labels, shown = labels.index_select(0, known), shown.index_select(0, known)
        self._answers.append((labels, shown))
        if len(self._answers) >= _COUNTED_TOGETHER:
            self._count()

    def _watched(self, inputs: Tree, real: Tensor | None) -> Any:
        """The model's outputs; and from the first draw on (dropout) it is known that a whole batch is random too."""
        before = self._generator.get_state()
        outputs = self._forward(inputs, real)
        self._draws = not self._generator.get_state().equal(before)
        return outputs

    def _forward(self, inputs: Tree, real: Tensor | None = None) -> Any:
        """The outputs, (b, ...); where each position has a target those at real ones, a Ragged."""
        shared = None if self._shares is None else self._shares.model
        return picked(forward(self._precision, shared or self._compiled or self._model, inputs), real)

    def compile(self) -> float | None:
        self._model.train()
        spent = None if self._compiled is None else self._compiled.warm_up(self._passes())
        if self._shares is not None:  # made off the clock
            self._shares.prepared(self._shares.of(next(self.parts(self.batch(0)))[0])[0])
        return spent

    def _passes(self) -> Iterator[Callable[[], Tensor]]:
        """A forward pass and loss for each shape of input that the training has, on its first and its last batch."""
        shapes = set()
        for step in dict.fromkeys((0, self.steps_per_epoch - 1)):
            batch = self.batch(step)
            whole = self.mini_batch == self.batch_size and self._scaler is None
            for piece in [batch] if whole else batch.pieces(self.mini_batch):
                piece = piece if self._shares is None else self._shares.of(piece)[0]
                shape = tuple(leaf.shape for leaf in trees.leaves(piece.inputs))
                if shape not in shapes:
                    shapes.add(shape)
                    yield partial(self._one_pass, piece)

    def _one_pass(self, batch: Batch) -> Tensor:
        return row_losses(self.loss, self._forward(batch.inputs, batch.real), batch.targets).mean()

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
        seen, correct = self._seen, int(self._correct)
        if self.parallel is not None:
            seen, correct = self.parallel.summed(torch.tensor([seen, correct])).tolist()
        scale = {} if self._scaler is None else {"scale": self._scaler.state_dict()}
        pseudo = {} if self.pseudo is None else {"pseudo": self.pseudo.state()}
        return {"seen": seen, "correct": correct, **scale, **pseudo}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        if self._scaler is not None and "scale" in counters:
            self._scaler.load_state_dict(counters["scale"])
        if self.pseudo is not None and "pseudo" in counters:
            self.pseudo.restore(counters["pseudo"])
        self._answers.clear()
        counts_on = self.parallel is None or self.parallel.is_first  # one of several goes on from the sum
        self._seen = counters["seen"] if counts_on else 0
        self._correct.fill_(counters["correct"] if counts_on else 0)

    def evaluate(self) -> dict[str, float]:
        outputs = self._evaluated.outputs()
        targets, weights = self._wanted, self.validation.weights
        loss = weighted_mean(row_losses(self.loss.cpu(), outputs, targets), row_weights(targets, weights)).item()
        self.loss.to(self._device)
        figures = {"val_loss": float(loss)}
        if self.metrics or self._has_classes:
            figures |= self.judged(*in_rows(outputs, targets, weights))
        return figures if self.parallel is None else self.parallel.of_first(figures)

    def judged(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> dict[str, float]:
        """The columns of the metrics of predictions as rows; of classes the accuracy is among them."""
        own = getattr(self.loss, "predict", None)
        found = columns(self.metrics, outputs, targets, weights, own)
        if self._has_classes and "val_accuracy" not in found:
            right = (self._labels(outputs) == targets).double()
            found["val_accuracy"] = weighted_mean(right, weights).item()
        return found

    @property
    def ranked_by(self) -> tuple[str, int]:
        if self.metrics:
            return f"val_{self.metrics[0].name}", self.metrics[0].sign
        return super().ranked_by if self._has_classes else ("val_loss", -1)
