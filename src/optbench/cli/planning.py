"""power: how many seeds a study needs, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import Json, Which, print_json, print_lines
from optbench.cli.results import Filters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optbench.comparison.seeds import Need


def power(
    where: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Run folders, sweep folders, or folders of them.", show_default=False),
    ],
    difference: Annotated[
        float,
        typer.Option("--difference", "-d", help="What is to be found, in units of the score.", show_default=False),
    ],
    metric: Annotated[
        str | None,
        typer.Option("--metric", "-m", help="Score of single runs.", show_default="what each problem is ranked by"),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", "-g", help="Keys that make a group, comma-separated.", metavar="KEYS")
    ] = None,
    filters: Filters = None,
    against: Annotated[
        str | None,
        typer.Option("--baseline", "-b", help="Configuration to hold the others against.", show_default="the best"),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Probability of any false verdict on a problem.")] = 0.05,
    chance: Annotated[float, typer.Option("--power", help="Probability of finding the difference.")] = 0.9,
    checkpoint: Which = None,
    as_json: Json = False,
) -> None:
    """Say how many seeds a difference needs, from the spread of existing runs.

    A pilot of five or ten seeds will do. Seeds that configurations share are compared pair by pair, which needs fewer
    where runs from the same start do alike. Accuracies are shares: 0.01 is one point.

    More pairs take more seeds. A difference of one standard deviation of a run takes 23 of each for one pair, 33 for
    the 5 pairs of six configurations with --baseline, 40 for all 15; on shared seeds, where the differences on one seed
    have that deviation, 13, 20 and 24.

    Examples:

      optbench power outputs/sweeps/pilot --difference 0.05

      optbench power outputs/ -d 0.01 --metric best_val_accuracy --filter data=digits

      optbench power outputs/ -d 1e-3 --baseline adam --alpha 0.01 --json
    """
    from optbench.comparison import compare
    from optbench.comparison.seeds import rule_of, seeds_of
    from optbench.report import unreadable_lines

    found = compare(where, filters=filters or (), group_by=group_by, checkpoint=checkpoint)
    needs = seeds_of(found, difference, metric, against, alpha, chance)
    if as_json:
        print_json(
            {"difference": difference, "alpha": alpha, "power": chance, "needs": [one.to_json() for one in needs]}
        )
    else:
        for problem in dict.fromkeys(one.problem for one in needs):
            print_lines([*_lines([one for one in needs if one.problem == problem]), ""])
        print_lines(rule_of(needs, f"{difference:g}", alpha, chance))
    print_lines([*found.notes, *unreadable_lines(found)], err=True)


def _lines(needs: Sequence[Need]) -> list[str]:
    """The table of one problem."""
    from optbench.report import Sheet, aligned, number
    from optbench.statistics.numbers import printable

    def count(one: Need, seeds: int | None) -> str:
        return f"{seeds:,}" if seeds is not None else "-" if one.spread is None else "> 1,000,000"

    first = needs[0]
    against = f" against {first.against}" if first.against else ""
    what = f"{first.comparisons} comparison{'s' * (first.comparisons != 1)}"
    title = printable(f"{first.problem}: {first.metric}{against}, {what}")
    some = any(one.diverged for one in needs)
    header = ("configuration", "n", "compared", "spread", *(["diverged"] * some), "seeds", "at most", "finds")
    rows = [
        (
            printable(one.configuration),
            str(one.n),
            "by seed" if one.paired else "runs",
            number(one.spread),
            *([f"{100 * one.diverged:.0f} %"] * some),
            *(count(one, one.seeds), count(one, one.at_most), number(one.finds)),
        )
        for one in needs
    ]
    return [title, *aligned(Sheet(title, header, tuple(rows), (False,) * len(rows)))]
