"""Groups of several settings: the best of each, by evidence that is not what is reported.

`--group-by optimizer` over a sweep of learning rates asks how good each optimizer is, tuned. Its runs pooled answer
nothing, and the best of k settings on the seeds that chose it flatters. So the setting is chosen on tuning seeds and
reported on the others; or, where no seeds were set aside, every seed's run is that of the setting which is best on the
other seeds (leave one seed out). What the best of k looks like and what it is, is shown: the optimism.

A setting's value on some seeds is the median of the runs, as everywhere; runs without a result are infinitely bad. On
a whole table of numbers `metrics.tuned` has the same choice; here it is of runs, not all of which need be there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optbench.comparison.edges import AtEdge, edges
from optbench.comparison.facts import FOLD, WRAP, Facts
from optbench.comparison.labels import short_names, text, varying
from optbench.comparison.observations import idle
from optbench.errors import UserError
from optbench.records import RunTable
from optbench.records.columns import Bools, Floats, Ints, factorized
from optbench.records.sweep_plan import TUNING
from optbench.statistics.numbers import number

RULE = (
    "tuned: a group of k settings is reported at its best one, chosen on tuning seeds and reported on the others "
    "(--tune-seeds), or for each seed on all other seeds; optimism: by how much the best of the k on the very seeds "
    "that are reported looks better"
)
_UNREPORTED = (
    "settings are chosen on the tuning's seeds and reported on others; --filter leaves it out, --pool takes all"
)
_NONE_LEFT = "every group needs runs on tuning seeds and on others; without --tune-seeds each seed's others choose"


class NothingLeft(UserError):
    """A group has no run on seeds of one kind: none to choose its setting by, or none to report."""


@dataclass(frozen=True)
class Tuning:
    """How a group of several settings is brought to one.

    Attributes:
        seeds: those that settings are chosen on; none: each seed's setting is chosen on all others.
        pool: whether the runs of all settings are one group instead.
        planned: whether the seeds are those that a tuning divided, and not the user.
    """

    seeds: frozenset[int] = frozenset()
    pool: bool = False
    planned: bool = False

    def none_left(self, label: str, which: str) -> NothingLeft:
        """What to say of a group that has no run on seeds of one kind, "tuning seeds" or "other seeds"."""
        if self.planned:
            return NothingLeft(f"{label}: no run on {which} ({_spelt(self.seeds)} are the tuning's)", _UNREPORTED)
        return NothingLeft(f"--tune-seeds: {label} has no run on {which}", _NONE_LEFT)


def _spelt(seeds: frozenset[int]) -> str:
    """ "0..2" of seeds in a row, else "0,2,5"."""
    first, last = min(seeds), max(seeds)
    return f"{first}..{last}" if len(seeds) == last - first + 1 > 1 else ",".join(map(str, sorted(seeds)))


EACH_ON_OTHERS = Tuning()
_LENGTHS = frozenset({"trainer.steps", "trainer.epochs"})
"""Of a tournament, short runs chose: that the longest are the best is no edge of a range."""


@dataclass(frozen=True)
class Tuned:
    """What became of a group of settings.

    Attributes:
        settings: how many there were.
        chosen: what tells the chosen setting from the others, by dotted key: of several, the one chosen most often.
        share: the share of reported seeds that it was chosen for.
        seeds: number of seeds reported.
        metric: the column that settings are judged by.
        apparent: what would be reported had the reported seeds chosen: the best median, in units of the metric.
        honest: median of what is reported.
        optimism: by how much `apparent` is better; 0 where both are infinite.
        edges: of the best values those that are the least or largest that were tried.
        evidence: numbers of runs that settings were judged by: the least and the largest.
    """

    settings: int
    chosen: Mapping[str, Any]
    share: float
    seeds: int
    metric: str
    apparent: float
    honest: float
    optimism: float
    edges: tuple[AtEdge, ...] = ()
    evidence: tuple[int, int] = (0, 0)

    def in_words(self) -> str:
        """One line: how many settings, which one, and what the choice flatters by."""
        names = short_names(self.chosen)
        which = " ".join(f"{names[key]}={text(value)}" for key, value in self.chosen.items())
        often = "" if self.share == 1 else f" (for {round(100 * self.share)} % of the seeds)"
        return (
            f"best of {self.settings} settings, {which}{often}: {self.metric} {number(self.honest)}; "
            f"chosen on the same seeds {number(self.apparent)}, so optimism {number(self.optimism)}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain data; numbers that are not finite are null."""
        numbers = {"apparent": self.apparent, "honest": self.honest, "optimism": self.optimism}
        return {
            "settings": self.settings, "chosen": dict(self.chosen), "share": self.share, "seeds": self.seeds,
            "metric": self.metric, **{k: v if np.isfinite(v) else None for k, v in numbers.items()},
            "edges": [one.in_words() for one in self.edges],
        }  # fmt: skip


def chose(runs: RunTable) -> Bools:
    """Which runs are of a sweep by which `tune` chose settings, (n,): what they say of the chosen one flatters it."""
    return runs.where("sweep", lambda sweep: str(sweep).startswith(TUNING))


def planned_seeds(runs: RunTable) -> frozenset[int]:
    """The seeds that settings were chosen on, as `tune` divided them; none where it did not, or all runs are of it."""
    chosen = chose(runs)
    if not chosen.any() or chosen.all():
        return frozenset()
    return frozenset(map(int, runs.take(chosen).different("seed")))


def parse_seeds(given: str) -> frozenset[int]:
    """ "0..2,7" as the seeds 0, 1, 2 and 7.

    Raises:
        UserError: it is no such list.
    """
    seeds: set[int] = set()
    for part in given.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:\.\.(\d{1,18}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not 0 <= last - first < 10**6:
            raise UserError(f"--tune-seeds {given}: expected seeds, such as 0..2 or 0,1,5..7")
        seeds.update(range(first, last + 1))
    return frozenset(seeds)


@dataclass(frozen=True)
class Candidates:
    """The runs of one group as settings by seeds.

    Attributes:
        label: of the group.
        settings: what each was, (s,) in an order that does not depend on that of the runs.
        at: the row of the run of each setting and seed, (s, u); -1 where there is none.
        losses: its value in the direction of losses, (s, u); NaN where there is none.
        seeds: of each column; folds have columns of their own.
    """

    label: str
    settings: Sequence[Facts]
    at: Ints
    losses: Floats
    seeds: Ints
    sign: float = field(default=1.0)
    metric: str = "final_loss"


def best(found: Candidates, tuning: Tuning) -> tuple[Ints, Tuned]:
    """The rows to report of a group, and what was chosen.

    Args:
        found: the group.
        tuning: its seeds; none: leave one seed out.

    Raises:
        UserError: the seeds do not allow a choice.
    """
    if tuning.seeds:
        tune = np.isin(found.seeds, list(tuning.seeds))
        medians = loss_median(found.losses[:, tune])
        if np.isnan(medians).all():
            raise tuning.none_left(found.label, "tuning seeds")
        if tuning.planned:  # short runs of a tournament chose as well, and were never meant to be reported
            held = (found.at[:, ~tune] >= 0).any(axis=1) & ~np.isnan(medians)
            medians = np.where(held | ~held.any(), medians, np.nan)
        winner = int(np.nanargmin(medians))
        chosen = np.where(~tune & (found.at[winner] >= 0), winner, -1)
        if (chosen < 0).all():
            raise tuning.none_left(found.label, "other seeds")
    else:
        without = leave_one_out(found.losses)
        usable = np.where(found.at >= 0, without, np.nan)
        some = ~np.isnan(usable).all(axis=0)
        chosen = np.where(some, np.argmin(np.where(np.isnan(usable), np.inf, usable), axis=0), -1)
        ties = some & (found.at[chosen, np.arange(len(chosen))] < 0)  # all infinite: the first that has the seed
        chosen[ties] = np.argmax(found.at >= 0, axis=0)[ties]
    columns = np.flatnonzero(chosen >= 0)
    winners = chosen[columns]
    reported = found.losses[winners, columns]
    honest = float(loss_median(reported[None])[0])
    apparent = float(np.nanmin(loss_median(found.losses[:, columns])))
    winner, times = max(Counter(winners.tolist()).items(), key=lambda pair: (pair[1], -pair[0]))
    keys = [key for key in varying([one.configuration for one in found.settings]) if not key.startswith("sources.")]
    own = {WRAP: "none", **found.settings[winner].configuration}
    gap = honest - apparent if np.isfinite(honest) or np.isfinite(apparent) else 0.0
    counts, lengths = (found.at >= 0).sum(axis=1), _LENGTHS if tuning.planned else frozenset()
    tuned = Tuned(
        len(found.settings), {key: own.get(key) for key in keys}, times / len(winners), len(winners), found.metric,
        found.sign * apparent, found.sign * honest, gap,
        tuple(edges(found.settings, loss_median(found.losses), sorted(set(keys) - lengths, key=keys.index))),
        (int(counts.min()), int(counts.max())),
    )  # fmt: skip
    return found.at[winners, columns], tuned


def loss_median(losses: Floats) -> Floats:
    """The median of each row, NaN left out: (s, u) -> (s,); NaN where nothing is left."""
    ordered = np.sort(losses, axis=1)
    return _middle(ordered, (~np.isnan(losses)).sum(axis=1)[:, None], np.full((len(losses), 1), ordered.shape[1]))[:, 0]


def leave_one_out(losses: Floats) -> Floats:
    """The median of each row without its value in each column, (s, u) -> (s, u); NaN where nothing is left."""
    order = np.argsort(losses, axis=1)
    ordered = np.take_along_axis(losses, order, axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(losses.shape[1]), losses.shape), axis=1)
    known = ~np.isnan(losses)
    left = known.sum(axis=1)[:, None] - known
    return _middle(ordered, left, ranks)


def _middle(ordered: Floats, left: Any, without: Ints) -> Floats:
    """The middle of `left` values of ordered rows that lack the one of rank `without`."""
    if not ordered.shape[1]:
        return np.full(without.shape, np.nan)
    low, high = np.maximum(left - 1, 0) // 2, left // 2
    places = [np.minimum(place + (place >= without), ordered.shape[1] - 1) for place in (low, high)]
    one, other = (np.take_along_axis(ordered, place, axis=1) for place in places)
    with np.errstate(invalid="ignore", over="ignore"):
        middle = np.where(one == other, one, one / 2 + other / 2)
    return np.where(left > 0, middle, np.nan)


@dataclass(frozen=True)
class Chooser:
    """Chooses in every group of a problem; what it asks of all runs it asks once.

    Attributes:
        rows: all runs.
        kinds: number of each one's kind, (n,).
        facts: of the kinds.
        tuning: how.
        by: the keys of the groups.
        losses: of a column of runs, its values in the direction of losses, (n,).
    """

    rows: RunTable
    kinds: Ints
    facts: Sequence[Facts]
    tuning: Tuning
    by: Sequence[str]
    losses: Callable[[str], tuple[Floats, float]]

    def candidates(self, label: str, kinds: Sequence[int], metric: str) -> Candidates:
        """The runs of a group as settings by seeds; kinds are those of the group."""
        keys = {kind: self.facts[kind].configuration_key for kind in kinds}
        ordered = sorted(dict.fromkeys(keys.values()), key=str)
        number_of: dict[Hashable, int] = {key: i for i, key in enumerate(ordered)}
        first = {keys[kind]: self.facts[kind] for kind in reversed(kinds)}
        at = self._in_order(np.flatnonzero(np.isin(self.kinds, kinds)))
        setting = np.array([number_of[keys[kind]] for kind in self.kinds[at].tolist()], dtype=np.int64)
        runs = self.rows.take(at)
        still = idle(runs).tolist()  # its seeds are copies: one column
        cells = zip(runs.values("seed"), runs.values(FOLD), still, strict=True)
        units = factorized((None if copy else seed, fold) for seed, fold, copy in cells)
        shape = (len(ordered), len(units.values))
        rows, losses = np.full(shape, -1, dtype=np.int64), np.full(shape, np.nan)
        values, sign = self.losses(metric)
        rows[setting[::-1], units.codes[::-1]] = at[::-1]  # of several the first
        losses[rows >= 0] = values[rows[rows >= 0]]
        seeds = np.array([-1 if seed is None else int(seed) for seed, _ in units.values], dtype=np.int64)
        return Candidates(label, [first[key] for key in ordered], rows, losses, seeds, sign, metric)

    def _in_order(self, at: Ints) -> Ints:
        """Rows by seed, fold and run_id, in whatever order they came."""
        runs = self.rows.take(at)
        return at[
            np.lexsort((np.array(runs.values("run_id"), dtype=np.str_), runs.numbers(FOLD), runs.numbers("seed")))
        ]

    def choose(self, label: str, kinds: Sequence[int], metric: str, problem: str = "") -> tuple[Ints, Tuned | None]:
        """The rows to report of a group; what was chosen, where there was a choice.

        Args:
            label, kinds: of the group.
            metric: what settings are judged by.
            problem: the name of its problem, where there are several.

        Raises:
            UserError: there is a choice and too little to make it by.
        """
        found = self.candidates(label, kinds, metric)
        if len(found.settings) == 1:
            at = np.flatnonzero(np.isin(self.kinds, kinds))
            if self.tuning.seeds:
                held = [seed not in self.tuning.seeds for seed in self.rows.take(at).values("seed")]
                at = at[np.array(held, dtype=np.bool_)]
                if not len(at):
                    raise self.tuning.none_left(label, "other seeds")
            return at, None
        if found.at.shape[1] < 2:
            raise self.refusal(found, problem)
        return best(found, self.tuning)

    def refusal(self, found: Candidates, problem: str = "") -> UserError:
        """Why nothing can be chosen, and the ways to say what is meant."""
        keys = varying([one.configuration for one in found.settings])
        names = list(short_names(keys).values())
        apart = ",".join([*self.by, *names[:3]])
        copies = bool((found.seeds == -1).any())
        more = "seeds that change something (trainer.start=random)" if copies else "more seeds (seeds=5)"
        seeds = "runs whose seeds change nothing, so one observation of each" if copies else "one seed"
        return UserError(
            f"--group-by {','.join(self.by)}: {f'{problem}: ' * bool(problem)}{found.label} has {len(found.settings)} "
            f"settings and {seeds}, by which none of them can be chosen and reported",
            f"--group-by {apart} keeps them apart; {more} allow a choice; --pool takes all as one group on purpose",
        )


def unequal(tuned: Mapping[str, Tuned | None]) -> list[str]:
    """A sentence where groups of a problem were not tuned as hard as each other.

    Args:
        tuned: by the name of the group; None of a group that had one setting.
    """
    said = []
    counts = {label: 1 if one is None else one.settings for label, one in tuned.items()}
    if len(set(counts.values())) > 1:
        said.append(f"not tuned equally: settings tried {_listed(counts)}")
    runs = {label: one.evidence for label, one in tuned.items() if one is not None}
    if len({most for _, most in runs.values()}) > 1 or any(least != most for least, most in runs.values()):
        spans = {k: str(most) if least == most else f"{least} to {most}" for k, (least, most) in runs.items()}
        said.append(f"not tuned equally: seeds a setting {_listed(spans)}")
    return said


def _listed(values: Mapping[str, Any]) -> str:
    shown = [f"{label} {value}" for label, value in values.items()]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
