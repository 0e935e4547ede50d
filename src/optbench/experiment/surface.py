"""A surface by name or by record: the scalar field that it is under its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.catalogue import surface_names
from optbench.config import Composer, build, check_targets, trusted_targets
from optbench.config.hydra_keys import check_hydra_keys
from optbench.errors import ConfigError, UserError
from optbench.experiment.programs import Later, shelved
from optbench.records import Run, check_own_run
from optbench.settings import did_you_mean

if TYPE_CHECKING:
    from optbench.pages import Ground
    from optbench.problem import AbstractSurface, Box, Objective


_GRID = 161  # points to a side of what is drawn


@dataclass(frozen=True)
class SurfaceFacts:
    """What is known of a surface without building it; attributes as of AbstractSurface, and the `name` of its class."""

    name: str
    domain: Box
    start: tuple[float, ...]
    minimum: float | None

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.domain)


@dataclass(frozen=True)
class Field:
    """A surface under a loss: `objective` maps (..., dim) to (...)."""

    name: str
    surface: AbstractSurface
    objective: Objective


@dataclass(frozen=True)
class ShelvedField:
    """The same of a surface that is not built before its objective is evaluated."""

    name: str
    surface: SurfaceFacts
    objective: Objective


def compose_surface(
    name: str, dim: int | None = None, overrides: Sequence[str] = (), config_dirs: Sequence[Path] = ()
) -> dict[str, Any]:
    """The configuration of a surface in the catalogue. No torch here. Raises ConfigError."""
    check_hydra_keys(overrides, ())
    names = surface_names(config_dirs)
    if name not in names:
        hint = did_you_mean(name, names, "--fn ") or "optbench list model shows them all"
        raise ConfigError(f"there is no surface '{name}'", hint)
    with Composer(config_dirs) as composer:
        chosen = [f"model={name}", *overrides]
        config = composer.compose(chosen).config
        if dim is not None and "dim" not in config["model"]:
            raise ConfigError(f"--dim {dim}: {name} has a fixed number of coordinates")
        return config if dim is None else composer.compose([*chosen, f"model.dim={dim}"]).config


def build_field(config: Mapping[str, Any]) -> Field:
    """The field of a composed configuration. Raises UserError if its model is a network, IncompatibleError."""
    from optbench.problem import AbstractSurface, surface_objective

    surface = build(config["model"], "model")
    name = config["choices"]["model"]
    if not isinstance(surface, AbstractSurface):
        raise UserError(f"{name} is a network, not a surface")
    return Field(_title(config), surface, surface_objective(surface, build(config["loss"], "loss")))


def shelved_field(config: Mapping[str, Any]) -> ShelvedField | None:
    """The same of a run whose program is on the shelf, or can be put there: what is known of it, its objective built
    when it is first evaluated. None for any other."""
    found = shelved(config)
    if found is None:
        return None
    facts = found.program
    domain = tuple((low, high) for low, high in facts["domain"])
    surface = SurfaceFacts(facts["name"], domain, tuple(facts["start"]), facts["minimum"])
    return ShelvedField(_title(config), surface, Later(config))


def recorded_minimum(run: Run, config_dirs: Sequence[Path] = ()) -> float | None:
    """The minimum of the surface that a recorded run descended; None under a loss of its own, where none is known, and
    of a network. A surface whose program is on the shelf is not built. Raises RecordError as `recorded_field`."""
    config = run.config
    trusted = trusted_targets(config_dirs)
    for part in ("model", "loss"):
        check_targets(config[part], trusted, f"{run.path}: {part}.")
    if config["choices"].get("loss") != "surface" or run.summary.get("data") not in (None, "none"):
        return None
    known = shelved_field(config)
    return known.surface.minimum if known is not None else build_field(config).surface.minimum


def _title(config: Mapping[str, Any]) -> str:
    name, loss = config["choices"]["model"], config["choices"]["loss"]
    return str(name) if loss == "surface" else f"{name} under {loss}"


def recorded_field(run: Run, config_dirs: Sequence[Path] = ()) -> Field:
    """The field that a recorded run descended. Raises RecordError for a target that no trusted config names."""
    check_own_run(run)
    config, trusted = run.config, trusted_targets(config_dirs)
    for part in ("model", "loss"):
        check_targets(config[part], trusted, f"{run.path}: {part}.")
    return build_field(config)


def recorded_ground(run: Run, config_dirs: Sequence[Path] = ()) -> Ground:
    """The surface that a recorded run descended, on a grid over its box, with the critical points by which it is told
    where runs stop. What is on the shelf needs no torch.

    Raises:
        UserError: a surface that is not of two coordinates, or cannot be built here.
        RecordError: an imported run, a target that no trusted config names.
    """
    import numpy as np

    from optbench.critical.numeric.calculus import Field as Values
    from optbench.experiment.programs import NotHereError, landmarks_of
    from optbench.pages import Ground, Spot

    check_own_run(run)
    config, trusted = run.config, trusted_targets(config_dirs)
    for part in ("model", "loss"):
        check_targets(config[part], trusted, f"{run.path}: {part}.")
    try:
        known = landmarks_of(config)
    except NotHereError as error:
        raise UserError(f"the surface cannot be built here: {error.__cause__ or 'it is none'}") from error
    if len(known.box) != 2:
        raise UserError(f"contours need two coordinates; the surface has {len(known.box)}")
    x, y = (np.linspace(low, high, _GRID) for low, high in known.box)
    points = np.stack(np.meshgrid(x, y, indexing="xy"), axis=-1).reshape(-1, 2)
    z = Values(known.objective, known.box).value(points).reshape(_GRID, _GRID)
    listed = None if known.found is None else known.found.points
    spots = None if listed is None else tuple(Spot((p.x[0], p.x[1]), p.type, p.basis == "proved") for p in listed)
    return Ground(x, y, z, spots)
