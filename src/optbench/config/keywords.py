"""A part's keywords beside the signature of what they are given to, before it is called.

What a constructor raises for a wrong value is in its own words, and some raise nothing: `amsgrad=None` counts as false,
and a third beta is found at the first update. So what annotations rule out is refused here, with key, value and what
was expected. They are read generously: only what no reading of an annotation admits is refused, and an int is a float
and the other way round, since a whole number may be written either way.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import lru_cache
from typing import Any

from optbench.errors import ConfigError
from optbench.settings import did_you_mean, shown

_WORDS = {bool: "true or false", int: "a number", float: "a number", str: "a text"}
_LISTS = (list, tuple, set, frozenset, Sequence, Iterable, Set)


def check_keywords(node: Mapping[str, Any], target: Callable[..., Any], what: str) -> None:
    """Checks the keywords of a configuration node against the signature of its target.

    Args:
        node: of the configuration.
        target: what its `_target_` names.
        what: the part, as in `optimizer.lr`.

    Raises:
        ConfigError: a keyword that the target does not take, or a value that its annotation rules out.
    """
    parameters = _parameters(target)
    if parameters is None:
        return
    if node.get("_partial_"):  # what it completes later is not the user's to give
        parameters = dict(list(parameters.items())[1:])
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    name = getattr(target, "__name__", str(node.get("_target_")))
    for key, value in given.items():
        if key not in parameters:
            hint = did_you_mean(key, parameters, f"{what}.") or f"it takes {', '.join(parameters) or 'no keywords'}"
            raise ConfigError(f"{what}.{key}={shown(value)}: {name} has no keyword '{key}'", hint)
        annotation, default = parameters[key]
        if value is None and default is None:
            continue
        expected = _refusal(annotation, value)
        if expected is not None:
            raise ConfigError(f"{what}.{key}={shown(value)}: expected {expected}")


def is_keyword(target: Callable[..., Any], key: str) -> bool:
    """Whether a target names this keyword in its signature."""
    return key in (_parameters(target) or ())


def with_tensors(node: Mapping[str, Any], target: Callable[..., Any]) -> Mapping[str, Any]:
    """The node with lists of numbers made tensors (n,), float32, where the target takes a tensor and no list."""
    import torch

    made = {}
    for key, (annotation, _) in (_parameters(target) or {}).items():
        value, options = node.get(key), _options(annotation)
        takes_lists = any(_expected(option, value) is None for option in options)
        if torch.Tensor in options and not takes_lists and _numbers(value):
            made[key] = torch.tensor(value, dtype=torch.float32)
    return {**node, **made} if made else node


def _numbers(value: Any) -> bool:
    numbers = isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    return numbers and bool(value)


@lru_cache(maxsize=256)
def _parameters(target: Callable[..., Any]) -> Mapping[str, tuple[Any, Any]] | None:
    """Name to annotation and default of every keyword; None where any may be given, or nothing is known."""
    try:
        found = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return None
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except Exception:  # names that only a type checker can see
        hints = {}
    keywords = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: (hints.get(p.name, Any), p.default) for p in keywords}


def _refusal(annotation: Any, value: Any) -> str | None:
    """What an annotation expects, where it rules the value out; None where it does not, or cannot be read."""
    options = _options(annotation)
    words = [_expected(option, value) for option in options]
    if any(word is None for word in words):
        return None
    return " or ".join(dict.fromkeys(word for word in words if word)) or None


def _options(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _expected(option: Any, value: Any) -> str | None:
    """None where one reading of an annotation takes the value, or says nothing of it; else its words, or no word."""
    import torch

    if option is torch.Tensor:
        return None if isinstance(value, torch.Tensor) else ""  # no word for what nobody can write
    if option in (None, type(None)):
        return None if value is None else "null"
    if option in _WORDS:
        kinds = (int, float) if option in (int, float) else (option,)
        fits = isinstance(value, kinds) and isinstance(value, bool) == (option is bool)
        return None if fits else _WORDS[option]
    origin, inside = typing.get_origin(option) or option, typing.get_args(option)
    if origin is typing.Literal:
        return None if value in inside else " or ".join(map(shown, inside))
    if origin in _LISTS:
        return _expected_list(origin, inside, value)
    return None


def _expected_list(origin: Any, inside: tuple[Any, ...], value: Any) -> str | None:
    fixed = origin is tuple and bool(inside) and inside[-1] is not Ellipsis
    if fixed:
        kinds, words = list(inside), f"a list of {len(inside)}"
    else:
        kinds, words = list(inside[:1]) * (len(value) if isinstance(value, list) else 0), "a list"
    if not isinstance(value, list) or (fixed and len(value) != len(inside)):
        return words
    wrong = next((word for kind, v in zip(kinds, value, strict=False) if (word := _refusal(kind, v))), None)
    return None if wrong is None else f"{words}, each {wrong}"
