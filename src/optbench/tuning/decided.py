"""What a tournament decided as it went, in `which.json` in its folder: the same command follows it again.

Where runs are the budget nothing depends on the clock and the file only repeats what the command says. Where time is,
it is the clock that says how large a tournament may be; once said, it stands, however fast the machine is next time.
A larger budget decides anew, and what the smaller one tried it takes along: `carried`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from optbench.errors import RecordError, UserError
from optbench.records import read, write_sealed
from optbench.records.files import parse_json, read_bytes
from optbench.records.seal import broken
from optbench.settings import shown
from optbench.tuning.budget import Budget, Rate, Size, Taken
from optbench.tuning.search import Point

NAME = "which.json"
FINAL = "final"
_MOST = 1 << 26

Stages = dict[str, dict[str, list[Point]]]
"""The settings that each contender had in each stage: the rungs by number, then the final."""


@dataclass
class Decided:
    """Decisions so far.

    Attributes:
        path: where they are kept.
        asked: what the command said, without the budget.
        budget: of the command.
        size: of the tournament; None: not decided.
        tried: settings of each contender that were tried to decide the size.
        stages: who had which settings in each stage that began.
        seeds: how many seeds the runs of each stage had.
        closed: the stages that get no more.
        rates: what a run takes, by its length.
        spent: seconds of all commands together.
        carried: the stages of the smaller budgets before, and had: their seeds; of the size `smaller`.
        before: these budgets as they are typed, and taken: how many runs they had.
        fresh: seeds of the final, where a larger budget in runs had to count what there was; 0: not decided.
        curvature: of a run of each finalist: its run_id, and what was measured (`course.At`).
    """

    path: Path
    asked: Mapping[str, Any]
    budget: Budget
    size: Size | None = None
    tried: int = 0
    stages: Stages = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    rates: dict[int, Rate] = field(default_factory=dict)
    spent: float = 0.0
    carried: Stages = field(default_factory=dict)
    had: dict[str, int] = field(default_factory=dict)
    smaller: Size | None = None
    before: list[str] = field(default_factory=list)
    taken: int = 0
    fresh: int = 0
    curvature: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, asked: Mapping[str, Any], budget: Budget) -> Decided:
        """Those in a folder, with a larger budget as far as it goes on with them; none where there are none.

        Raises:
            RecordError: the file is not what was written.
            UserError: it is of another command, or of a larger budget.
        """
        path = folder / NAME
        if not path.exists():
            return cls(path, asked, budget)
        remedy = "remove it, and the same command decides anew and keeps the runs"
        try:
            text = read_bytes(path, _MOST).decode()
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: {error}", remedy) from error
        if broken(text):
            raise RecordError(f"{path}: it was changed after it was written", remedy)
        found = parse_json(text, path)
        _check_same(path.parent, found.get("asked"), asked)
        try:
            known = cls(
                path, asked, Budget(**found["budget"]), _size(found["size"]), int(found["tried"]),
                dict(found["stages"]), dict(found["seeds"]), list(found["closed"]),
                {int(length): Rate(**rate) for length, rate in found["rates"].items()},
                float(found["spent"]), dict(found["carried"]), dict(found["had"]),
                _size(found["smaller"]), list(found["before"]), int(found["taken"]), int(found["fresh"]),
                dict(found["curvature"]),
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RecordError(f"{path}: not the decisions of a tournament", remedy) from None
        return known if known.budget == budget else known.grown(budget)

    def grown(self, budget: Budget) -> Decided:
        """The same with a larger budget. Raises UserError where it is smaller, or of another kind."""
        new, old = budget.runs or budget.seconds or 0, self.budget.runs or self.budget.seconds or 0
        if budget.kind != self.budget.kind or new < old:
            held = f"{self.path.parent} holds this tournament with --budget {self.budget.text}"
            remedy = "a larger one goes on with it; --name NAME starts another"
            raise UserError(f"--budget {budget.text}: {held}", remedy)
        stages, seeds = {**self.carried, **self.stages}, {**self.had, **self.seeds}
        taken = len(read([self.path.parent]))
        return Decided(
            self.path, self.asked, budget, tried=self.tried, rates=self.rates, spent=self.spent,
            carried=stages, had=seeds, smaller=self.size or self.smaller, before=[*self.before, self.budget.text],
            taken=taken, curvature=self.curvature,
        )  # fmt: skip

    def taken_over(self, rungs: int) -> Taken | None:
        """What sizes have to know of the smaller budget, as it had so many rungs; None where it decided nothing."""
        if self.smaller is None:
            return None
        settings = [sum(map(len, self.carried.get(str(number), {}).values())) for number in range(rungs)]
        seeds = [self.had.get(str(number), 0) for number in range(rungs)]
        finalists = len(self.carried.get(FINAL, {}))
        return Taken(self.smaller, tuple(settings), tuple(seeds), finalists, self.had.get(FINAL, 0))

    def write(self) -> None:
        """Keeps them. Raises OutputError."""
        plain = {name: value for name, value in vars(self).items() if name != "path"}
        rates = {str(length): asdict(rate) for length, rate in self.rates.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(self.path, {**plain, "budget": asdict(self.budget), "rates": rates,
                                 "size": _plain(self.size), "smaller": _plain(self.smaller)})  # fmt: skip


def _size(found: Mapping[str, int] | None) -> Size | None:
    return None if found is None else Size(**found)


def _plain(size: Size | None) -> dict[str, int] | None:
    return None if size is None else asdict(size)


def _check_same(folder: Path, found: Any, asked: Mapping[str, Any]) -> None:
    """Raises UserError, which names what differs, where a folder is of another command."""
    if found == asked:
        return
    known = found if isinstance(found, Mapping) else {}
    differing = [key for key in asked if known.get(key) != asked[key]]
    said = "; ".join(f"{_words(key, known.get(key))} there, {_words(key, asked[key])} here" for key in differing[:2])
    raise UserError(f"{folder} holds another tournament: {said}", "--name NAME starts one of its own")


def _words(key: str, value: Any) -> str:
    """A part of what was asked, as it is typed."""
    if isinstance(value, Mapping):
        return " ".join(f"{group}={','.join(names)}" for group, names in value.items() if names)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(str, value)) or f"no {key}"
    return f"{key} {shown(value)}"
