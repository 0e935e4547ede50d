"""The objective of a run: what is minimised, from where, and how it is judged.

Two kinds of problem, one face. A *surface* is a function of a few coordinates; its weights are the coordinates
themselves and every step sees the whole objective. A *network* is a module trained on examples (images, tables, text),
batch by batch. Both give the training loop the same four things: parameters, batches, the objective on a batch, and an
evaluation.

A loss maps (outputs, target) to one value per row; the mean over the rows of a batch is the objective. On a surface
the rows are independent points, so the same loss serves a batch of examples and a batch of surface points.

Randomness never hides in a global state: every draw comes from a stream named by (seed, purpose, position), so a run
that is resumed at step k sees the numbers that an uninterrupted run sees there.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from optbench.errors import IncompatibleError, UserError
from optbench.problem.streams import Box, stream_seed
from optbench.problem.trees import Tree, part_of, rows

if TYPE_CHECKING:
    from optbench.problem.parallel import Parallel


def stream(seed: int, purpose: str, *position: int) -> torch.Generator:
    """An independent CPU generator for one purpose at one position of a run.

    Args:
        seed: the run's root seed.
        purpose: what is drawn ("init", "order", "augment", "noise", "start", "dropout" ...).
        position: where in the run (epoch, step); absent for draws that happen once.
    """
    return torch.Generator().manual_seed(stream_seed(seed, purpose, *position))


def seed_torch(seed: int, device: torch.device) -> None:
    """Seeds torch's global generators, as far as code on this device draws from them.

    torch.manual_seed seeds those of all accelerators as well; where one is not in use it keeps the call for later, with
    a traceback: 1 to 3 ms at each batch.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; a copy to a GPU is from pinned memory, so that nothing waits for it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


_TRUTH = "a surface gives domain [(low, high), ...], start [...], minimizers [[...], ...] and minimum, a number or None"


class AbstractSurface(ABC):
    """A loss surface: a pure batched function of coordinates that carries its own truth.

    Subclasses are final and implement `__call__` in plain torch operations, (..., dim) -> (...), with no data-dependent
    control flow, so that one definition serves autograd, batches, tracing and interval arithmetic.

    Attributes:
        dim: number of coordinates.
        domain: (low, high) of each axis, the box that the literature uses.
        start: the usual starting point, inside the domain.
        minimizers: known global minimizers, each of length dim; empty when there is none or a continuum.
        minimum: the value there; None when the surface is unbounded below or its infimum is not attained.
        label: class of the one example when `__call__` returns logits (..., n_classes) and not values; else None.
        may_turn: whether an instance may be turned, see `problem.instances`: False where outside its domain
            the surface goes below its minimum, or is undefined.
    """

    label: int | None = None
    may_turn: bool = True

    def __init__(
        self,
        domain: Sequence[tuple[float, float]],
        start: Sequence[float],
        minimizers: Sequence[Sequence[float]] = (),
        minimum: float | None = None,
    ) -> None:
        name = type(self).__name__
        try:
            self.domain: Box = tuple((float(low), float(high)) for low, high in domain)
            self.dim = len(self.domain)
            self.start = tuple(float(v) for v in start)
            self.minimizers = tuple(tuple(float(v) for v in point) for point in minimizers or ())
            self.minimum = None if minimum is None else float(minimum)
        except (TypeError, ValueError) as error:
            raise UserError(f"{name}: {error}", _TRUTH) from error
        if not all(-math.inf < low < high < math.inf for low, high in self.domain):
            raise UserError(f"{name}: domain {self.domain}: expected low < high on each axis, both finite", _TRUTH)
        if self.dim < 1:
            raise UserError("dim=0: a surface needs at least one coordinate")
        if len(self.start) != self.dim or any(len(point) != self.dim for point in self.minimizers):
            raise UserError(f"{name}: start and minimizers must have {self.dim} coordinates")

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Value at x: (..., dim) -> (...); logits (..., n_classes) where `label` is set."""


def check_dim(dim: int, least: int = 1) -> int:
    """Returns dim if it is an integer of at least `least`; raises UserError otherwise."""
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < least:
        raise UserError(f"dim={dim}: expected a whole number of at least {least}")
    return dim


Objective = Callable[[Tensor], Tensor]


def check_takes_a_point(function: Callable[..., object], name: str) -> None:
    """Raises UserError for a function that wants something else than one argument, such as f(x, y)."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return  # nothing is known of it
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes_one = any(p.kind in (*places, inspect.Parameter.VAR_POSITIONAL) for p in parameters)
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (*places, inspect.Parameter.KEYWORD_ONLY)
    ]
    if takes_one and len(needed) <= 1:
        return
    raise UserError(
        f"{name}({', '.join(needed)}) takes {len(needed)} arguments, not one: the point, a tensor (..., dim)",
        f"write {name}(x), with x[..., 0] for the first coordinate and x[..., 1] for the second",
    )


def surface_objective(surface: AbstractSurface, loss: nn.Module) -> Objective:
    """The scalar field that a surface under a loss is: (..., dim) -> (...).

    Raises:
        IncompatibleError: a classification loss on a surface that returns values, or the reverse.
    """
    takes_label = getattr(loss, "takes_label", True)
    name = type(surface).__name__
    check_takes_a_point(surface, name)
    if surface.label is None:
        if takes_label:
            raise IncompatibleError(
                f"{name} is a surface of values; a classification loss has nothing to compare with",
                "use loss=surface, or model=softmax_logits for a surface of logits",
            )
        return surface
    if not takes_label:
        raise IncompatibleError(
            f"{name} gives logits; loss=surface has no value to minimise",
            "use a classification loss, e.g. loss=cross_entropy or loss=mse_softmax",
        )
    label, loss = surface.label, loss.to(torch.float64)
    check_class_weights(loss, surface(torch.tensor(surface.start, dtype=torch.float64)).shape[-1])

    def objective(x: Tensor) -> Tensor:
        logits = surface(x)
        flat = logits.reshape(-1, logits.shape[-1])
        target = torch.full((flat.shape[0],), label, dtype=torch.long, device=flat.device)
        values: Tensor = loss(flat, target)
        return values.reshape(logits.shape[:-1])

    return objective


def check_class_weights(loss: nn.Module, outputs: int) -> None:
    """Raises IncompatibleError where a loss of torch's has class weights, (n,), and the model another number of
    outputs."""
    weight = getattr(loss, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim == 1 and len(weight) != outputs:
        raise IncompatibleError(f"loss.weight has {len(weight)} weights; the model has {outputs} outputs",
                                "give one weight a class")  # fmt: skip


@dataclass(frozen=True)
class Split:
    """One part of a data set, as tensors with a row for each of n examples.

    Attributes:
        inputs: a tensor (n, ...), a `Ragged` where rows differ in length (a collate then makes batches of them), or
            mappings, tuples and lists of such (`problem.trees` says how a model is called with them). uint8 is scaled
            to [0, 1], floating point is taken as it is, whole numbers are tokens.
        targets: whole numbers below n_classes, (n,), or (n, length) where each position of a text has one;
            floating-point numbers, (n,) or (n, k), where n_classes is 0, or there mappings, tuples and lists of
            tensors, which only a loss of one's own understands; a `Ragged` where each position of rows that differ in
            length has one; None for an unlabelled test set.
        names: n names, in order: of files where they are files, of lines of a table or made-up ones elsewhere.
        weights: floating point (n,), how much each example counts in the loss and the metrics, none of them negative;
            None: all count alike.
    """

    inputs: Tree
    targets: Tree | None
    names: tuple[str, ...]
    weights: Tensor | None = None

    def __len__(self) -> int:
        return rows(self.inputs)

    @property
    def images(self) -> Tensor:
        """The inputs of a data set of pictures, (n, channels, height, width)."""
        return cast(Tensor, self.inputs)

    @property
    def labels(self) -> Tensor | None:
        """The targets, as those of classes are called."""
        return cast("Tensor | None", self.targets)


class AbstractData(ABC):
    """Examples in up to three splits.

    Subclasses are final; they implement `load`, and set the attributes that differ from those here.

    Attributes:
        n_classes: number of classes, or of different tokens; 0 for a regression, whose targets are numbers.
        n_targets: numbers that one target of a regression has.
        class_names: n_classes names, in label order; none where they have none.
        channels, image_size: of pictures, which are square, and set by them alone.
    """

    n_classes: int = 0
    n_targets: int = 1
    class_names: tuple[str, ...] = ()
    channels: int
    image_size: int

    @abstractmethod
    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split; DataError where there is none."""

    def units(self) -> tuple[Tensor, Tensor] | None:
        """How the numbers that a network learns are brought back to those that were measured, which are mean +
        deviation * target: mean and deviation, (n_targets,) float64 each. None: they are learnt as they were measured.
        """
        return None


class AbstractAugmentation(ABC):
    """What is done to the inputs of a training batch before the network sees them; never to validation or test data.

    Subclasses are final and draw from the given generator alone, so that the batch of update k is a function of
    (seed, k). For code that draws from torch's global generator, that is seeded before each call.

    Attributes:
        on_device: whether it takes images that are where the model is; else they are on the CPU.
        of_pictures: whether it is for pictures alone; one for any inputs says False.
    """

    on_device: bool = False
    of_pictures: bool = True

    @abstractmethod
    def __call__(self, images: Any, generator: torch.Generator) -> Any:
        """The batch as it is trained on.

        Args:
            images: (b, c, h, w), a copy: uint8, or floating point where the data set's are; where it is for any inputs,
                what the data set has, a tensor or a tree of such (`problem.trees`), b rows in each.
            generator: of this update, a stream of its own, on the CPU.

        Returns:
            b images that the model takes, of the same dtype; of a tree one of the same form.
        """

    def mixed(self, inputs: Tensor, generator: torch.Generator) -> Mixture | None:
        """The batch with images mixed with one another; None: they are not.

        Args:
            inputs: float (b, c, h, w) where the model is, as __call__ and scaling left them.
            generator: of this update, a stream of its own, on the CPU.
        """
        return None


class Mixture(NamedTuple):
    """Images that are each made of two of a batch.

    Attributes:
        inputs: float (b, c, h, w).
        order: int64 (b,) on the CPU: which image the i-th one was mixed with.
        share: how much of each image is its own, in [0, 1].
    """

    inputs: Tensor
    order: Tensor
    share: float


@dataclass(frozen=True)
class Guesses:
    """Which labels of a batch the network gave itself, see `problem.pseudo`; on the CPU.

    Attributes:
        targets: bool (b,).
        others: bool (b,), where images are mixed; else None.
        weight: of such a label; the others have 1.
    """

    targets: Tensor
    others: Tensor | None
    weight: float

    def part(self, rows: slice) -> Guesses:
        """Of some rows."""
        return Guesses(self.targets[rows], None if self.others is None else self.others[rows], self.weight)

    def weights(self, share: float) -> tuple[Tensor, Tensor]:
        """Weights float32 (b,) of the losses of `targets` and of `others`, of which each row's images have this share
        and the rest."""
        first = torch.where(self.targets, self.weight, 1.0)
        if self.others is None:
            return first, torch.zeros_like(first)
        return share * first, (1.0 - share) * torch.where(self.others, self.weight, 1.0)


@dataclass(frozen=True)
class Batch:
    """A batch as the objective takes it: inputs by the rule of `problem.trees`, int64 targets (of a regression
    float32; or a tree of both); on a surface empty.

    Attributes:
        inputs, targets: b of each.
        others: where images are mixed, (b,) the targets of those that each was mixed with: what each image shows is
            `targets` with the weight `share` and `others` with the rest, a soft label of two classes.
        share: that weight.
        guesses: where some of the labels are pseudo-labels, which, and what they weigh; None: there are none.
        weights: float32 (b,), what each example counts beside the mean of the training data; None: all alike.
        real: where rows were padded and each position has a target, bool (b, t) on the CPU: which positions are no
            padding; targets are then a Ragged of these alone, and a row counts by how many it has. None elsewhere.
    """

    inputs: Tree
    targets: Tree
    others: Tensor | None = None
    share: float = 1.0
    guesses: Guesses | None = None
    weights: Tensor | None = None
    real: Tensor | None = None

    def __len__(self) -> int:
        return rows(self.inputs)

    @property
    def mass(self) -> float:
        """What its rows weigh together: as many as there are, where all labels weigh the same; of rows whose positions
        have targets, as many as these are."""
        if self.real is not None:
            return float(self.real.sum())
        if self.guesses is None:
            return len(self)
        return float(sum(part.sum(dtype=torch.float64) for part in self.guesses.weights(self.share)))

    def pieces(self, size: int) -> Iterator[Batch]:
        """Consecutive parts of `size` rows and a shorter last one; a row by itself joins the part before it, as batch
        norm has no variance on one."""
        ends = [*range(size, len(self), size)]
        if ends and size > 1 and len(self) - ends[-1] == 1:
            ends.pop()
        for start, end in pairwise([0, *ends, len(self)]):
            yield self.part(slice(start, end))

    def part(self, rows: slice) -> Batch:
        """Some of its rows."""
        others = None if self.others is None else self.others[rows]
        guesses = None if self.guesses is None else self.guesses.part(rows)
        weights = None if self.weights is None else self.weights[rows]
        real = None if self.real is None else self.real[rows]
        return Batch(
            part_of(self.inputs, rows), part_of(self.targets, rows), others, self.share, guesses, weights, real
        )


class AbstractProblem(ABC):
    """What the training loop sees of a surface or a network.

    Attributes:
        parallel: the processes that have a share in each batch; None: this is the only one.
    """

    parallel: Parallel | None = None

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """The module whose parameters are trained."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int | None:
        """Updates in one pass over the data; None where there is no data (a surface)."""

    @property
    @abstractmethod
    def exact_gradient(self) -> bool:
        """Whether every update sees the gradient of the whole objective: no noise, no sampling."""

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """The batch that update number `step` (0-based) uses; a function of (seed, step) alone."""

    @abstractmethod
    def objective(self, batch: Batch) -> Tensor:
        """Scalar objective on the batch, differentiable in the parameters."""

    def differentiate(self, batch: Batch) -> Tensor:
        """The objective on the batch; its gradients are added to those of the parameters."""
        loss = self.objective(batch)
        loss.backward()
        return loss

    def differentiate_with_graph(self, batch: Batch) -> Tensor:
        """The objective on the batch; its gradients become those of the parameters, with the graph that they are
        differentiated by once more."""
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        total, sums = torch.zeros((), device=parameters[0].device), list[Tensor | None]([None] * len(parameters))
        for part, share in self.parts(batch):
            loss = self.objective(part)
            loss = loss if share == 1.0 else loss * share
            found = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
            sums = [b if a is None else a if b is None else a + b for a, b in zip(sums, found, strict=True)]
            total = loss.detach() if share == 1.0 else total + loss.detach()
        for p, gradient in zip(parameters, sums, strict=True):
            if gradient is not None and not gradient.requires_grad:
                gradient = torch.add(gradient, p, alpha=0)  # the same everywhere: products with the Hessian are 0
            # to write in a view, as clipping does, gives it another graph
            p.grad = gradient.clone() if gradient is not None and gradient._is_view() else gradient
        return total

    def parts(self, batch: Batch) -> Iterator[tuple[Batch, float]]:
        """The parts in which a batch is differentiated, and the share of each in the objective."""
        yield batch, 1.0

    def differentiate_sampled(self, batch: Batch, step: int) -> None:
        """Adds to the gradients those of the objective on labels that are drawn from the model's own probabilities, by
        a stream of update `step`.

        Raises:
            IncompatibleError: there are none.
        """
        raise IncompatibleError("labels are drawn from a network's probabilities, and a surface has none")

    def seed_draws(self, step: int) -> None:
        """Seeds torch's global generators as for the passes of update `step`; on a surface, for what an optimizer
        draws."""
        return

    def refresh_batch_norm(self, step: int, batches: int) -> bool:
        """Gives batch norm the statistics of the training batches of the `batches` updates before `step`, at the
        weights as they are; False, and nothing changes, where the model has none."""
        return False

    def compile(self) -> float | None:
        """Compiles what is to be compiled before the first update, where something is, and gives the seconds of it.

        Raises:
            IncompatibleError: it cannot be compiled.
        """
        return None

    def prepares(self, epoch: int) -> bool:
        """Whether begin_epoch has something to do."""
        return False

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first update of an epoch that it prepares, with the weights that are evaluated in use;
        changes none of them. A run that goes on from the beginning of an epoch calls it once more."""
        return

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Held-out figures (`val_loss`, and `val_` before the name of each metric); empty on a surface. Changes
        nothing."""

    @property
    def ranked_by(self) -> tuple[str, int]:
        """The figure of an evaluation that says which one is best, and its direction: 1 where large is good."""
        return "val_accuracy", 1

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in label order; none on a surface and in a regression."""
        return ()

    def perturb_gradient(self, step: int) -> None:
        """Adds the sampling noise of update `step` to the gradients, where the problem has such a noise."""
        return

    def epoch_figures(self) -> dict[str, float]:
        """Figures of the training batches since the last call (`train_accuracy`), as they were trained on."""
        return {}

    def counters(self) -> dict[str, Any]:
        """What epoch_figures counted so far, the scale of a loss, pseudo-labels: for a checkpoint within an epoch."""
        return {}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        """Goes on counting from counters()."""
        return

    def coordinates(self) -> list[float] | None:
        """The point on a surface; None for a network."""
        return None
