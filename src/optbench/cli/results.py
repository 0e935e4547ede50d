"""compare and plot: what the records say, in tables and in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.common import Json, print_lines


def compare(
    where: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Run folders, sweep folders, or folders of them.")
    ],
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", "-f", help="Keep runs where key=value holds (also != < > and ~glob).", metavar="TEST"),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", "-g", help="Keys that make a group, comma-separated.", metavar="KEYS")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", "-s", help="Column to sort by; -column for descending.", metavar="COLUMN")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
    as_md: Annotated[bool, typer.Option("--md", help="Print Markdown.")] = False,
) -> None:
    """Compare recorded runs: one table a problem, medians and intervals over seeds, every run in the denominator.

    Examples:

      optbench compare outputs/

      optbench compare outputs/ --filter model=rosenbrock --group-by optimizer --sort steps

      optbench compare outputs/ --csv > results.csv
    """
    from optbench.comparison import compare as compare_runs
    from optbench.errors import UserError
    from optbench.report import export, print_comparison, unreadable_lines

    forms = [form for form, wanted in (("csv", as_csv), ("json", as_json), ("md", as_md)) if wanted]
    if len(forms) > 1:
        raise UserError(f"--{forms[0]} and --{forms[1]}: choose one form")
    found = compare_runs(where, filters=filters or (), group_by=group_by, sort=sort)
    if forms:
        typer.echo(export(found, forms[0]), nl=False)
    else:
        print_comparison(found)
    print_lines(unreadable_lines(found), err=True)


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .png, .svg or .pdf.")] = Path(
        "curves.png"
    ),
    path: Annotated[
        bool, typer.Option("--path", help="Paths over the contours of the surface instead of loss curves.")
    ] = False,
    curvature: Annotated[
        bool,
        typer.Option("--curvature", help="Gradient norm and extreme eigenvalues, too: why training got stuck."),
    ] = False,
) -> None:
    """Draw loss curves, or paths over a surface with its minima, saddles and maxima.

    With --curvature, for runs with trainer.curvature_every: loss, gradient norm and the extreme eigenvalues of the
    Hessian, and where a loss that no longer falls has a large gradient, is at a saddle, or in a minimum. The gradient
    counts as small where one step of length 1/max|lambda| promises less than 0.1 % of the whole fall of the loss; a
    saddle has lambda_min below -0.1 % of max|lambda|.

    Examples:

      optbench plot outputs/runs/rosenbrock-* -o curves.png

      optbench plot outputs/sweeps/race --path -o race.svg

      optbench plot outputs/runs/hw3_cnn-* --curvature -o stuck.png
    """
    from optbench.errors import UserError
    from optbench.plot import check_suffix, curvature_curves, loss_curves, save
    from optbench.records import scan

    if path and curvature:
        raise UserError("--path and --curvature: choose one figure")
    check_suffix(output)
    found, unreadable = scan(runs)
    print_lines([f"not read: {u.path}: {u.why}" for u in unreadable], err=True)
    if not found:
        raise UserError("no runs to draw")
    if path:
        from optbench.landscape import paths_figure

        figure = paths_figure(found)
    else:
        figure = curvature_curves(found) if curvature else loss_curves(found)
    save(figure, output)
    typer.echo(str(output))
