"""rank: the configurations in order, in a sentence that a paper can quote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.common import ConfigDir, Json, Which, print_json, print_lines
from optbench.cli.results import Alpha, Anytime, Budget, Filters, GroupBy, Metric, Pool, TuneSeeds, Within
from optbench.cli.targets import minimum_of


def rank(
    where: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Run folders, sweep folders, or folders of them.", show_default=False),
    ],
    filters: Filters = None,
    group_by: GroupBy = None,
    metric: Metric = None,
    alpha: Alpha = 0.05,
    equivalent_within: Within = None,
    anytime: Anytime = False,
    budget: Budget = None,
    tune_seeds: TuneSeeds = "",
    pool: Pool = False,
    config_dir: ConfigDir = None,
    checkpoint: Which = None,
    as_json: Json = False,
) -> None:
    """Rank recorded configurations, and say which of them cannot be told apart: a sentence to quote, and a table.

    On one problem by the verdicts on all pairs, as compare has them; over several problems by average ranks with
    Nemenyi's critical difference, of the configurations that ran on all, and then on each. Whoever reads the sentence
    finds n, the interval of the best one, and the pairs that p-values are adjusted for.

    Examples:

      optbench rank outputs/sweeps/race

      optbench rank outputs/ --group-by optimizer --metric best_loss

      optbench rank outputs/ --filter data=digits --json

      optbench rank outputs/ --budget 500evals --equivalent-within 0.01
    """
    from optbench.comparison import compare
    from optbench.comparison.ranked import rankings
    from optbench.report import unreadable_lines
    from optbench.report.ranking import ranking_lines, sentence

    found = compare(
        where, filters=filters or (), group_by=group_by, metric=metric, alpha=alpha, tune_seeds=tune_seeds, pool=pool,
        checkpoint=checkpoint, pairs=True, equivalent_within=equivalent_within, anytime=anytime, budget=budget,
        minimum_of=minimum_of(config_dir),
    )  # fmt: skip
    ranked, said = rankings(found)
    if as_json:
        print_json([{"sentence": sentence(one), **one.to_json()} for one in ranked])
    else:
        for one in ranked:
            print_lines([*ranking_lines(one), ""])
    print_lines([*said, *filter(None, [found.hopeless]), *found.notes], err=True)
    print_lines([*(f"warning: {line}" for line in found.warnings), *unreadable_lines(found)], err=True)
