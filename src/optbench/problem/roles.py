"""What each parameter of a network is for, from its module tree: what optimizers that treat them differently go by.

    embedding   rows of a table that are looked up (torch's Embedding and EmbeddingBag)
    vector      biases, gains and offsets of norms, and whatever else has one dimension, others of length 1 aside
    first       the first weight of the network, which meets the input; none where that is an embedding
    head        the last one, which makes the output; also the only one
    filter      every other weight of a convolution, and others of more than two dimensions
    matrix      every other weight of two dimensions

A parameter has one role, the first in this list that fits. First and last are meant in the order in which the modules
are registered, which is that of the passes for all but a few networks: where it is not, or where a table of positions
is a bare parameter that no type gives away, roles are set by the parameter's name. A weight that stands in several
places (tied, or in a module that is used twice) has the names of all; tied to a table it is an embedding, and then no
other weight becomes the head in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from optbench.errors import IncompatibleError

if TYPE_CHECKING:
    from torch import nn

ROLES = ("embedding", "vector", "first", "head", "filter", "matrix")
_NORMS = ("_NormBase", "LayerNorm", "GroupNorm", "RMSNorm", "LocalResponseNorm")
_TABLES = ("Embedding", "EmbeddingBag")
_WEIGHING = ("Linear", "Bilinear", "_ConvNd", "RNNBase", "RNNCellBase", "MultiheadAttention")
"""Layers whose weights are weights even where one of their sides is 1, as of a single output."""


@dataclass(frozen=True)
class Placed:
    """A parameter, where it stands and what it is for.

    Attributes:
        parameter: itself.
        role: one of ROLES.
        names: its dotted names, the one of `named_parameters` first; several where it is tied.
        layers: names of the classes of the layer that holds it, most special first: Conv2d, _ConvNd, Module.
    """

    parameter: nn.Parameter
    role: str
    names: tuple[str, ...]
    layers: tuple[str, ...]


def roles(module: nn.Module, named: Sequence[Mapping[str, str]] = ()) -> list[Placed]:
    """Every parameter of a module with its role, in the order of `module.parameters()`.

    Args:
        module: the network, or what holds the point of a surface.
        named: roles that go by name and not by the tree: {"params": a glob, "role": one of ROLES}, the first that
            matches counts.

    Raises:
        IncompatibleError: a parameter that a first pass has yet to make, or a pattern that matches no name.
    """
    found = _places(module)
    weights = [place for place in found if place.bare == "weight"]
    last = weights[-1].parameter if weights else None
    begins = next((place for place in found if place.bare != "vector"), None)
    first = begins.parameter if begins is not None and begins.bare == "weight" else None  # else a table meets the input
    made: dict[int, Placed] = {}
    for key, places in _by_parameter(found).items():
        parameter, names = places[0].parameter, tuple(place.name for place in places)
        bare = "embedding" if any(place.bare == "embedding" for place in places) else places[0].bare
        role = bare
        if bare == "weight":
            shape = "filter" if parameter.ndim > 2 else "matrix"
            role = "head" if parameter is last else "first" if parameter is first else shape
        made[key] = Placed(parameter, _by_name(names, named) or role, names, places[0].layers)
    _check_named(named, made.values(), module)
    return list(made.values())


def counted(placed: Sequence[Placed]) -> str:
    """How many parameters of which role there are, in words."""
    count = Counter(one.role for one in placed)
    return ", ".join(f"{count[role]} {role}" for role in ROLES if count[role]) or "no parameters"


@dataclass(frozen=True)
class _Place:
    """A parameter under one of its names; `bare`: embedding, vector or weight."""

    parameter: nn.Parameter
    name: str
    bare: str
    layers: tuple[str, ...]


def _places(module: nn.Module) -> list[_Place]:
    """Every parameter in every place, in the order in which they are registered. Raises IncompatibleError."""
    return [place for path, part in _modules(module) for place in _own(path, part, module)]


def _modules(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield from module.named_modules(remove_duplicate=False)


def _own(path: str, part: nn.Module, whole: nn.Module) -> Iterator[_Place]:
    from torch.nn.parameter import is_lazy

    layer = part
    if type(part).__name__ == "ParametrizationList":  # stands in the place of the weight that it makes
        layer = whole.get_submodule(path.rpartition(".parametrizations.")[0])
    layers = tuple(kind.__name__ for kind in type(layer).__mro__ if kind is not object)
    for key, parameter in part.named_parameters(recurse=False, remove_duplicate=False):
        name = f"{path}.{key}" if path else key
        if is_lazy(parameter):
            raise IncompatibleError(
                f"{name} has no shape yet: {type(layer).__name__} makes it in its first pass",
                "let the model make a pass before the optimizer is built",
            )
        yield _Place(parameter, name, _bare(key, parameter, layers, layer is part), layers)


def _bare(key: str, parameter: Any, layers: Sequence[str], is_own: bool) -> str:
    """What a parameter is by its layer and shape alone: embedding, vector or weight; `is_own`: whether it is what the
    layer works with, and not what that is made of."""
    if any(kind in _TABLES for kind in layers):
        return "embedding"
    is_bias = key.startswith("bias") or "_bias" in key
    if parameter.ndim < 2 or is_bias or any(kind in _NORMS for kind in layers):
        return "vector"
    if not (is_own and any(kind in _WEIGHING for kind in layers)):
        rows = parameter.shape[0]
        if rows <= 1 or parameter.numel() == rows:
            return "vector"
    return "weight"


def _by_parameter(places: Sequence[_Place]) -> dict[int, list[_Place]]:
    found: dict[int, list[_Place]] = {}
    for place in places:
        held = found.setdefault(id(place.parameter), [])
        if all(place.name != other.name for other in held):
            held.append(place)
    return found


def _by_name(names: Sequence[str], named: Sequence[Mapping[str, str]]) -> str | None:
    return next((rule["role"] for rule in named if any(fnmatchcase(name, rule["params"]) for name in names)), None)


def _check_named(named: Sequence[Mapping[str, str]], placed: Any, module: nn.Module) -> None:
    names = [name for one in placed for name in one.names]
    for rule in named:
        if not any(fnmatchcase(name, rule["params"]) for name in names):
            raise IncompatibleError(
                f"optimizer.roles: no parameter of {type(module).__name__} is called {rule['params']}",
                f"there are {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}",
            )
