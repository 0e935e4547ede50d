"""Inputs of any form: a tensor, or mappings, tuples and lists of tensors, one row an example in each.

A leaf whose rows differ in length is a `Ragged`; a collate makes tensors of it before a model sees it.

How a model is called with them: with a tensor as `model(x)`, with a tuple or a list as `model(*parts)`, with a mapping
as `model(**parts)`; what is nested further is given as it is. So the parts have the names, or the order, of the
arguments of `forward`.

Numbers reach a model by their kind: bytes (uint8) scaled to [0, 1], floating point in the precision of the model, other
whole numbers (tokens, categories) as int64, and bool as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from optbench.problem import ragged
from optbench.problem.ragged import Ragged

Tree = Any
"""A tensor, a Ragged, or a mapping, tuple or list of trees."""


def mapped(function: Callable[[Tensor], Any], tree: Tree) -> Tree:
    """The tree with each tensor replaced by what the function makes of it, and the values of each Ragged."""
    if isinstance(tree, Tensor):
        return function(tree)

    def of_leaf(leaf: Any) -> Any:
        return leaf.with_values(function(leaf.values)) if isinstance(leaf, Ragged) else function(leaf)

    return _rebuilt(of_leaf, tree)


def _rebuilt(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """The tree with each leaf replaced by what the function makes of it."""
    if isinstance(tree, Tensor | Ragged):
        return function(tree)
    if isinstance(tree, Mapping):
        return {name: _rebuilt(function, part) for name, part in tree.items()}
    parts = [_rebuilt(function, part) for part in tree]
    if hasattr(tree, "_fields"):  # a named tuple
        return type(tree)(*parts)
    return tuple(parts) if isinstance(tree, tuple) else parts


def leaves(tree: Tree) -> list[Any]:
    """Its tensors and Raggeds, in order; whatever else stands in it, as it is."""
    if isinstance(tree, Mapping):
        return [leaf for part in tree.values() for leaf in leaves(part)]
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def total(tree: Tree) -> Tensor:
    """The sum of all numbers in its tensors, a scalar on the device of the first."""
    first, *others = (leaf.sum() for leaf in leaves(tree) if isinstance(leaf, Tensor))
    found: Tensor = sum(others, start=first)
    return found


def rows(tree: Tree) -> int:
    """How many examples it has."""
    return len(tree) if isinstance(tree, Tensor) else len(leaves(tree)[0])


def ragged_in(tree: Tree) -> list[Ragged]:
    """Its leaves whose rows differ in length."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Ragged)]


def chosen(tree: Tree, index: Tensor) -> Tree:
    """The examples of an index, int64 (k,), in its order."""
    if isinstance(tree, Tensor):
        return tree.index_select(0, index)
    return _rebuilt(lambda leaf: leaf.chosen(index) if isinstance(leaf, Ragged) else leaf.index_select(0, index), tree)


def part_of(tree: Tree, which: slice) -> Tree:
    """Some examples that follow one another; a view."""
    return _rebuilt(lambda leaf: leaf[which], tree)


def split(tree: Tree, size: int) -> Iterator[Tree]:
    """Consecutive parts of `size` examples and a shorter last one; views."""
    if isinstance(tree, Tensor):
        yield from tree.split(size)
    else:
        yield from (part_of(tree, slice(start, start + size)) for start in range(0, rows(tree), size))


def joined(trees: list[Tree]) -> Tree:
    """Trees of one form, one after the other."""
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.cat(trees)
    if isinstance(first, Ragged):
        return ragged.joined(trees)
    if isinstance(first, Mapping):
        return {name: joined([tree[name] for tree in trees]) for name in first}
    parts = [joined(list(same)) for same in zip(*trees, strict=True)]
    if hasattr(first, "_fields"):
        return type(first)(*parts)
    return tuple(parts) if isinstance(first, tuple) else parts


def size_in_bytes(tree: Tree, element: int | None = None) -> int:
    """Bytes of its numbers; `element`: were each of so many bytes."""
    return sum(leaf.numel() * (element or leaf.element_size()) for leaf in leaves(tree))


def shape_of(tree: Tree) -> str:
    """The shape of one example in words: 3x32x32, (8, 40), {tokens: 12, mask: 12}; a number by itself is 1, and rows
    that differ in length are 3..17x8."""
    if isinstance(tree, Tensor):
        return "x".join(map(str, tree.shape[1:])) or "1"
    if isinstance(tree, Ragged):
        return "x".join([lengths_of(tree, ".."), *map(str, tree.values.shape[1:])])
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{name}: {shape_of(part)}" for name, part in tree.items()) + "}"
    return "(" + ", ".join(map(shape_of, tree)) + ")"


def lengths_of(rows: Ragged, between: str = " to ") -> str:
    """How long rows are, in words: 3 to 17."""
    if not len(rows):
        return "0"
    least, most = int(rows.lengths.min()), int(rows.lengths.max())
    return f"{least}{between}{most}" if most > least else str(least)


def arguments(inputs: Tree) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a model is called with, by place and by name, by the rule at the top."""
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    return ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), {})


def called(model: Callable[..., Any], inputs: Tree) -> Tensor:
    """What a model makes of inputs, by the rule at the top."""
    by_place, by_name = arguments(inputs)
    outputs: Tensor = model(*by_place, **by_name)
    return outputs
