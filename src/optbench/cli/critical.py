"""classify-critical: where the gradient vanishes, and what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.common import ConfigDir, Json, Overrides, Quiet, paths
from optbench.errors import UserError

Fn = Annotated[
    str | None,
    typer.Option(
        "--fn",
        help="A surface of the catalogue, or path/to/file.py:function.",
        metavar="NAME",
        show_default="rosenbrock",
    ),
]
Formula = Annotated[
    str | None, typer.Option("--expr", help='A formula, e.g. "x**4 - 3*x*y + y**2".', show_default=False)
]
Method = Annotated[
    str | None,
    typer.Option("--method", help="certified (a proof; default up to 4 coordinates) or numeric.", show_default=False),
]
Verify = Annotated[
    str | None, typer.Option("--verify", help="arb: prove it once more in ball arithmetic.", show_default=False)
]
At = Annotated[
    str | None, typer.Option("--at", help="Look at one point only: x,y", metavar="POINT", show_default=False)
]
BoxText = Annotated[
    str | None,
    typer.Option("--box", help="lo,hi;lo,hi (one pair serves all axes).", metavar="BOX", show_default=False),
]
Dim = Annotated[int | None, typer.Option("--dim", help="Number of coordinates.", show_default=False)]
Budget = Annotated[float, typer.Option("--budget", help="Seconds to search.", min=0.1)]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw into this file (.png .svg .pdf).", show_default=False)]
Csv = Annotated[bool, typer.Option("--csv", help="Print one row a point as CSV.")]
RecordedRun = Annotated[
    Path | None, typer.Option("--run", help="Where this recorded run stopped, network or surface.", show_default=False)
]
Checkpoint = Annotated[str, typer.Option("--checkpoint", help="best or last, with --run.")]
Share = Annotated[float, typer.Option("--share", help="Part of the training data to use, with --run.")]
Products = Annotated[
    int | None, typer.Option("--products", help="Hessian-vector products to spend, with --run.", show_default=False)
]


def classify_critical(
    overrides: Overrides = None,
    fn: Fn = None,
    expr: Formula = None,
    at: At = None,
    box: BoxText = None,
    dim: Dim = None,
    method: Method = None,
    verify: Verify = None,
    budget: Budget = 60.0,
    plot: Plot = None,
    as_csv: Csv = False,
    as_json: Json = False,
    run: RecordedRun = None,
    checkpoint: Checkpoint = "best",
    share: Share = 1.0,
    products: Products = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Find and classify the critical points of a surface: minima, maxima, saddles, degenerate points.

    Up to four coordinates the answer is a proof, by interval arithmetic: COMPLETE, or what is not resolved and why. A
    function with an operation that intervals do not know, and --method numeric, are searched by multistart Newton,
    which can miss points and says so. In two dimensions the winding number of the gradient along the edge of the box
    is an independent check.

    With --run: the point where a recorded run stopped. For a network that is a checkpoint: gradient, extreme
    eigenvalues of the Hessian, shares of negative, zero and positive ones, a way down, and a verdict; the cost is
    printed before it starts.

    Examples:

      optbench classify-critical --fn rosenbrock

      optbench classify-critical --fn himmelblau --box "-6,6" --plot himmelblau.png

      optbench classify-critical --fn linear_net --at 0,0

      optbench classify-critical --expr "x**4 - 3*x*y + y**2" --box "-3,3"

      optbench classify-critical --fn my_surface.py:f --box "-2,2;-1,3" --json

      optbench classify-critical --run outputs/runs/hw3_cnn-adam-s0-1a2b3c --plot spectrum.png
    """
    from optbench.cli.surface_points import Question, answer, ask, look

    _check_options(as_csv, as_json, plot, method, verify)
    if run is not None:
        from optbench.cli.curvature import classify_run

        if as_csv or at or box or overrides or fn or expr:
            raise UserError("--run looks at one recorded point: surfaces, --csv, --at and --box do not apply")
        classify_run(run, checkpoint, share, products, plot, as_json, paths(config_dir), quiet)
        return
    question: Question = ask(fn, expr, at, box, dim, overrides or [], paths(config_dir))
    if question.point is not None:
        look(question, as_json)
    else:
        answer(question, method, verify, budget, plot, as_csv, as_json, quiet)


def _check_options(as_csv: bool, as_json: bool, plot: Path | None, method: str | None, verify: str | None) -> None:
    if as_csv and as_json:
        raise UserError("--csv and --json: choose one form")
    if method not in (None, "certified", "numeric"):
        raise UserError(f"--method {method}: expected certified or numeric")
    if verify not in (None, "arb"):
        raise UserError(f"--verify {verify}: expected arb")
    if verify and method == "numeric":
        raise UserError("--verify arb proves again what is certified; --method numeric proves nothing", "drop one")
    if plot is not None:
        from optbench.plot import check_suffix

        check_suffix(plot)
