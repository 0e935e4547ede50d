"""A batch of rows that differ in length: made by a collate, checked, and its padding never counted.

A collate is any callable `(inputs, targets) -> (inputs, targets)`. It is given the rows of a batch as the data set has
them, trees whose leaves may be `Ragged`, on the CPU, and makes tensors with a row an example of them; targets are None
where the examples have none. `optbench.collate.pad` is one. What it adds to the inputs (a mask, lengths) is an argument
of the model like any other. Padding in targets is marked: -100 among classes and tokens, which is what
torch's losses ignore, NaN among numbers. What is so marked reaches neither loss nor metrics: of outputs (b, t, ...)
those at real targets are picked, so a loss sees a real token a row and nothing else, and a batch's mean is over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optbench.errors import DataError
from optbench.problem.ragged import Ragged
from optbench.problem.trees import Tree, leaves, lengths_of, ragged_in, rows

IGNORED = -100
"""What a target that is padding holds where targets are whole numbers; where they are numbers it is NaN."""
Collate = Callable[[Tree, Tree | None], tuple[Tree, Tree | None]]


@dataclass(frozen=True)
class Collated:
    """A batch that a collate made.

    Attributes:
        inputs: a tree of tensors, as the model is called with it but for what `problem.splits.scaled` does.
        targets: (b,) or (b, k) of each row, or a tree of tensors; a Ragged where each position has one: the real ones.
        real: bool (b, t) on the CPU, which positions of outputs (b, t, ...) these are of; None: they are of rows.
    """

    inputs: Tree
    targets: Tree | None
    real: Tensor | None


class Collator:
    """A collate, whose batches are checked.

    Args:
        collate: that makes them.
        n_classes: of the data; 0 where targets are numbers.
    """

    def __init__(self, collate: Collate, n_classes: int) -> None:
        self._collate, self._n_classes = collate, n_classes
        self.name = _called(collate)

    def check(self, inputs: Tree, targets: Tree | None, where: str) -> None:
        """Has a collate with a method `check(inputs, targets)` look at a whole split before it is trained on.

        Raises:
            DataError: it says so.
        """
        if (own := getattr(self._collate, "check", None)) is not None:
            try:
                own(inputs, targets)
            except DataError as error:
                raise DataError(f"{self.name} on {where}: {error.message}", error.hint) from None

    def __call__(self, inputs: Tree, targets: Tree | None) -> Collated:
        """The batch of some rows.

        Raises:
            DataError: what the collate made is no such batch.
        """
        n = rows(inputs)
        try:
            made = self._collate(inputs, targets)
        except DataError as error:
            raise DataError(f"{self.name}: {error.message}", error.hint) from None
        except Exception as error:  # it is anyone's code
            first = (str(error).strip().splitlines() or [""])[0]
            raise DataError(f"{self.name}: {type(error).__name__}: {first}") from error
        if not isinstance(made, tuple) or len(made) != 2:
            raise DataError(f"{self.name} gives a {type(made).__name__}", "a collate gives (inputs, targets)")
        self._check(made[0], n, "inputs")
        if targets is None:
            return Collated(made[0], None, None)
        self._check(made[1], n, "targets")
        return Collated(made[0], *self._placed(made[1], targets))

    def _check(self, made: Tree, n: int, what: str) -> None:
        """Raises DataError unless something is a tree of tensors of n rows, without complex numbers."""
        found = leaves(made)
        if not found:
            raise DataError(f"{self.name} gives no {what}")
        for leaf in found:
            if not isinstance(leaf, Tensor):
                raise DataError(f"{self.name} leaves a {type(leaf).__name__} in the {what}; a model takes tensors",
                                "pad it: Ragged.padded(length, value)")  # fmt: skip
            if leaf.ndim == 0 or len(leaf) != n:
                came = f"{what} {tuple(leaf.shape)} of {n} examples"
                raise DataError(
                    f"{self.name} gives {came}; expected ({n}, ...)", "a collate keeps rows and their order"
                )

    def _placed(self, made: Tree, asked: Tree) -> tuple[Tree, Tensor | None]:
        """The real ones among targets that a collate made, and where they stand."""
        if not isinstance(made, Tensor) or not (isinstance(asked, Ragged) or (self._n_classes and made.ndim > 1)):
            if isinstance(made, Tensor) and self._n_classes:
                self._check_classes(made)
            return made, None
        if made.ndim < 2:
            raise DataError(f"{self.name} gives targets {tuple(made.shape)}; each position has one, so expected (b, t)")
        padding = made.isnan() if made.is_floating_point() else made == IGNORED
        real = ~padding.reshape(*made.shape[:2], -1).any(dim=-1)
        kept = made[real]
        given = len(asked.values) if isinstance(asked, Ragged) else asked.shape[:2].numel()
        if len(kept) > given:
            raise DataError(f"{self.name} gives {len(kept)} targets of {given}",
                            f"padding is marked by {IGNORED}, among numbers by NaN")  # fmt: skip
        if not len(kept):
            raise DataError(f"{self.name} gives a batch without targets")
        if self._n_classes:
            self._check_classes(kept)
        counts = real.sum(dim=1)
        return Ragged(kept, torch.cat([counts.new_zeros(1), counts.cumsum(0)])), real

    def _check_classes(self, targets: Tensor) -> None:
        if targets.is_floating_point() or bool(((targets < 0) | (targets >= self._n_classes)).any()):
            what = (
                f"{targets.dtype}" if targets.is_floating_point() else f"{int(targets.min())} to {int(targets.max())}"
            )
            raise DataError(f"{self.name} gives targets {what}; expected 0 to {self._n_classes - 1}",
                            f"{IGNORED} marks padding")  # fmt: skip


def _called(collate: Any) -> str:
    own = getattr(collate, "func", collate)
    return f"the collate {getattr(own, '__name__', type(own).__name__)}"


def stand_ins(inputs: Tree) -> Ragged | None:
    """Targets of no meaning, one at each position of rows that have none, by which a collate says which positions are
    real; None where no rows differ in length."""
    found = ragged_in(inputs)
    return found[0].with_values(torch.zeros(len(found[0].values), dtype=torch.long)) if found else None


def check_repeats(collator: Collator, inputs: Tree, targets: Tree | None) -> None:
    """Raises DataError where a collate makes another batch of the same rows each time."""
    first, again = (collator(inputs, targets) for _ in range(2))
    same = (leaves(part.inputs) + ([] if part.real is None else [part.real]) for part in (first, again))
    for a, b in zip(*same, strict=True):
        if a.dtype != b.dtype or a.shape != b.shape or not torch.equal(a.nan_to_num(), b.nan_to_num()):
            raise DataError(f"{collator.name} makes another batch of the same rows each time",
                            "what is drawn at random is an augmentation: augment=...")  # fmt: skip


def picked(outputs: Any, real: Tensor | None) -> Any:
    """Outputs at real targets, a Ragged, of outputs (b, t, ...); outputs themselves where nothing is padded.

    Raises:
        DataError: the outputs are of another length than the targets.
    """
    if real is None:
        return outputs
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or outputs.shape[:2] != real.shape:
        came = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise DataError(f"the model's outputs are {came} and the targets {tuple(real.shape)}, one a position",
                        "a model of such data gives outputs (b, t, ...)")  # fmt: skip
    counts = real.sum(dim=1)
    places = torch.nonzero(real.flatten()).flatten()
    if outputs.device.type == "cuda":
        places = places.pin_memory()
    values = outputs.flatten(0, 1).index_select(0, places.to(outputs.device, non_blocking=True))
    return Ragged(values, torch.cat([counts.new_zeros(1), counts.cumsum(0)]))


def check_ragged(inputs: Tree, targets: Tree | None, where: str) -> None:
    """Raises DataError for rows of different lengths that nothing makes a batch of."""
    for what, tree in (("inputs", inputs), ("targets", targets)):
        found = [] if tree is None else ragged_in(tree)
        if found:
            long = lengths_of(found[0])
            raise DataError(f"the {what} of {where} have rows of {long} values; a batch wants one length",
                            "collate=pad pads them (optbench list collate)")  # fmt: skip


def counts_of(targets: Tree | None, n: int) -> Tensor:
    """What each row counts in a mean, float64 (n,): its real targets where each position has one, else 1."""
    return targets.lengths.double() if isinstance(targets, Ragged) else torch.ones(n, dtype=torch.float64)
