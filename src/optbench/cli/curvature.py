"""curvature: what the loss looks like where a recorded run stopped. classify-critical --run is the same."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.common import ConfigDir, Json, Lang, Plot, Quiet, check_figure, paths, print_json, print_lines
from optbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from optbench.curvature import Inspection, NetworkPicture
    from optbench.records import Run

ESCAPE = "escape.pt"

Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="Which one: best, last, an epoch kept by trainer.keep_every, or a step on a surface.",
        metavar="best|last|N",
        show_default="OPTBENCH_CHECKPOINT, or best; on a surface, last",
    ),
]
Share = Annotated[float, typer.Option("--share", help="Fraction of a network's training data to use.")]
Products = Annotated[
    int | None,
    typer.Option("--products", help="Hessian-vector products to spend on a network.", min=1, show_default=False),
]
Budget = Annotated[
    float, typer.Option("--budget", help="Seconds for the proof that a checkpoint is not a local minimum.", min=0.1)
]


def curvature(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", metavar="RUN", show_default=False)],
    checkpoint: Checkpoint = None,
    share: Share = 1.0,
    products: Products = None,
    budget: Budget = 60.0,
    plot: Plot = None,
    lang: Lang = None,
    as_json: Json = False,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Describe the loss where a recorded run stopped: critical or not, minimum or saddle, and how certain that is.

    For a network's checkpoint: the gradient, the extreme eigenvalues of the Hessian with bounds on their errors, the
    shares of negative, zero and positive ones, a descent direction, and a verdict; the cost is printed before it
    starts. Where interval arithmetic over all the data proves that the point is not a local minimum, the verdict says
    so. For a run on a surface: the Taylor picture of the point.

    The same as optbench classify-critical --run RUN.

    Examples:

      optbench curvature outputs/runs/hw3_cnn-adam-s0-1a2b3c

      optbench curvature outputs/runs/hw3_cnn-adam-s0-1a2b3c --checkpoint last --plot spectrum.png

      optbench curvature outputs/runs/rosenbrock-gd-s0-1a2b3c --checkpoint 100 --json
    """
    check_options(share, plot)
    classify_run(run, checkpoint, share, products, budget, plot, as_json, paths(config_dir), quiet)


def check_options(share: float, plot: Path | None) -> None:
    """Refuses an invalid share or figure before anything is imported for it."""
    if not 0.0 < share <= 1.0:
        raise UserError(f"--share {share:g}: expected a part of the training data, above 0 and up to 1")
    check_figure(plot)


def classify_run(
    folder: Path,
    checkpoint: str | None,
    share: float,
    products: int | None,
    budget: float,
    plot: Path | None,
    as_json: bool,
    config_dirs: Sequence[Path],
    quiet: bool,
) -> None:
    """Classifies a checkpoint of a network's run, or a point of a surface's run.

    Args:
        folder: of the run.
        checkpoint: best, last, or a number: a kept epoch of a network, a recorded step on a surface. None: best on a
            network, last on a surface.
        share, products: see prepare; networks only.
        budget: seconds for the proof that it is not a local minimum; networks only.
        plot: where to draw the spectrum; networks only.
        as_json: print JSON.
        config_dirs: conf folders that are trusted beside the packaged one.
        quiet: no progress display.

    Raises:
        RecordError, UserError: nothing to classify; the message says why.
    """
    from optbench.records import check_own_run, read_run, verify_identity
    from optbench.records.chosen import chosen

    run = read_run(folder)
    check_own_run(run)
    if run.config["data"].get("_target_"):
        _network(folder, chosen(checkpoint, others=True), share, products, budget, plot, as_json, config_dirs, quiet)
    else:
        verify_identity(run)
        _surface(run, checkpoint or "last", plot, as_json, config_dirs)


def _surface(run: Run, checkpoint: str, plot: Path | None, as_json: bool, config_dirs: Sequence[Path]) -> None:
    """The Taylor picture of a surface at a recorded point of a run on it."""
    import numpy as np

    from optbench.critical import inspect_point
    from optbench.critical.points.describe import describe_picture
    from optbench.errors import RecordError
    from optbench.experiment.surface import recorded_field

    if plot is not None:
        raise UserError(
            "--plot draws the spectrum of a network; this is a run on a surface", "use optbench plot --path"
        )
    field = recorded_field(run, config_dirs)
    curve = run.curve()
    names = [f"x{i}" for i in range(field.surface.dim)]
    if not len(curve) or any(name not in curve for name in names):
        raise RecordError(f"{run.path}: its curve does not say where it stopped")
    steps = curve["step"].to_numpy(dtype=np.int64)
    i = _position(steps, curve["loss"].to_numpy(dtype=float), checkpoint, run)
    point = tuple(float(curve[name].iloc[i]) for name in names)
    picture = inspect_point(field.objective, point, name=field.name, box=field.surface.domain)
    if as_json:
        print_json(picture.to_json())
    else:
        at = "" if steps[i] == steps[-1] else f"; this is step {steps[i]}"
        typer.echo(f"run {run.run_id} stopped after {steps[-1]} steps ({run.status}: {run.reason}){at}")
        print_lines(describe_picture(picture))


def _position(steps: NDArray[np.int64], loss: NDArray[np.float64], checkpoint: str, run: Run) -> int:
    """Which row of a curve --checkpoint names."""
    import numpy as np

    from optbench.errors import RecordError

    if checkpoint == "last":
        return len(steps) - 1
    if checkpoint == "best":
        return int(np.nanargmin(loss)) if np.isfinite(loss).any() else len(steps) - 1
    if not checkpoint.isdecimal():
        raise UserError(f"--checkpoint {checkpoint}: expected best, last or a step")
    nearest = int(np.abs(steps - int(checkpoint)).argmin())
    if steps[nearest] != int(checkpoint):
        hint = f"the nearest one is {steps[nearest]}"
        raise RecordError(f"{run.path}: step {int(checkpoint)} is not recorded", hint)
    return nearest


def _network(
    folder: Path,
    checkpoint: str,
    share: float,
    products: int | None,
    budget: float,
    plot: Path | None,
    as_json: bool,
    config_dirs: Sequence[Path],
    quiet: bool,
) -> None:
    from optbench.records import check_place

    check_place(folder / ESCAPE)
    from optbench.cli.progress import counter
    from optbench.curvature.describe import describe_network, describe_plan

    inspection = _planned(folder, checkpoint, share, products, budget, config_dirs)
    print_lines(describe_plan(inspection.plan), err=True)
    with counter(f"curvature of {inspection.name}", quiet or as_json) as progress:
        picture = inspection.look(progress)
    saved = _save_escape(picture, folder / ESCAPE)
    if plot is not None:
        _draw(picture, plot)
    if as_json:
        print_json({**picture.to_json(), "escape_file": str(folder / ESCAPE) if saved else None})
    else:
        print_lines(describe_network(picture))
        if saved:
            typer.echo(f"direction down saved to {folder / ESCAPE}")


def _planned(
    folder: Path, checkpoint: str, share: float, products: int | None, budget: float, config_dirs: Sequence[Path]
) -> Inspection:
    from optbench.curvature import network_objective, prepare
    from optbench.experiment.rebuild import rebuild
    from optbench.problem import read_split
    from optbench.records.vocabulary import kept_checkpoint

    rebuilt = rebuild(folder, checkpoint, config_dirs)
    train = read_split(rebuilt.data, "train")
    objective = network_objective(rebuilt.model, rebuilt.loss, train, share=share, collator=rebuilt.collator)
    objective.notes.append("the training loss alone: weight decay and other terms of the optimizer are not in it")
    file = checkpoint if not checkpoint.isdecimal() else kept_checkpoint(int(checkpoint))
    return prepare(objective, name=f"{folder.name}/{file}.pt", products=products, proof_seconds=budget)


def _save_escape(picture: NetworkPicture, path: Path) -> bool:
    """Writes the direction that leads down, where there is one; it loads with weights_only=True."""
    import torch

    from optbench.records import write_bytes

    way: dict[str, Any] | None = picture.way_down()
    if way is None:
        return False
    buffer = io.BytesIO()
    torch.save(way, buffer)
    write_bytes(path, buffer.getbuffer())
    return True


def _draw(picture: NetworkPicture, path: Path) -> None:
    from optbench.plot import save
    from optbench.plot.spectrum import spectral_density

    title = f"{picture.name}: loss {picture.loss:.4g}, |g| = {picture.grad_norm:.2g}"
    ends = (picture.lambda_min, picture.lambda_max)
    save(spectral_density(picture.density.grid, picture.density.density, ends, picture.shares.tau, title), path)
    typer.echo(f"figure {path}", err=True)
