"""classify-critical: where the gradient vanishes, and which kind of point is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.common import Box, ConfigDir, Json, Lang, Overrides, Plot, Point, Quiet, paths
from optbench.cli.curvature import Checkpoint, Products, Share, check_options, classify_run
from optbench.errors import UserError

if TYPE_CHECKING:
    from optbench.cli.surface_points import Search

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
    typer.Option("--method", help="certified (a proof; default up to 8 coordinates) or numeric.", show_default=False),
]
Verify = Annotated[
    str | None, typer.Option("--verify", help="arb: repeat the proof in ball arithmetic.", show_default=False)
]
Dim = Annotated[int | None, typer.Option("--dim", help="Number of coordinates.", min=1, show_default=False)]
Budget = Annotated[
    float,
    typer.Option(
        "--budget",
        help="Seconds for the search (--run: for the proof), and as many for --verify or --certificate.",
        min=0.1,
    ),
]
MaxBoxes = Annotated[
    int | None,
    typer.Option("--max-boxes", help="Most boxes that a proof may examine.", min=1, show_default="2000000"),
]
MaxMemory = Annotated[
    float | None,
    typer.Option(
        "--max-memory", help="GB of memory that the search may use.", min=0.01, show_default="half of the machine's"
    ),
]
Depth = Annotated[
    float | None,
    typer.Option(
        "--depth",
        help="Share of the box's width below which the certified search leaves a region undecided.",
        show_default="1e-7",
    ),
]
BoxesToo = Annotated[bool, typer.Option("--boxes", help="With --plot: also draw the boxes that the proof examined.")]
Certificate = Annotated[
    Path | None,
    typer.Option(
        "--certificate",
        help="Write the proof to this file; check-proof repeats it.",
        metavar="FILE",
        show_default=False,
    ),
]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, one row per point.")]
Sweep = Annotated[
    str | None,
    typer.Option(
        "--sweep",
        help="Bifurcation diagram over a parameter: a=-1:1, with a in the formula or a keyword of the function.",
        metavar="NAME=LOW:HIGH",
        show_default=False,
    ),
]
RecordedRun = Annotated[
    Path | None,
    typer.Option(
        "--run", help="The point where this recorded run stopped; same as optbench curvature RUN.", show_default=False
    ),
]
NOT_SWEPT = (
    "--at",
    "--method",
    "--verify",
    "--max-boxes",
    "--max-memory",
    "--depth",
    "--boxes",
    "--certificate",
    "--csv",
)


def classify_critical(
    overrides: Overrides = None,
    fn: Fn = None,
    expr: Formula = None,
    at: Point = None,
    box: Box = None,
    dim: Dim = None,
    method: Method = None,
    verify: Verify = None,
    budget: Budget = 60.0,
    max_boxes: MaxBoxes = None,
    max_memory: MaxMemory = None,
    depth: Depth = None,
    plot: Plot = None,
    lang: Lang = None,
    boxes: BoxesToo = False,
    certificate: Certificate = None,
    as_csv: Csv = False,
    as_json: Json = False,
    sweep: Sweep = None,
    run: RecordedRun = None,
    checkpoint: Checkpoint = None,
    share: Share = 1.0,
    products: Products = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Find and classify the critical points of a surface: minima, maxima, saddles, degenerate points.

    Up to eight coordinates the answer is a proof, by interval arithmetic: COMPLETE, or what is not resolved and why. A
    function with an operation that intervals do not know, and --method numeric, are searched by multistart Newton,
    which can miss points and says so. In two dimensions the winding number of the gradient along the edge of the box
    is an independent check.

    With --at: one point, by Taylor's formula to second order,

      f(x + d) = f(x) + d'g + 1/2 d'Hd + ...

    with the gradient g and the Hessian H at x. The part of the gradient and that of the Hessian are printed apart,
    their sum beside the change that is measured. Where g = 0 only the Hessian's part is left, and its sign for all
    d says which kind of point it is: always positive (all eigenvalues of H positive) a minimum, always negative a
    maximum, both a saddle.

    With --sweep: the critical points as curves over a parameter, with folds, transcritical points and pitchforks
    proved, and their number between them.

    With --run: the point where a recorded run stopped, a network's checkpoint or a place on a surface. This is the
    same as optbench curvature RUN.

    Examples:

      optbench classify-critical --fn rosenbrock

      optbench classify-critical --fn himmelblau --box "-6,6" --plot himmelblau.png

      optbench classify-critical --fn six_hump_camel --plot proof.png --boxes

      optbench classify-critical --fn himmelblau --certificate proof.json

      optbench classify-critical --fn linear_net --at 0,0

      optbench classify-critical --fn himmelblau --at 1,1

      optbench classify-critical --expr "x**4 - 3*x*y + y**2" --box "-3,3"

      optbench classify-critical --fn my_surface.py:f --box "-2,2;-1,3" --json

      optbench classify-critical --expr "x**4 - 3*a*x*y + y**2 + x**2" --box "-2,2" --sweep "a=-1:1" --plot sweep.png

      optbench classify-critical --run outputs/runs/hw3_cnn-adam-s0-1a2b3c --plot spectrum.png
    """
    from optbench.cli.surface_points import Search, answer, ask

    search = Search(method, verify, budget, max_boxes, max_memory, depth, plot, boxes, certificate)
    _check(search, as_csv and as_json)
    check_options(share, plot)
    of_run = {"--checkpoint": checkpoint, "--share": None if share == 1.0 else share, "--products": products}
    of_surface = {"--fn": fn, "--expr": expr, "--at": at, "--box": box, "--dim": dim, "--method": method,
                  "--verify": verify, "--max-boxes": max_boxes, "--max-memory": max_memory, "--depth": depth,
                  "--boxes": boxes or None, "--certificate": certificate, "--csv": as_csv or None,
                  "--sweep": sweep, "overrides": overrides or None}  # fmt: skip
    if run is not None:
        _refuse(of_surface, "--run looks at one recorded point")
        classify_run(run, checkpoint, share, products, budget, plot, as_json, paths(config_dir), quiet)
        return
    _refuse(of_run, "that is for the point where a run stopped (--run)")
    if sweep is not None:
        _refuse({name: of_surface[name] for name in NOT_SWEPT}, "--sweep proves a whole diagram")
        _sweep(sweep, fn, expr, box, dim, overrides or [], paths(config_dir), budget, plot, as_json, quiet)
        return
    if at is not None:
        _refuse({"--certificate": certificate, "--plot": plot}, "--at looks at one point and draws or proves nothing")
    answer(ask(fn, expr, at, box, dim, overrides or [], paths(config_dir)), search, as_csv, as_json, quiet)


def _sweep(text: str, fn: str | None, expr: str | None, box: Any, dim: int | None, overrides: list[str],
           config_dirs: list[Path], budget: float, plot: Path | None, as_json: bool, quiet: bool) -> None:  # fmt: skip
    from optbench.cli.bifurcation import answer_sweep, family

    answer_sweep(family(text, fn, expr, box, dim, overrides, config_dirs), budget, plot, as_json, quiet)


def _refuse(options: Mapping[str, object], why: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UserError(f"{', '.join(given)}: {why}", "drop " + ("it" if len(given) == 1 else "them"))


def _check(search: Search, two_forms: bool) -> None:
    """Refuses options that contradict each other, before anything is imported for them."""
    if two_forms:
        raise UserError("--csv and --json: choose one form")
    if search.method not in (None, "certified", "numeric"):
        raise UserError(f"--method {search.method}: expected certified or numeric")
    if search.method == "numeric":
        if search.verify:
            raise UserError("--verify arb proves again what is certified; --method numeric proves nothing", "drop one")
        of_boxes = {"--boxes": search.boxes or None, "--depth": search.depth, "--max-boxes": search.max_boxes}
        if name := next((name for name, value in of_boxes.items() if value is not None), ""):
            raise UserError(f"{name} belongs to the certified search; --method numeric cuts no boxes", "drop one")
    if search.certificate is not None:
        from optbench.cli.proof import check_option

        check_option(search.certificate, search.method)
    if search.depth is not None and not 0.0 < search.depth < 1.0:
        raise UserError(f"--depth {search.depth:g}: expected a share of the box above 0 and below 1, such as 1e-9")
    if search.verify is not None:
        from optbench.critical.typed.parse import require_flint

        if search.verify != "arb":
            raise UserError(f"--verify {search.verify}: expected arb")
        require_flint()
    if search.boxes and search.plot is None:
        raise UserError("--boxes adds the boxes to a figure", "say where to draw it: --plot FILE")
