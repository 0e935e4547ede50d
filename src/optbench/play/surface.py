"""What the page knows of the surface: its field as a program, its critical points; and an update as a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.critical.points.describe import conclusion
from optbench.descend import Batch
from optbench.descend.plan import make_plan
from optbench.descend.program import Program, Value
from optbench.descend.scalar import plain_program
from optbench.descend.trace import trace_jet, trace_update
from optbench.experiment.surface import build_field
from optbench.explore.basins import points_in
from optbench.settings import SurfaceTrainer, trainer_from

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Ground:
    """A surface of one coordinate or two.

    Attributes:
        domain: (low, high) of each coordinate.
        minimum: its lowest value, where that is known.
        field: a plain program of value and gradient.
        points: its critical points: x, value, type, basis, and the level below which no descent leads away (or None).
        radius: within which a place belongs to a point.
        conclusion: what was found, and whether that is proved to be all.
        complete: whether it is.
    """

    domain: Sequence[Sequence[float]]
    minimum: float | None
    field: Mapping[str, Any]
    points: Sequence[Mapping[str, Any]]
    radius: float
    conclusion: str
    complete: bool


def ground_of(config: Config, budget: float) -> Ground:
    """The surface of a configuration; `budget`: seconds to search for critical points that are not known yet."""
    field = build_field(config)
    surface = field.surface
    found, disks = points_in(field, config, surface.domain, None, budget)
    program, results = trace_jet(field.objective, list(surface.start))
    return Ground(
        domain=[list(side) for side in surface.domain],
        minimum=surface.minimum if config["choices"]["loss"] == "surface" else None,
        field=plain_program(program, [f"x[{i}]" for i in range(surface.dim)], results[: 1 + surface.dim]),
        points=[
            {"x": list(p.x), "value": p.value, "type": p.type, "basis": p.basis, "level": level}
            for p, level in zip(found.points, disks.levels, strict=True)
        ],
        radius=disks.radius,
        conclusion=conclusion(found),
        complete=found.complete,
    )


def traced_update(config: Config) -> tuple[Program, Value, dict[str, Value]]:
    """The update of a run's optimizer on one coordinate, see `trace.trace_update`."""
    trainer = trainer_from(config)
    assert isinstance(trainer, SurfaceTrainer)
    batch = Batch(
        objective=lambda x: x.sum(-1),
        starts=np.zeros((1, 1)),
        optimizer=config["optimizer"],
        scheduler=config["scheduler"],
        trainer=trainer,
    )
    return trace_update(make_plan(batch))
