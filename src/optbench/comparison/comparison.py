"""From paths to a Comparison, and a Comparison as tables and JSON."""

from __future__ import annotations

import functools
import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.comparison.budget import Within, within
from optbench.comparison.devices import by_device, on_several
from optbench.comparison.edges import edges_over
from optbench.comparison.filters import nothing, resolve_key, select
from optbench.comparison.groups import IDENTITY, Group, form_groups, rank, standing
from optbench.comparison.header import Difference, warnings
from optbench.comparison.judged import Question, Verdict, judged, undecidable
from optbench.comparison.observations import repeated
from optbench.comparison.ranked_by import Ranked, disagreement, of_stops
from optbench.comparison.tuned import Tuned, Tuning, chose, parse_seeds, planned_seeds, unequal
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.records import RUN_COLUMNS, Run, RunTable, Status, Unreadable, read, read_curves
from optbench.records.chosen import CHECKPOINTS, chosen
from optbench.records.metrics import COLUMN
from optbench.statistics import STATISTICS
from optbench.statistics.of_targets import OF_TARGETS

if TYPE_CHECKING:
    import pandas as pd

    from optbench.comparison.across import Score
    from optbench.comparison.targets import Aim, MinimumOf, Reader

Place = str | PathLike[str] | Run


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, sorted, with their statistics.

    Attributes:
        groups: by problem, then as sorted.
        differing: the settings that differ between groups, as columns of `table`.
        unreadable: folders and tables that looked like results and could not be read; no number includes them.
        notes: what a reader of the numbers must know, one sentence each.
        differences: the facts in which groups of a problem differ, see `header`.
        warnings: what makes a ranking unfair or a number optimistic, one sentence each.
        pairs: the verdicts on pairs of configurations of each problem.
        question: what was asked of pairs.
        scores: those that were asked for, over all problems or on each.
        reference: the configuration that `improvement` is over; empty where it is not among the scores.
        unsought: why there are no verdicts, where that is for the time they would take; else empty.
        hopeless: why no verdict could tell any two apart, whatever the runs had shown, and what could; else empty.
        asked: the statistics that groups are ordered by as the user said.
        checkpoint: whose accuracy (without classes: validation loss) networks are ranked by and tables show: best, of
            each run's best evaluation, or last.
    """

    groups: tuple[Group, ...]
    differing: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    notes: tuple[str, ...]
    checkpoint: str = CHECKPOINTS[0]
    differences: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = ()
    pairs: tuple[Verdict, ...] = ()
    question: Question = field(default_factory=Question)
    unsought: str = ""
    scores: tuple[Score, ...] = ()
    reference: str = ""
    hopeless: str = ""
    asked: tuple[str, ...] = ()

    @functools.cached_property
    def problems(self) -> dict[str, list[Group]]:
        """The groups by the name of their problem."""
        return _by_problem(self.groups)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The statistics of the groups, those of targets where they were asked for."""
        return _names(self.groups)

    def leader(self, problem: str) -> Group | None:
        """The best group of a problem, the first of equals; None where none is."""
        return next((group for group in self.problems[problem] if group.best), None)

    def untold(self, problem: str) -> set[str]:
        """The names of the configurations of a problem that cannot be told from its best one."""
        leader = self.leader(problem)
        mine = [one for one in self.pairs if one.problem == problem and leader and leader.label in (one.a, one.b)]
        close = [one for one in mine if one.verdict in ("undecided", "equivalent")]
        return {one.a if leader and one.b == leader.label else one.b for one in close}

    @property
    def table(self) -> pd.DataFrame:
        """One row a group: keys, n, runs by status, each statistic with its `_low` and `_high` (NaN: none) and `_n`,
        the number of runs that it is of, and `stopped_at`, the counts by critical point as JSON text."""
        import pandas as pd

        return pd.DataFrame(self.table_rows())

    def table_rows(self) -> list[dict[str, Any]]:
        """The rows of `table` as plain data; a row need not have every column."""
        return [self._table_row(group) for group in self.groups]

    def _table_row(self, group: Group) -> dict[str, Any]:
        row: dict[str, Any] = {"problem": group.problem, "configuration": group.label}
        row |= {key: group.keys.get(key) for key in (*IDENTITY, *self.differing)}
        row |= {"settings": group.tuned.settings, "optimism": group.tuned.optimism} if group.tuned else {}
        row |= {"n": group.n, "distinct": group.distinct, **group.n_by_status, "checkpoint": self._checkpoint_of(group)}
        for name in self.names:
            found = group.statistics.get(name) or Estimate(math.nan, n=0)
            row[name] = found.value
            row[f"{name}_low"] = math.nan if found.low is None else found.low
            row[f"{name}_high"] = math.nan if found.high is None else found.high
            row[f"{name}_n"] = found.n
        row["stopped_at"] = None if group.stopped_at is None else json.dumps(group.stopped_at)
        return row

    def _checkpoint_of(self, group: Group) -> str | None:
        """The checkpoint that a group is ranked by; None of a surface."""
        return (
            self.checkpoint
            if any(group.statistics.get(name) for name in Ranked(self.checkpoint).ends([group])[:-1])
            else None
        )

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run: problem, configuration, RUN_COLUMNS, every setting, and `path` of the folder."""
        import pandas as pd

        names = {
            "problem": [group.problem for group in self.groups for _ in range(group.n)],
            "configuration": [group.label for group in self.groups for _ in range(group.n)],
        }
        keys = dict.fromkeys([*RUN_COLUMNS, *(key for group in self.groups for key in group.rows.names)])
        columns = {key: [value for group in self.groups for value in group.rows.values(key)] for key in keys}
        return pd.DataFrame(names | columns)

    def curves(self) -> pd.DataFrame:
        """All curves below each other: problem, configuration, run_id, seed, and the columns of the curves."""
        import pandas as pd

        members = [(group, run) for group in self.groups for run in group.runs]
        seeds = [seed for group in self.groups for seed in group.rows.values("seed")]
        frames = []
        for (group, run), seed, curve in zip(members, seeds, read_curves([run for _, run in members]), strict=True):
            named = {"problem": group.problem, "configuration": group.label, "run_id": run.run_id}
            frames.append(curve.assign(**named, seed=seed))
        frame = pd.concat([f for f in frames if len(f)], ignore_index=True) if any(map(len, frames)) else pd.DataFrame()
        front = [c for c in ("problem", "configuration", "run_id", "seed") if c in frame]
        return frame[[*front, *(c for c in frame if c not in front)]]

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain data: `{header, groups, pairs, scores, warnings}`.

        header: `checkpoint`, the numbers of `runs` and of `groups`, and what `differs`: a list of
            `{problem, what, values}`, the values of each configuration by its name.
        groups: in order, each with its keys, `n`, `distinct`, `n_by_status`, each statistic as
            `{value, low, high, coverage, n}` or null, n being the number of runs that it is of, and `stopped_at`,
            critical points with the number of runs that stopped there, or null; `tuned`, see `tuned.Tuned`, or null;
            `run_ids`, ascending.
        pairs: a list of `{problem, metric, a, b, verdict, p, p_adjusted, effect, low, high, n, more_seeds, lost}`, the
            verdict on a being one of better, worse, equivalent, undecided; `lost` are the numbers of runs of a and of
            b without a result, which make an effect infinite.
        scores: a list of `{score, problem, configuration, value, low, high, coverage, n}`, those that were asked for;
            `problem` is null of those over all problems.
        warnings: notes, warnings, and what could not be read, a sentence each.

        Numbers that are not finite become null: strict JSON has no word for them.
        """
        differs = [
            {"problem": one.problem, "what": one.what, "values": {k: list(v) for k, v in one.values.items()}}
            for one in self.differences
        ]
        runs = sum(group.n for group in self.groups)
        return {
            "header": {"checkpoint": self.checkpoint, "runs": runs, "groups": len(self.groups), "differs": differs},
            "groups": [self._group_json(group) for group in self.groups],
            "pairs": [one.to_json() for one in self.pairs],
            "scores": [one.to_json() for one in self.scores],
            "warnings": [
                *self.notes,
                *self.warnings,
                *filter(None, [self.unsought, self.hopeless]),
                *(bad.why for bad in self.unreadable),
            ],
        }

    def _group_json(self, group: Group) -> dict[str, Any]:
        return (
            {"problem": group.problem, "configuration": group.label, "best": group.best}
            | {key: group.keys.get(key) for key in (*IDENTITY, *self.differing)}
            | {"n": group.n, "distinct": group.distinct, "n_by_status": dict(group.n_by_status)}
            | {"checkpoint": self._checkpoint_of(group), "tuned": group.tuned and group.tuned.to_json()}
            | {name: estimate_json(group.statistics.get(name)) for name in self.names}
            | {"stopped_at": None if group.stopped_at is None else dict(group.stopped_at)}
            | {"run_ids": sorted(map(str, group.rows.values("run_id")))}
        )


def estimate_json(found: Estimate | None) -> dict[str, float | None] | None:
    """An estimate as `{value, low, high, coverage, n}`, null for what is not finite; None where there is none."""
    if found is None:
        return None
    numbers = {name: getattr(found, name) for name in ("value", "low", "high", "coverage", "n")}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in numbers.items()}


def compare(
    paths: Place | Iterable[Place] | RunTable,
    *,
    filters: Sequence[str] = (),
    group_by: Sequence[str] | str | None = None,
    sort: str | None = None,
    checkpoint: str | None = None,
    tune_seeds: str | Iterable[int] = (),
    pool: bool = False,
    baseline: str | None = None,
    metric: str | None = None,
    alpha: float = 0.05,
    equivalent_within: float | None = None,
    anytime: bool = False,
    pairs: bool = False,
    score: str | Sequence[str] = (),
    cost: str | None = None,
    target: str = "",
    budget: str | None = None,
    minimum_of: MinimumOf | None = None,
    spread: float | None = None,
    step_worth: float | None = None,
) -> Comparison:
    """Compares every run under the paths: run folders, sweep tables, and folders of them, mixed as they come.

    Args:
        paths: where to look; a run stands for its folder, and a row of a sweep's table for all runs of the sweep. Or
            runs that were read already.
        filters: which runs take part, see `select`.
        group_by: keys that define a configuration, comma-separated or as a list; None: every setting but the seed. A
            group of several settings is reported at its best one, see `tuned`.
        sort: column of `table` to sort the groups of a problem by; "-column" from large to small; seconds
            device by device. None: the best first, as `ranked_by` says: by the first of trainer.metrics, by accuracy
            where there is one, else by validation loss, else by final loss.
        checkpoint: whose accuracy and validation loss: best or last; None: as `chosen` says.
        tune_seeds: the seeds that settings are chosen on, "0..2" or numbers, reported on the others; none: those
            of a tuning (`tune`) where its runs are here, else each seed's setting is chosen on all other seeds.
        pool: whether the runs of all settings of a group are pooled instead.
        baseline: the configuration that all others are judged against, by its name or its optimizer's; None: all pairs.
        metric: what groups are ranked and pairs judged by, one of `statistics.each.of_single_runs`; None: as `sort`
            has it.
        alpha: the probability of any false verdict on a pair.
        equivalent_within: the difference below which two configurations are equivalent; None: none are.
        anytime: whether verdicts shall hold though seeds are added until the result pleases; they then need more seeds.
        pairs: whether verdicts are wanted however many runs and pairs there are.
        score: scores over all problems, of `across.RULES`, or on each, of `within.RULES`, comma-separated or as a
            list; "all": every one over problems.
        cost: what times to common targets are counted in: steps, evals, epochs or seconds. With any of these three the
            scores of `statistics.of_targets` are computed from the curves.
        target: levels of the loss, or of validation accuracy, comma-separated; "": the usual ones, see `targets`.
        budget: where every curve is cut, such as 500evals: runs are grouped, ranked and judged as they were there.
        minimum_of: tells the minimum of the surface that a run descended; None: none is known.
        spread: known standard deviation of a run's value, for certified steps and gains; None: it is estimated.
        step_worth: what a step is worth in `within`'s certified gain; None: what the baseline's runs tell.

    Raises:
        UserError: no run found or left, an unknown key, something that is not a place to look at, or a group of several
            settings among which the seeds allow no choice.
        RecordError: a path that does not exist.
    """
    which = chosen(checkpoint)
    found = paths if isinstance(paths, RunTable) else read_runs(paths)
    STATISTICS.learn(found.different(COLUMN))
    question = Question.of(baseline, metric, alpha, equivalent_within, anytime, pairs)
    ranked = Ranked(which, metric)
    asked = _Asked(score, baseline, cost, target, budget, minimum_of, spread, step_worth)
    found = (cut := asked.within_budget(select(found, filters))).rows
    tuning = _tuning(found, tune_seeds, pool, group_by is not None)
    groups, differing, whole = form_groups(found, _keys(group_by, found), ranked, tuning)
    groups, noted = asked.with_targets(groups, ranked)
    clocks = whole.clocks()
    apart = {one.problem for one in clocks} if metric == "seconds" else set()
    groups = list(_sorted(_starless(groups, apart), sort, differing, ranked))
    differences = tuple(whole.differences())
    problems = _by_problem(groups)
    said = [*cut.warnings, *whole.left_out, *_of_tuning(groups)]
    said += [*warnings(differences, clocks, whole.cut_short(), cut.alike), *_of_stars(groups)]
    stops, stopped = of_stops(problems, ranked)
    said += [*on_several(found, groups), *_of_themselves(groups), *disagreement(problems, ranked), *stopped]
    verdicts, unsought = judged({name: problems[name] for name in problems if name not in apart}, question, ranked)
    scores, reference, words = asked.scored(problems, ranked, found)
    notes = (*found.notes, *cut.notes, *noted, *stops, *words)
    return Comparison(
        tuple(groups), tuple(differing), found.unreadable, notes, which, differences,
        tuple(said), tuple(verdicts), question, unsought, scores, reference,
        undecidable(problems, verdicts, question), _ordering(metric, sort, groups),
    )  # fmt: skip


def _ordering(metric: str | None, sort: str | None, groups: Sequence[Group]) -> tuple[str, ...]:
    """The statistics that groups are ordered by as the user says."""
    return tuple(name for name in (metric, (sort or "").removeprefix("-")) if name in _names(groups))


def read_runs(paths: Place | Iterable[Place]) -> RunTable:
    """The runs under some places, as `compare` has them. Raises UserError where there are none, RecordError."""
    places = _places(paths)
    found = read(places)
    if not len(found):
        raise nothing(places, found.unreadable)
    return found


def _tuning(runs: RunTable, seeds: str | Iterable[int], pool: bool, grouped: bool) -> Tuning:
    """How groups of several settings are brought to one. Raises UserError where there are no such groups."""
    given = parse_seeds(seeds) if isinstance(seeds, str) and seeds else frozenset(map(int, seeds))
    if not grouped and (given or pool):
        asked = "--tune-seeds" if given else "--pool"
        raise UserError(f"{asked}: every setting is a group of its own", "--group-by optimizer makes groups of several")
    if given or pool or not grouped:
        return Tuning(given, pool)
    return Tuning(planned_seeds(runs), planned=True)


@dataclass(frozen=True)
class _Asked:
    """Scores that are computed where they are asked for; fields as the arguments of `compare`."""

    score: str | Sequence[str]
    baseline: str | None
    cost: str | None
    target: str
    budget: str | None
    minimum_of: MinimumOf | None
    spread: float | None
    step_worth: float | None

    @property
    def aim(self) -> Aim:
        """What is asked of common targets. Raises UserError for a word that is none."""
        from optbench.comparison.targets import aim

        return aim(self.cost, self.target, self.budget, self.minimum_of, self.spread)

    @property
    def _reader(self) -> Reader:
        """Reads curves, once for targets and for scores."""
        both = self.score and (self.cost is not None or self.target)
        return (lambda rows, names: rows.curves(names, keep=True)) if both else RunTable.curves

    def within_budget(self, runs: RunTable) -> Within:
        """The runs as they were at the budget, if there is one."""
        if self.budget is None or (budget := self.aim.budget) is None:
            return Within(runs, [], [], alike=False)
        return within(runs, budget)

    def with_targets(self, groups: list[Group], ranked: Ranked) -> tuple[list[Group], list[str]]:
        """The groups with the scores of common targets, where these are asked for, and what must be said."""
        if self.cost is None and not self.target and self.budget is None:
            return groups, []
        from optbench.comparison.targets import with_targets

        try:
            return with_targets(_by_problem(groups), self.aim, ranked, self._reader)
        except UserError as error:  # a budget alone asks for none of them
            if self.cost is not None or self.target:
                raise
            return groups, [f"no scores of common targets: {error.message} ({error.hint})"]

    def scored(
        self, problems: Mapping[str, Sequence[Group]], ranked: Ranked, runs: RunTable
    ) -> tuple[tuple[Score, ...], str, list[str]]:
        """The scores that were asked for, the name of what `improvement` is over, and what must be said.

        Raises:
            UserError: an option without the score that it is of, or as those scores have it.
        """
        names: tuple[str, ...] = ()
        if self.score:
            from optbench.comparison import within as on_each
            from optbench.comparison.across import parse_scores, possible, scores_over, shared

            names = parse_scores(self.score, tuple(on_each.RULES))
        if self.step_worth is not None and "certified_gain" not in names:
            raise UserError("--step-worth is of --score certified_gain")
        if self.spread is not None and not (self.cost or self.target or self.budget or "certified_gain" in names):
            raise UserError("--spread is of certified steps (--cost, --target, --budget) and of --score certified_gain")
        if not names:
            return (), "", []
        scores: list[Score] = []
        said: list[str] = []
        reference: int | None = None
        if over := tuple(name for name in names if name not in on_each.RULES):
            across = shared(problems, ranked)
            if self.score in ("all", ["all"], ("all",)):
                over, said = possible(across)
            reference = across.reference(self.baseline) if "improvement" in over else None
            scores += scores_over(across, over, reference)
        if inside := [name for name in names if name in on_each.RULES]:
            asked = on_each.Asked(self.aim, self.baseline, self.step_worth, self._reader)
            found, more = on_each.scores_within(problems, runs, inside, asked)
            scores += found
            said += more
        return tuple(scores), "" if reference is None else across.configurations[reference], said


def _starless(groups: Iterable[Group], problems: Collection[str]) -> list[Group]:
    """The groups, on some problems without a best one."""
    return [replace(group, best=False) if group.problem in problems else group for group in groups]


def _names(groups: Sequence[Group]) -> tuple[str, ...]:
    """The statistics that there are, those of metrics and of targets where some group has them."""
    more = [name for name in (*STATISTICS.of_metrics, *OF_TARGETS) if any(name in group.statistics for group in groups)]
    return (*STATISTICS, *more)


def _by_problem(groups: Iterable[Group]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        found[group.problem].append(group)
    return dict(found)


def _of_stars(groups: Sequence[Group]) -> list[str]:
    """What to say where one observation makes a configuration the best."""
    found = []
    for problem, own in _by_problem(groups).items():
        alone = [group.label for group in own if group.best and group.distinct == 1]
        if alone and len(own) > 1:
            found.append(f"{problem}: the best ({', '.join(alone)}) is of one observation, which is no evidence")
    return found


def _of_themselves(groups: Sequence[Group]) -> list[str]:
    """What to say of groups whose runs are no fair sample of them."""
    return [*_of_copies(groups), *_of_choosing(groups)]


def _of_copies(groups: Sequence[Group]) -> list[str]:
    """What to say of groups with runs that are there twice."""
    found = []
    for problem, own in _by_problem(groups).items():
        twice = [f"{group.label} ({n} of {group.n})" for group in own if (n := repeated(group.rows))]
        if twice:
            which = f"{', '.join(twice[:3])}{' ...' * (len(twice) > 3)}"
            found.append(f"{problem}: runs with the settings and the seed of another, as of a log that was imported "
                         f"twice, count twice: {which}")  # fmt: skip
    return found


def _of_choosing(groups: Sequence[Group]) -> list[str]:
    """What to say of groups that hold runs by which their setting was chosen, and others."""
    found = []
    for problem, own in _by_problem(groups).items():
        counts = {group.label: int(chose(group.rows).sum()) for group in own}
        mixed = [f"{group.label} ({counts[group.label]} of {group.n})" for group in own
                 if 0 < counts[group.label] < group.n]  # fmt: skip
        if mixed:
            remedy = "--group-by optimizer reports on the other seeds alone"
            found.append(f"{problem}: runs that chose a setting flatter it: {', '.join(mixed[:3])}"
                         f"{' ...' * (len(mixed) > 3)}; {remedy}")  # fmt: skip
    return found


def _of_tuning(groups: Sequence[Group]) -> list[str]:
    """What to say of groups that were reported at the best of several settings."""
    tuned: dict[str, dict[str, Tuned | None]] = defaultdict(dict)
    for group in groups:
        tuned[group.problem][group.label] = group.tuned
    lines: dict[str, list[str]] = defaultdict(list)
    for problem, own in tuned.items():
        for line in unequal(own) if any(own.values()) else ():
            lines[line].append(problem)
    said = [f"{where[0] if len(where) == 1 else f'{len(where)} problems'}: {line}" for line, where in lines.items()]
    return [*said, *edges_over((group.problem, group.label, group.tuned.edges) for group in groups if group.tuned)]


def _places(given: Any) -> list[Path]:
    one = isinstance(given, str | PathLike | Run) or not isinstance(given, Iterable)
    return list(dict.fromkeys(map(_place, [given] if one else given)))


def _place(given: Any) -> Path:
    if isinstance(given, Run):
        given = given.path or (given.table and given.table.parent)
    if isinstance(given, str | PathLike):
        return Path(given)
    raise UserError(f"{given!r} is not a place to look at: expected a folder, a run, or a list of them")


def _keys(group_by: Sequence[str] | str | None, table: RunTable) -> list[str] | None:
    if group_by is None:
        return None
    given = group_by.split(",") if isinstance(group_by, str) else group_by
    names = [name.strip() for name in given if name.strip()]
    if not names:
        raise UserError("no key to group by", f"such as optimizer,lr; columns: {', '.join(RUN_COLUMNS)}")
    known = table.known
    return [resolve_key(name, known) for name in names]


def _sorted(groups: Sequence[Group], sort: str | None, differing: Sequence[str], ranked: Ranked) -> tuple[Group, ...]:
    if sort is None:
        names = {problem: ranked.of(own) for problem, own in _by_problem(groups).items()}

        def order(one: Group) -> tuple[Any, ...]:
            return one.problem, rank(standing(one.statistics, one.rows, ranked), names[one.problem]), one.label

        return tuple(sorted(groups, key=order))
    name = sort.removeprefix("-")
    columns = ["configuration", *IDENTITY, *differing, "n", "distinct", *Status, *_names(groups)]
    key = resolve_key(name, list(map(str, columns)), "column to sort by")

    def place(group: Group) -> tuple[bool, Any]:
        value = _value(group, key)
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        return (missing, 0) if missing else (missing, (isinstance(value, str), value))

    ordered = sorted(groups, key=lambda group: group.label)
    present = [group for group in ordered if not place(group)[0]]
    present.sort(key=place, reverse=sort.startswith("-"))
    if key == "seconds":
        present = by_device(present)
    absent = [group for group in ordered if place(group)[0]]
    return tuple(sorted([*present, *absent], key=lambda group: group.problem))


def _value(group: Group, key: str) -> Any:
    if key == "configuration":
        return group.label
    if key in group.statistics:
        found = group.statistics[key]
        return None if found is None else found.value
    counts = {"n": group.n, "distinct": group.distinct, **group.n_by_status}
    return counts.get(key, group.keys.get(key))
