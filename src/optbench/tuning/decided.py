"""What a tournament decided as it went, in `which.json` in its folder: the same command follows it again.

Where runs are the budget nothing depends on the clock and the file only repeats what the command says. Where time is,
it is the clock that says how large a tournament may be; once said, it stands, however fast the machine is next time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from optbench.errors import RecordError, UserError
from optbench.records import write_sealed
from optbench.records.files import parse_json, read_bytes
from optbench.records.seal import broken
from optbench.tuning.budget import Rate, Size

NAME = "which.json"
_MOST = 1 << 24


@dataclass
class Decided:
    """Decisions so far.

    Attributes:
        path: where they are kept.
        asked: what the command said.
        size: of the tournament; None: not decided.
        seeds: how many seeds the runs of each stage had: the rungs by number, then the final.
        closed: the stages that get no more.
        rates: what a run takes, by its length.
        spent: seconds of all commands together.
    """

    path: Path
    asked: Mapping[str, Any]
    size: Size | None = None
    seeds: dict[str, int] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    rates: dict[int, Rate] = field(default_factory=dict)
    spent: float = 0.0

    @classmethod
    def read(cls, folder: Path, asked: Mapping[str, Any]) -> Decided:
        """Those in a folder; none where there are none.

        Raises:
            RecordError: the file is not what was written.
            UserError: it is of another command.
        """
        path = folder / NAME
        if not path.exists():
            return cls(path, asked)
        remedy = "remove it, and the same command decides anew and keeps the runs"
        try:
            text = read_bytes(path, _MOST).decode()
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: {error}", remedy) from error
        if broken(text):
            raise RecordError(f"{path}: it was changed after it was written", remedy)
        found = parse_json(text, path)
        if found.get("asked") != asked:
            raise UserError(f"{path.parent} holds another tournament", "--name NAME starts one of its own")
        try:
            size = None if found["size"] is None else Size(**found["size"])
            rates = {int(length): Rate(**rate) for length, rate in found["rates"].items()}
            return cls(path, asked, size, dict(found["seeds"]), list(found["closed"]), rates, float(found["spent"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RecordError(f"{path}: not the decisions of a tournament", remedy) from None

    def write(self) -> None:
        """Keeps them. Raises OutputError."""
        size = None if self.size is None else asdict(self.size)
        rates = {str(length): asdict(rate) for length, rate in self.rates.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(self.path, {"asked": self.asked, "size": size, "seeds": self.seeds, "closed": self.closed,
                                 "rates": rates, "spent": self.spent})  # fmt: skip
