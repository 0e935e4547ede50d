"""Surfaces as plain arrays for drawing, and the figures of recorded runs: the running half's hand to `plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from optbench.critical import critical_points
from optbench.errors import UserError
from optbench.experiment.surface import Field, recorded_field
from optbench.plot import Landscape, Mark, Race, loss_curves, path_facets, path_on_contours, path_on_relief, save
from optbench.plot.shown import in_language
from optbench.records import Run, check_own_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optbench.critical import CriticalSet
    from optbench.problem import Box, Objective

_GRID = 301
_SECONDS_FOR_POINTS = 5.0
_VIEWS = {"contours": path_on_contours, "facets": path_facets, "3d": path_on_relief}


def landscape(objective: Objective, box: Box, marks: Sequence[Mark] = (), title: str = "") -> Landscape:
    """A surface of one or two coordinates on a grid over a box.

    Args:
        objective: (..., dim) to (...), float64.
        box: (low, high) of each axis.
        marks: critical points to draw.
        title: of the figure.

    Raises:
        UserError: three coordinates or more.
    """
    if len(box) > 2:
        raise UserError(f"{title or 'the surface'} has {len(box)} coordinates; contours need one or two")
    axes = [torch.linspace(low, high, _GRID, dtype=torch.float64) for low, high in box]
    points = torch.stack(torch.meshgrid(*axes, indexing="xy"), dim=-1)
    with torch.no_grad():
        z = objective(points).numpy().astype(np.float64)
    y = axes[1].numpy() if len(axes) == 2 else None
    return Landscape(axes[0].numpy(), z, y, tuple(marks), title)


def marks_of(found: CriticalSet, objective: Objective) -> list[Mark]:
    """The points of a critical set as marks, with the eigenvectors of the Hessian."""
    return [Mark(p.x, p.type, p.eigenvalues, _eigenvectors(objective, p.x)) for p in found.points]


def _eigenvectors(objective: Objective, x: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    point = torch.tensor(x, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda v: objective(v), point)
    if not isinstance(hessian, torch.Tensor) or not torch.isfinite(hessian).all():
        return ()
    return tuple(tuple(float(v) for v in column) for column in torch.linalg.eigh(hessian).eigenvectors.T)


def _field_landscape(field: Field) -> Landscape:
    box = field.surface.domain
    found = critical_points(field.objective, box, name=field.name, seconds=_SECONDS_FOR_POINTS)
    return landscape(field.objective, box, [Mark(p.x, p.type) for p in found.points], field.name)


def paths_figure(
    runs: Sequence[Run],
    config_dirs: Sequence[Path] = (),
    labels: Sequence[str] | None = None,
    view: str = "contours",
) -> Figure:
    """The paths of runs on one surface, with its critical points; labels as `path_on_contours`. In the language that is
    meant, as `optbench.loss_curves`.

    Args:
        runs: of one surface.
        config_dirs: configuration folders of one's own, in which the surface may be.
        labels: one a run; None: what differs.
        view: contours; facets, a panel a configuration; or 3d.

    Raises:
        UserError: runs on several problems, on a network, or on more than two coordinates; an imported run; no such
            view.
    """
    return in_language(english_paths_figure(runs, config_dirs, labels, view))


def english_paths_figure(
    runs: Sequence[Run], config_dirs: Sequence[Path], labels: Sequence[str] | None, view: str
) -> Figure:
    """The same before it is put into a language, so that it can still get another size; `save` translates it."""
    if view not in _VIEWS:
        raise UserError(f"view {view!r}: expected one of {', '.join(_VIEWS)}")
    return _VIEWS[view](_surface_of(runs, config_dirs), runs, labels)


def race(runs: Sequence[Run], config_dirs: Sequence[Path] = (), labels: Sequence[str] | None = None) -> Race:
    """The paths of runs on one surface as a film, which `optbench.plot.save_race` writes; see `paths_figure`."""
    return Race(_surface_of(runs, config_dirs), runs, labels)


def _surface_of(runs: Sequence[Run], config_dirs: Sequence[Path]) -> Landscape:
    for run in runs:
        check_own_run(run)
    problems = {(str(r.config["model"]), str(r.config["loss"])): r for r in runs}
    if len(problems) > 1:
        names = sorted({str(r.summary["model"]) for r in runs})
        raise UserError(
            f"paths of several problems do not fit in one figure ({', '.join(names)})", "draw one at a time"
        )
    return _field_landscape(recorded_field(runs[0], config_dirs))


def draw_run(run: Run, config_dirs: Sequence[Path] = ()) -> list[Path]:
    """Draws a run's figures into its folder: the loss curve, and on surfaces of up to two coordinates the path."""
    if run.path is None:
        raise UserError("a row of a table has no folder to draw into", "use optbench plot")
    made = [save(loss_curves([run]), run.path / "loss.png")]
    curve = run.columns()
    if "x0" in curve and "x2" not in curve:
        made.append(save(paths_figure([run], config_dirs), run.path / "path.png"))
    return made
