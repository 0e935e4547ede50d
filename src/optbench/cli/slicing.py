"""plot --interpolate and plot --plane: the loss of networks on lines and planes through their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import paths
from optbench.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optbench.comparison import Drawn
    from optbench.slices import Line, Plane
    from optbench.slices.runs import Wanted

KINDS = ("random", "checkpoints", "pca")
SPLITS = ("train", "validation")
_LEAST, _MOST = 3, 401  # points

Interpolate = Annotated[
    bool, typer.Option("--interpolate", help="Loss on the line between the ends of two runs, with its barrier.")
]
OnPlane = Annotated[
    str | None, typer.Option("--plane", help="Loss of networks on a plane, with their paths.", metavar="|".join(KINDS))
]
Points = Annotated[
    int | None,
    typer.Option("--points", help="Of --interpolate, and to a side of --plane.", metavar="N", show_default="25"),
]
Share = Annotated[float, typer.Option("--share", help="Part of the training data that they take.")]
SeedOf = Annotated[int, typer.Option("--seed", help="Of the directions of --plane random.", min=0)]
SplitOf = Annotated[str, typer.Option("--split", help="Whose loss --plane is.", metavar="|".join(SPLITS))]


def check(plane: str | None, points: int | None, share: float, split: str) -> None:
    """Refuses what cannot be, before anything is read."""
    if plane is not None and plane not in KINDS:
        raise UserError(f"--plane {plane}: expected {', '.join(KINDS)}")
    if split not in SPLITS:
        raise UserError(f"--split {split}: expected {' or '.join(SPLITS)}")
    if not 0.0 < share <= 1.0:
        raise UserError(f"--share {share:g}: expected a part of the training data, above 0 and up to 1")
    if points is not None and not _LEAST <= points <= _MOST:
        raise UserError(f"--points {points}: expected {_LEAST} to {_MOST}")


def sliced(found: Drawn, plane: str | None, wanted: Wanted, quiet: bool) -> Figure:
    """The figure that is asked for; what it says in numbers is printed.

    Args:
        found: the runs.
        plane: one of KINDS; None: the line between them.
        wanted: what is asked for.
        quiet: no progress display.
    """
    from optbench.cli.progress import counter
    from optbench.slices import between, on_plane

    if len(set(found.problems)) > 1:
        problems = ", ".join(dict.fromkeys(found.problems))
        raise UserError(
            f"these runs are of several problems ({problems}): they share no loss", "take runs of one of them"
        )
    names = _apart(found)
    with counter("loss on the line" if plane is None else "loss on the plane", quiet) as progress:
        if plane is None:
            line = between(found.runs, names, wanted, progress)
        else:
            flat = on_plane(found.runs, names, plane, wanted, progress)
    return _line(line) if plane is None else _plane(flat)  # once the bar is gone


def wanted_of(
    checkpoint: str | None, share: float, points: int | None, seed: int, split: str, config_dir: list[Path] | None
) -> Wanted:
    """What is asked for."""
    from optbench.slices.runs import Wanted

    return Wanted(checkpoint, share, points or 25, seed, split, paths(config_dir))


def _apart(found: Drawn) -> Sequence[str]:
    """A name for each run: its configuration, with the seed where that is not enough."""
    names = found.configurations
    if len(set(names)) < len(names):
        names = [f"{name} seed={run.config.get('seed')}" for name, run in zip(names, found.runs, strict=True)]
    return names if len(set(names)) == len(names) else [run.run_id for run in found.runs]


def _line(line: Line) -> Figure:
    from optbench.plot import line_figure
    from optbench.statistics.numbers import number, percent

    typer.echo(f"from {line.ends[0]} to {line.ends[1]}, {number(line.distance)} apart")
    for split, (height, at) in line.barriers.items():
        losses = line.losses[split]
        ends = f"{split}: loss {number(losses[0])} and {number(losses[-1])} at the ends"
        told = f"barrier {number(height)}" + (f" at alpha {at:.3g}" if height > 0 else "")
        if math.isnan(height):
            told = "no barrier: a loss is not finite"
        accuracy = line.accuracies.get(split)
        right = "" if accuracy is None else (
            f"; accuracy {percent(accuracy[0])} % and {percent(accuracy[-1])} %, at least {percent(accuracy.min())} %"
        )  # fmt: skip
        typer.echo(f"{ends}, {told}{right}")
    for note in line.notes:
        typer.echo(f"note: {note}", err=True)
    return line_figure(line.alphas, line.losses, line.accuracies, line.barriers, line.ends, line.notes)


def _plane(plane: Plane) -> Figure:
    from optbench.plot import plane_figure
    from optbench.statistics.numbers import number

    for path in plane.paths:
        if not math.isnan(path.share):
            count = len(path.steps)
            typer.echo(f"{path.name}: the plane explains {100 * path.share:.3g} % of its path of {count} checkpoints")
    typer.echo(f"{plane.split} loss {number(float(plane.z.min()))} to {number(float(plane.z.max()))} on the plane")
    for note in plane.notes:
        typer.echo(f"note: {note}", err=True)
    return plane_figure(plane.x, plane.y, plane.z, plane.paths, plane.marks, plane.labels, plane.split, plane.notes)
