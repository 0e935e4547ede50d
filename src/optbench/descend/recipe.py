"""How the numbers of an optimizer's rule follow from the keywords of its configuration, found by trying.

A rule takes numbers that are keywords (`lr`), one less a keyword (`rest1 = 1 - beta1`), or defaults. Which is which is
seen when the keywords change a little, each by another share. So the numbers of a run with another learning rate need
neither the rule nor torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Recipe = Mapping[str, Any]


def recipe_of(node: Mapping[str, Any]) -> dict[str, Any] | None:
    """How each number of the rule of a configuration node comes about: ["of" or "rest", keyword, place in its list],
    or ["const", number]; None where one does neither.

    Args:
        node: of the optimizer, one run's.

    Raises:
        UnsupportedError: it has no rule.
    """
    from optbench.descend.plan import flat_numbers
    from optbench.descend.rules import rule_for

    nodes = [node, _nudged(node, 1), _nudged(node, 2)]
    flats = [flat_numbers(rule_for(n)) for n in nodes]
    if any(flat.keys() != flats[0].keys() for flat in flats):
        return None
    found: dict[str, Any] = {}
    for name, first in flats[0].items():
        forms = [*_forms(node), ["const", first]]
        fits = (f for f in forms if all(_value(f, n) == flat[name] for n, flat in zip(nodes, flats, strict=True)))
        if (form := next(fits, None)) is None:
            return None
        found[name] = form
    return found


def numbers_of(recipe: Recipe, node: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the rule for a node with the same options in use, by name: a float, or (rows,) where the node has
    an array."""
    return {name: _value(form, node) for name, form in recipe.items()}


def _forms(node: Mapping[str, Any]) -> Iterator[list[Any]]:
    for kind in ("of", "rest"):
        for key, value in node.items():
            if isinstance(value, float):
                yield [kind, key, None]
            elif isinstance(value, list):
                yield from ([kind, key, i] for i, v in enumerate(value) if isinstance(v, float))


def _value(form: list[Any], node: Mapping[str, Any]) -> Any:
    kind, key, *place = form
    if kind == "const":
        return float(key)
    given = node[key]
    if place[0] is not None:
        given = given[:, place[0]] if isinstance(given, np.ndarray) else given[place[0]]
    value = given if isinstance(given, np.ndarray) else float(given)
    return value if kind == "of" else 1.0 - value


def _nudged(node: Mapping[str, Any], times: int) -> dict[str, Any]:
    """The same node with every number other than 0 a little nearer to 0, each by a share of its own."""
    count = 0

    def nudge(value: Any) -> Any:
        nonlocal count
        if isinstance(value, list):
            return [nudge(v) for v in value]
        if not isinstance(value, float):
            return value
        count += 1
        return value * (1.0 - 0.01 * times / count)

    return {key: nudge(value) for key, value in node.items()}
