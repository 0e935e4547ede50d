"""compare and plot: what the records say, in tables and in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from optbench.cli.common import ConfigDir, Json, Lang, Quiet, Which, check_figure, paths, print_lines
from optbench.cli.paging import asked_of, check_page, networks_of, write_page
from optbench.cli.slicing import Interpolate, OnPlane, Points, SeedOf, Share, SplitOf, sliced, wanted_of
from optbench.cli.slicing import check as check_slices
from optbench.cli.targets import aim_of, minimum_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

    from optbench.comparison import Comparison, Drawn
    from optbench.comparison.targets import Aim
    from optbench.plot import Asked, Race

Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", "-f", help="Keep runs where key=value holds (also != < > and ~glob).", metavar="TEST"),
]


_Places = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", help="Run folders, sweep folders, or folders of them.", show_default=False),
]
GroupBy = Annotated[
    str | None, typer.Option("--group-by", "-g", help="Keys that make a group, comma-separated.", metavar="KEYS")
]
_Sort = Annotated[
    str | None, typer.Option("--sort", "-s", help="Column to sort by; -column for descending.", metavar="COLUMN")
]
TuneSeeds = Annotated[
    str, typer.Option("--tune-seeds", help="Choose settings on these, report the others: 0..2", metavar="SEEDS")
]
Pool = Annotated[bool, typer.Option("--pool", help="Pool the settings of a group; do not take the best.")]
_Baseline = Annotated[str | None, typer.Option("--baseline", help="Judge all others against this one.", metavar="NAME")]
Metric = Annotated[str | None, typer.Option("--metric", help="Rank and judge by this score of runs.", metavar="NAME")]
Alpha = Annotated[float, typer.Option("--alpha", help="Chance of any false verdict.")]
Within = Annotated[
    float | None, typer.Option("--equivalent-within", help="A difference below this is none.", metavar="D")
]
Anytime = Annotated[bool, typer.Option("--anytime", help="Verdicts that hold though you add seeds and look again.")]
_Score = Annotated[
    str, typer.Option("--score", help="Scores over or on problems, comma-separated; all: over.", metavar="NAMES")
]
_Cost = Annotated[
    str | None, typer.Option("--cost", help="Times to common targets in steps, evals, epochs, seconds.", metavar="UNIT")
]
_Target = Annotated[str, typer.Option("--target", help="Common targets, comma-separated.", metavar="LEVELS")]
Budget = Annotated[
    str | None, typer.Option("--budget", help="Compare all as they were there: 500evals, 10s, 3epochs.", metavar="COST")
]
_Spread = Annotated[
    float | None, typer.Option("--spread", help="Known deviation of a run's loss (certified).", metavar="SIGMA")
]
_StepWorth = Annotated[
    float | None, typer.Option("--step-worth", help="Loss that a step is worth (certified_gain).", metavar="LOSS")
]
_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
_Markdown = Annotated[bool, typer.Option("--md", help="Print Markdown.")]
_Explain = Annotated[
    bool,
    typer.Option("--explain", help="Print the rule of a score, given its NAME; with PATHs why the verdicts are so."),
]
_Latex = Annotated[bool, typer.Option("--latex", help="Print LaTeX tables (booktabs).")]
_Parquet = Annotated[bool, typer.Option("--parquet", help="Write a Parquet table to standard output.")]
_Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write a page to look at, one file.", metavar="FILE", callback=check_page),
]
_Curves = Annotated[
    bool | None,
    typer.Option(
        "--curves/--no-curves",
        help="Each loss as a line of blocks.",
        show_default="on a terminal, where there is room",
    ),
]
_Worst = Annotated[
    int | None,
    typer.Option(
        "--worst", help="With --html: ask N networks what they get wrong (3, quick ones).", metavar="N", min=0
    ),
]
_Pairs = Annotated[bool, typer.Option("--pairs", help="Print every verdict, however many there are.")]


def compare(
    where: _Places = None,
    filters: Filters = None,
    group_by: GroupBy = None,
    sort: _Sort = None,
    tune_seeds: TuneSeeds = "",
    pool: Pool = False,
    baseline: _Baseline = None,
    metric: Metric = None,
    alpha: Alpha = 0.05,
    equivalent_within: Within = None,
    anytime: Anytime = False,
    pairs: _Pairs = False,
    score: _Score = "",
    cost: _Cost = None,
    target: _Target = "",
    budget: Budget = None,
    spread: _Spread = None,
    step_worth: _StepWorth = None,
    config_dir: ConfigDir = None,
    checkpoint: Which = None,
    as_csv: _Csv = False,
    as_json: Json = False,
    as_md: _Markdown = False,
    as_latex: _Latex = False,
    as_parquet: _Parquet = False,
    html: _Html = None,
    worst: _Worst = None,
    curves: _Curves = None,
    lang: Lang = None,
    explain: _Explain = False,
) -> None:
    """Compare recorded runs: one table per problem, medians and intervals over seeds, every run in the denominator.

    --group-by optimizer reports each optimizer at its best setting, by the median of the measure that the table is
    ranked by: chosen on --tune-seeds and reported on the others, or without them for each seed on all others.

    Of every two configurations of a problem it is said whether one is better, and if not, how many seeds would decide:
    by paired tests over shared seeds, adjusted for all pairs.

    Examples:

      optbench compare outputs/

      optbench compare outputs/ --filter model=rosenbrock --group-by optimizer --sort steps

      optbench compare outputs/ --baseline adam --equivalent-within 0.01

      optbench compare outputs/ --group-by optimizer --score rank,iqm,improvement

      optbench compare outputs/ --cost evals --budget 500evals

      optbench compare outputs/ --score share_of_cost,certified_gain --baseline adamw

      optbench compare outputs/ --csv > results.csv

      optbench compare outputs/ --latex > table.tex

      optbench compare outputs/ --html report.html

      optbench compare --explain ert

      optbench compare outputs/ --explain adam sgd
    """
    from optbench import comparison

    form = _form(csv=as_csv, json=as_json, md=as_md, latex=as_latex, parquet=as_parquet)
    where, names = _places(where or [], explain, form or html, curves)
    if not where:
        return
    runs = comparison.read_runs(where)
    found = comparison.compare(
        runs, filters=filters or (), group_by=group_by, sort=sort, checkpoint=checkpoint, tune_seeds=tune_seeds,
        pool=pool, baseline=baseline, metric=metric, alpha=alpha, equivalent_within=equivalent_within, anytime=anytime,
        pairs=pairs or explain, score=score, cost=cost, target=target, budget=budget,
        minimum_of=minimum_of(config_dir), spread=spread, step_worth=step_worth,
    )  # fmt: skip
    if html is not None:
        each = found if group_by is None else comparison.compare(runs, filters=filters or (), checkpoint=checkpoint)
        aim = aim_of(cost, target, budget, config_dir)
        write_page(html, found, each, asked_of(aim, config_dir, networks_of(worst, config_dir)))
    _print(found, form, html is None, curves) if not explain else _print_reasons(found, names, pairs)


def _print(found: Comparison, form: str | None, shown: bool, curves: bool | None) -> None:
    """A comparison in the form that was asked for; without one, where it is to be shown, as the terminal has it."""
    from optbench.report import export, parquet_bytes, print_comparison, unreadable_lines

    if form is None and shown:
        print_comparison(found, curves=curves)
    elif form is not None:
        typer.echo(parquet_bytes(found) if form == "parquet" else export(found, form), nl=False)
        print_lines([] if form in ("md", "latex") else [*found.notes, *found.warnings], err=True)
    print_lines(unreadable_lines(found), err=True)


def _form(**asked: bool) -> str | None:
    """The form that was asked for; None: the terminal's. Raises UserError where there are several, or no place."""
    import sys

    from optbench.errors import UserError

    forms = [form for form, wanted in asked.items() if wanted]
    if len(forms) > 1:
        raise UserError(f"--{forms[0]} and --{forms[1]}: choose one form")
    if forms == ["parquet"] and sys.stdout.isatty():
        raise UserError("--parquet: a terminal shows no Parquet", "optbench compare ... --parquet > results.parquet")
    return forms[0] if forms else None


def _places(given: list[Path], explain: bool, form: object, curves: bool | None) -> tuple[list[Path], list[str]]:
    """The paths, and with --explain the configurations that are named beside them; rules that are named are printed,
    and where they alone are asked for there is nothing more to do.

    Raises:
        UserError: no path to compare, nothing to explain, a name without a path that is no rule, or a form of output
            beside it; curves beside anything but the table.
    """
    from optbench.comparison.rules import KNOWN
    from optbench.comparison.rules import explain as rule_of
    from optbench.errors import UserError

    if curves and (explain or form):
        raise UserError(
            "--curves are beside the rows of the table that is printed", "optbench plot draws them in a file"
        )
    if not explain:
        if not given:
            hint = "run folders, or folders of them: outputs/; see optbench compare --help"
            raise UserError("no PATH to compare", hint)
        return given, []
    if form:
        raise UserError("--explain prints words: no other form of output, and no --html, go with it")
    places = [one for one in given if one.exists()]
    names = [str(one) for one in given if one not in places]
    if not given:
        raise UserError("--explain needs the NAME of a score, or a PATH", f"scores: {', '.join(KNOWN)}")
    rules = [name for name in names if name in KNOWN or not places]
    print_lines([rule_of(name) for name in rules])
    left = [name for name in names if name not in rules]
    return ([], []) if rules and not left else (places, left)


def _print_reasons(found: Comparison, names: list[str], every: bool) -> None:
    from optbench.report import unreadable_lines
    from optbench.report.reasons import reasons

    print_lines(reasons(found, names, every))
    print_lines([*found.notes, *(f"warning: {said}" for said in found.warnings), *unreadable_lines(found)], err=True)


FIGURES = ("ecdf", "profile", "ranks", "best-of")
"""What --figure draws."""
ByPath = Annotated[bool, typer.Option("--path", help="Paths over the contours of the surface instead of loss curves.")]
Facets = Annotated[
    bool, typer.Option("--facets", help="With --path: a panel a configuration, where paths hide each other.")
]
Relief = Annotated[bool, typer.Option("--3d", help="With --path: the surface as a relief, the paths on it.")]
Curvature = Annotated[
    bool,
    typer.Option("--curvature", help="Also gradient norm and extreme eigenvalues: why training got stuck."),
]
Bands = Annotated[
    bool, typer.Option("--bands", help="A line a configuration: the median of its runs, with its interval.")
]
Along = Annotated[str, typer.Option("--along", help="What --bands is drawn over.", metavar="step|evals|epoch|seconds")]
Over = Annotated[
    str | None, typer.Option("--over", help="A score over a setting, a line for each other choice.", metavar="KEY")
]
Score = Annotated[
    str | None,
    typer.Option(
        "--score",
        help="What --over draws: scores of compare, comma-separated.",
        metavar="NAMES",
        show_default="the accuracy, or final_loss",
    ),
]
Figure = Annotated[
    str | None, typer.Option("--figure", help="A figure over runs, targets and problems.", metavar="|".join(FIGURES))
]
Size = Annotated[str | None, typer.Option("--size", help="Size of the figure: 3.4x2.5in, 16x9cm.", metavar="WxH")]
Title = Annotated[str, typer.Option("--title", help="Title of the figure.", metavar="TEXT")]
XAxis = Annotated[
    str | None, typer.Option("--x-axis", help="Scale, limits, or both: log; 0:500; log,1:1e4.", metavar="AXIS")
]
YAxis = Annotated[
    str | None, typer.Option("--y-axis", help="The same of the upper axes: log,1e-8:; :2.", metavar="AXIS")
]
XLabel = Annotated[str, typer.Option("--x-label", help="Name of the x axis.", metavar="TEXT")]
YLabel = Annotated[str, typer.Option("--y-label", help="Name of the upper y axis.", metavar="TEXT")]
Curves = Annotated[
    int, typer.Option("--curves", help="Most runs to draw, taken from the configurations in turn.", min=1)
]


_WhichOne = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="Which one of a network: best or last; of --interpolate and --plane also an epoch that was kept.",
        metavar="best|last|N",
        show_default="OPTBENCH_CHECKPOINT, or best",
    ),
]


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders, sweep folders, or folders of them.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .png, .svg or .pdf; with --path also .gif, .mp4.")
    ] = Path("curves.png"),
    path: ByPath = False, facets: Facets = False, relief: Relief = False, curvature: Curvature = False,
    bands: Bands = False, along: Along = "step", over: Over = None, score: Score = None, figure: Figure = None,
    group_by: GroupBy = None, cost: _Cost = None, target: _Target = "", budget: Budget = None,
    interpolate: Interpolate = False, plane: OnPlane = None, points: Points = None, share: Share = 1.0,
    split: SplitOf = "train", seed: SeedOf = 0,
    checkpoint: _WhichOne = None, filters: Filters = None, size: Size = None, title: Title = "",
    x_axis: XAxis = None, y_axis: YAxis = None, x_label: XLabel = "", y_label: YLabel = "",
    curves: Curves = 500, lang: Lang = None, config_dir: ConfigDir = None, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Draw loss curves, paths over a surface with its minima, saddles and maxima, or scores over a setting.

    With --path -o race.gif (or .mp4, with 'optbench[video]') the runs race step by step, each with a fading tail, in at
    most 120 frames: the first a step apart, the later further, and the last with the whole paths. --path draws paths
    that lie on one another as stripes, and beyond seven of them, or in a tangle, --facets shows more: nothing switches
    to it by itself. In --3d what the surface hides of a path is dotted.

    With --over, a score of compare over the values of a setting, such as accuracy over the learning rate: a hollow star
    is a best that lies at the edge of what was tried. With --bands, the median curve of each configuration.

    With --curvature, for runs with trainer.curvature_every: loss, gradient norm and the extreme eigenvalues of the
    Hessian, and where a loss that no longer falls has a large gradient, is at a saddle, or in a minimum. The gradient
    counts as small where one step of length 1/max|lambda| promises less than 0.1 % of the whole fall of the loss; a
    saddle has lambda_min below -0.1 % of max|lambda|.

    With --interpolate, loss and accuracy on the straight line between the checkpoints of two networks, and the barrier:
    the most that the loss rises above the chord of its ends. With --plane, the loss on a plane through a network's
    weights: spanned by two random filter-normalised directions, through three checkpoints, or by the directions in
    which training moved most (pca, of a run with trainer.keep_every); the share of the path that the plane explains is
    printed. Batch norm's statistics are made anew at every point. Each point costs an evaluation of the data.

    With --figure ecdf, the share of pairs of a run and a target that were reached by each cost (--cost, --target,
    --budget as compare has them), over all problems; with profile, Dolan and More's performance profile of the same
    times; with ranks, average ranks with the critical difference; with best-of, what the best of k of the settings
    tried is, of a sweep over settings or a tuning. Settings are to be tried independently, as in a grid or at random.

    Examples:

      optbench plot outputs/runs/rosenbrock-* -o curves.png

      optbench plot outputs/sweeps/race --path -o race.svg

      optbench plot outputs/sweeps/race --path -o race.gif

      optbench plot outputs/sweeps/race --path --facets -o panels.png

      optbench plot outputs/sweeps/race --path --3d -o relief.png

      optbench plot outputs/sweeps/race --filter optimizer=adam,sgd --curves 40

      optbench plot outputs/runs/hw3_cnn-* --curvature -o stuck.png

      optbench plot outputs/sweeps/race --over lr

      optbench plot outputs/sweeps/sizes --over batch_size --score seconds_per_update,seconds_per_epoch,val_accuracy

      optbench plot outputs/sweeps/sizes --bands --along epoch

      optbench plot outputs/runs/mlp-adam-s0-* outputs/runs/mlp-adam-s1-* --interpolate -o barrier.png

      optbench plot outputs/runs/hw3_cnn-adam-* --plane random --points 15 --share 0.1 -o plane.png

      optbench plot outputs/ --figure ecdf --cost evals --size 3.4x2.5in -o ecdf.pdf

      optbench plot outputs/ --bands --y-axis log,1e-6:10 --x-label "update" --title "Which falls first"
    """
    _check_kind({"--path": path, "--curvature": curvature, "--bands": bands, "--over": over is not None,
                 "--figure": figure is not None, "--interpolate": interpolate, "--plane": plane is not None},
                {"--facets": ("--path", facets), "--3d": ("--path", relief),
                 "--along": ("--bands", along != "step"), "--score": ("--over", score is not None),
                 "--group-by": ("--figure", group_by is not None), "--cost": ("--figure", cost is not None),
                 "--target": ("--figure", bool(target)), "--budget": ("--figure", budget is not None),
                 "--points": ("--interpolate or --plane", points is not None),
                 "--share": ("--interpolate or --plane", share != 1.0), "--seed": ("--plane", seed != 0),
                 "--split": ("--plane", split != "train"),
                 "--checkpoint": ("--over or --figure or --interpolate or --plane",
                                  checkpoint is not None)})  # fmt: skip
    check_slices(plane, points, share, split)
    view = _view(output, path, facets, relief)
    form = _looks(size, title, (x_axis, x_label), (y_axis, y_label))
    drawn: MplFigure | Race
    if over is not None:
        drawn = _over(runs, over, score, filters or (), checkpoint)
    elif figure is not None:
        drawn = _over_problems(runs, figure, filters or (), group_by, checkpoint, cost, target, budget, config_dir)
    elif interpolate or plane is not None:
        wanted = wanted_of(checkpoint, share, points, seed, split, config_dir)
        drawn = sliced(_found(runs, filters or (), curves), plane, wanted, quiet)
    else:
        drawn = _of_runs(runs, filters or (), curves, view, curvature, bands, along, config_dir)
    _write(drawn, output, form, quiet)
    typer.echo(str(output))


def _view(output: Path, path: bool, facets: bool, relief: bool) -> str | None:
    """How paths are drawn: contours, facets, 3d, or race; None: not at all. The output is tried.

    Raises:
        UserError: two of them, or a film of anything else.
    """
    from optbench.errors import UserError
    from optbench.plot import FILMS, check_film

    asked = [view for view, wanted in (("facets", facets), ("3d", relief)) if wanted]
    if len(asked) > 1:
        raise UserError("--facets and --3d: choose one view")
    if output.suffix.lower() not in FILMS:
        check_figure(output)
        return (asked or ["contours"])[0] if path else None
    if asked or not path:
        raise UserError(f"{output}: a film is of --path alone", f"optbench plot ... --path -o {output.name}")
    check_film(output)
    return "race"


class Looks(NamedTuple):
    """How a figure is to look: size in inches, title, axes."""

    size: tuple[float, float] | None
    title: str
    x: Asked
    y: Asked


def _looks(size: str | None, title: str, x: tuple[str | None, str], y: tuple[str | None, str]) -> Looks:
    """What the options ask for. Raises UserError where that cannot be."""
    from optbench.plot import parse_axis, parse_size

    inches = None if size is None else parse_size(size)
    return Looks(inches, title, parse_axis("--x-axis", *x), parse_axis("--y-axis", *y))


def _write(drawn: MplFigure | Race, output: Path, form: Looks, quiet: bool) -> None:
    from optbench.cli.progress import counter
    from optbench.plot import Race, entitle, resize, save, save_race, set_axes

    figure = drawn.figure if isinstance(drawn, Race) else drawn
    print_lines([f"note: {one}" for one in set_axes(figure, form.x, form.y)], err=True)
    if form.size:
        resize(figure, *form.size)
    if form.title:
        entitle(figure, form.title)
    if isinstance(drawn, Race):
        with counter(output.name, quiet) as progress:
            save_race(drawn, output, progress=progress)
    else:
        save(drawn, output)


def _found(runs: list[Path], filters: Sequence[str], curves: int, prefer: str | None = None) -> Drawn:
    """The runs that a figure shows; what it does not show is said."""
    from optbench.comparison import drawn

    found = drawn(runs, filters, curves, prefer)
    _say_what_is_drawn(found)
    return found


def _of_runs(
    runs: list[Path], filters: Sequence[str], curves: int, view: str | None, curvature: bool, bands: bool, along: str,
    config_dir: list[Path] | None,
) -> MplFigure | Race:  # fmt: skip
    """Curves or paths of runs."""
    found = _found(runs, filters, curves, "trainer.curvature_every" if curvature else None)
    from optbench.plot import band_curves, curvature_curves, footnote, loss_curves

    if view == "race":
        from optbench.landscape import race

        film = race(found.runs, paths(config_dir), found.labels)
        footnote(film.figure, found.left_out)
        return film
    if bands:
        figure = band_curves(found.runs, found.configurations, along, found.problems)
    elif view is not None:
        from optbench.landscape import english_paths_figure

        figure = english_paths_figure(found.runs, paths(config_dir), found.labels, view)
    elif curvature:
        figure = curvature_curves(found.runs, found.labels)
    else:
        figure = loss_curves(found.runs, found.configurations, found.problems)
    footnote(figure, found.left_out)
    return figure


def _over_problems(
    runs: list[Path], kind: str, filters: Sequence[str], group_by: str | None, checkpoint: str | None, cost: str | None,
    target: str, budget: str | None, config_dir: list[Path] | None,
) -> MplFigure:  # fmt: skip
    """A figure of FIGURES."""
    from optbench.comparison import compare as compare_runs
    from optbench.errors import UserError
    from optbench.report import unreadable_lines

    if kind not in FIGURES:
        raise UserError(f"--figure {kind}: expected one of {', '.join(FIGURES)}")
    if kind in ("ranks", "best-of") and (cost is not None or target or budget is not None):
        raise UserError(f"--figure {kind} knows no targets: --cost, --target and --budget are of ecdf and profile")
    asked = aim_of(cost, target, budget, config_dir)
    grouped = None if kind == "best-of" else group_by  # whose lines are of settings, each a group
    found = compare_runs(runs, filters=filters, group_by=grouped, checkpoint=checkpoint)
    print_lines([*unreadable_lines(found), *found.notes, *(() if kind == "best-of" else found.warnings)], err=True)
    figure = _drawn(kind, found, asked, group_by)
    if any(group.tuned for group in found.groups):
        from optbench.plot import footnote

        footnote(figure, "each at its best setting, chosen on other seeds than those shown")
    return figure


def _drawn(kind: str, found: Comparison, asked: Aim, group_by: str | None) -> MplFigure:
    from optbench import plot
    from optbench.comparison import figures

    if kind == "ranks":
        return plot.ranks_figure(figures.ranking(found))
    if kind == "best-of":
        return plot.best_of_figure(figures.searches(found, (group_by or "optimizer").split(",")))
    if kind == "profile":
        profiles = figures.profiles(found, asked)
        print_lines(list(profiles.said), err=True)
        return plot.profile_figure(profiles)
    distributions = figures.distributions(found, asked)
    print_lines(list(distributions.said), err=True)
    return plot.ecdf_figure(distributions)


def _say_what_is_drawn(found: Drawn) -> None:
    from optbench.report import unreadable_lines

    print_lines([*unreadable_lines(found), *found.notes], err=True)
    if found.with_curve < found.found:
        typer.echo(f"{found.with_curve} of {found.found} runs have a recorded curve", err=True)
    if len(found.runs) < found.with_curve:
        few = f"{len(found.runs)} of {found.with_curve} are drawn"
        typer.echo(f"{few}, taken from the configurations in turn; --curves N draws more", err=True)


def _check_kind(figures: dict[str, bool], options: dict[str, tuple[str, bool]]) -> None:
    """At most one kind of figure, and no option of another kind."""
    from optbench.errors import UserError

    wanted = [name for name, asked in figures.items() if asked]
    if len(wanted) > 1:
        raise UserError(f"{' and '.join(wanted)}: choose one figure")
    for option, (kind, given) in options.items():
        if given and not set(kind.split(" or ")) & set(wanted):
            first = kind.split(" or ")[0]
            raise UserError(f"{option} says something of {kind} alone", f"optbench plot ... {first} {option} ...")


def _over(runs: list[Path], key: str, score: str | None, filters: Sequence[str], checkpoint: str | None) -> MplFigure:
    """Scores over a setting."""
    from optbench.comparison import respond
    from optbench.report import unreadable_lines

    names = [name.strip() for name in (score or "").split(",") if name.strip()]
    found = respond(runs, key, names, filters=filters, checkpoint=checkpoint)
    print_lines([*unreadable_lines(found), *found.notes], err=True)
    if edges := found.edges():
        typer.echo(
            f"best at the edge of what was tried, beyond which there may be better: {'; '.join(edges)}", err=True
        )
    from optbench.plot import response_figure

    return response_figure(found)
