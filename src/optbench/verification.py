"""Recorded runs, run again: whether their numbers come again, to the bit where they must, else how far apart they are.

On one machine, with the same versions, device, threads and kind of engine, the same configuration gives the same bits:
there a single other bit is a disagreement. Elsewhere rounding differs, and on chaotic trajectories it grows; there it
is said how far apart the runs are, what is different about the place, and only what a tolerance rules out disagrees.

A record that was edited is not believed in the first place (`records.belief`); one whose checksums were made anew is
found here, since the numbers do not come again. One without a checksum is named: what is not run again of it is only
said to be so. Code that a record names runs only if it is trusted, as in `rebuild`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from optbench.config import check_targets, trusted_targets
from optbench.errors import IncompatibleError, OptbenchError, RecordError
from optbench.experiment.execute import execute
from optbench.experiment.plan import Planned, data_fingerprint
from optbench.experiment.recorder import Display, Stop
from optbench.experiment.sources import KEY, PARTS, sources
from optbench.records import Run, Status, read, run_id
from optbench.records.belief import sums
from optbench.records.chosen import CHECKPOINTS
from optbench.records.curves import Columns
from optbench.records.metrics import COLUMN, column_of, directions
from optbench.records.seal import KEY as CHECKSUM
from optbench.records.seal import check_table
from optbench.records.tables import CURVES, RUNS
from optbench.records.vocabulary import NUMERICS, as_now
from optbench.records.walk import Unreadable
from optbench.records.whole import part_sums

_NUMBERS = (
    "steps", "evals", "gradients", "hessian_products",
    "final_loss", "best_loss", "best_step", "final_grad_norm", "val_loss", "val_accuracy",
    "best_val_accuracy", "best_val_step", "steps_to_target",
)  # fmt: skip
"""What must come again of a summary; its seconds do not."""
_ENDED = (Status.COMPLETED, Status.CONVERGED, Status.TARGET_REACHED, Status.DIVERGED, Status.TIMED_OUT)
_SAME_BITS = {"scalar": "program", "arrays": "program", "fused": "program"}
"""Engines that make the same bits of a run are of one kind: the compiled step, and it in Python floats or in arrays."""


class Verdict(StrEnum):
    """What came of running a recorded run again."""

    SAME = "same bits"
    APART = "apart"
    DIFFERENT = "different"
    EDITED = "edited"
    NOT_RUN = "not run again"


@dataclass(frozen=True)
class Difference:
    """Numbers of one kind that did not come again.

    Attributes:
        name: a column of the curve or of the summary.
        relative: largest |recorded - found| / max(|recorded|, |found|); infinite where one of them is no number.
        step: the first step of the curve at which they differ; None for a number of the summary.
        recorded, found: the two there, where they are furthest apart.
    """

    name: str
    relative: float
    recorded: float | None
    found: float | None
    step: int | None = None


@dataclass(frozen=True)
class Verified:
    """A recorded run and what came of running it again.

    Attributes:
        run: as recorded.
        verdict: `same bits`; `apart`: other bits, at a place where that may be; `different`: other bits where they must
            be the same, another status, or more apart than the tolerance; `edited`: a part of the record is not what
            the run wrote; `not run again`.
        reason: in words.
        differences: what did not come again, the numbers of the summary first.
        elsewhere: what is different about the place: name to (recorded, here).
        rows: of the curve that were compared; 0 where none was recorded.
    """

    run: Run
    verdict: Verdict
    reason: str
    differences: tuple[Difference, ...] = ()
    elsewhere: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "run_id": self.run.run_id,
            "path": self.run.path or (self.run.table and self.run.table.parent),
            "verdict": self.verdict.value,
            "reason": self.reason,
            "rows": self.rows,
            "differences": [vars(one) for one in self.differences],
            "elsewhere": {name: {"recorded": then, "here": now} for name, (then, now) in self.elsewhere.items()},
        }


@dataclass(frozen=True)
class Chosen:
    """What is to be run again.

    Attributes:
        runs: of it.
        found: number of runs that there are.
        unreadable: what looked like records and is not believed.
        unsealed: tables, and run.json of the runs, without a checksum: another program wrote them, or an optbench of
            before there were checksums.
    """

    runs: list[Run]
    found: int
    unreadable: tuple[Unreadable, ...]
    unsealed: tuple[Path, ...] = ()


def choose(paths: Sequence[Path], sample: int | None = None) -> Chosen:
    """The runs under the paths, or a sample of them: those with the least hashes, whatever the order of the folders.

    Raises:
        RecordError: a path that does not exist.
    """
    table = read(paths)
    at = list(range(len(table)))
    if sample is not None and sample < len(table):
        ids = table.values("run_id")
        at = sorted(sorted(at, key=lambda i: hashlib.sha256(str(ids[i]).encode()).digest())[:sample])
    runs = table.take(np.array(at, dtype=np.int64)).runs()
    return Chosen(runs, len(table), table.unreadable, tuple(dict.fromkeys(_unsealed(runs))))


def _unsealed(runs: Sequence[Run]) -> Iterator[Path]:
    """What of the records of runs has no checksum; a wrong one was found when they were read."""
    for run in runs:
        if run.path is not None and CHECKSUM not in run.provenance:
            yield run.path / "run.json"
    folders = dict.fromkeys(run.table.parent for run in runs if run.table is not None)
    for table in (folder / name for folder in folders for name in (RUNS, CURVES)):
        if table.exists() and not check_table(table):
            yield table


def verify(
    runs: Sequence[Run],
    stop: Stop,
    display: Display | None = None,
    config_dirs: Sequence[Path] = (),
    tolerance: float | None = None,
) -> Iterator[Verified]:
    """Runs each again, in a folder of its own that is removed afterwards, and yields what came of it.

    Args:
        runs: as recorded.
        stop: see `interruptible`; nothing more is begun once it is requested.
        display: who watches.
        config_dirs: conf folders that are trusted beside the packaged one.
        tolerance: relative; how far apart the numbers of the summary may be at another place; None: any.
    """
    trusted = trusted_targets(config_dirs)
    for number, run in enumerate(runs):
        if stop.requested:
            return
        if "imported" in run.provenance:
            yield Verified(run, Verdict.NOT_RUN, "imported: nothing to run again")
            continue
        if run.status not in _ENDED:
            yield Verified(run, Verdict.NOT_RUN, f"the record says {run.status}: there is nothing to repeat")
            continue
        if (name := _edited(run)) is not None:
            yield Verified(run, Verdict.EDITED, f"{name} was changed after the run: its checksum differs")
            continue
        with tempfile.TemporaryDirectory(prefix="optbench-verify-") as folder:
            try:
                planned = _planned(run, Path(folder), trusted)
                if display is not None:
                    display.start(planned.label, number, len(runs))
                again = execute(planned, stop, display, threads=_threads(run))
                if again.status is Status.INTERRUPTED:
                    return
                verdict = _judged(run, again, tolerance)
            except OptbenchError as error:
                hint = f"; {error.hint}" if error.hint else ""
                verdict = Verified(run, _verdict_of(error), f"{error.message}{hint}")
        if display is not None:
            display.end(run)
        yield verdict


def _verdict_of(error: OptbenchError) -> Verdict:
    """Parts that went together when the run was made and do not now are another result, not a run that was left out."""
    if isinstance(error, _EditedError):
        return Verdict.EDITED
    return Verdict.DIFFERENT if isinstance(error, IncompatibleError) else Verdict.NOT_RUN


class _EditedError(RecordError):
    """A record that is not what its run wrote."""


def _edited(run: Run) -> str | None:
    """The part of a record that is not what the run wrote, of those that are there and have a checksum; run.json and
    tables were looked at when they were read."""
    known = {} if run.path is None else sums(run.summary)
    found = part_sums(run.path) if run.path is not None and known else {}
    return next((name for name, now in found.items() if known.get(name, now) != now), None)


def _planned(run: Run, folder: Path, trusted: frozenset[str]) -> Planned:
    """The run to come that a record describes. Raises RecordError, DataError."""
    recorded = run.config
    seen = run.summary.get("data_fingerprint")
    numerics = run.summary.get("numerics") or NUMERICS
    if numerics != NUMERICS:
        raise RecordError(f"made under numerics {numerics}, this version has {NUMERICS}: it computes other numbers")
    if (found := run_id(recorded, seen, numerics)) != run.run_id:
        raise _EditedError(f"its configuration hashes to {found}, not to its own {run.run_id}: it was changed")
    config = as_now(recorded)
    for part in PARTS:
        check_targets(config.get(part) or {}, trusted, f"{part}.")
    own = {key: value for key, value in config.items() if key != KEY}
    if (behind := sources(own)) != (config.get(KEY) or {}):
        parts = [part for part in PARTS if behind.get(part) != (config.get(KEY) or {}).get(part)]
        raise RecordError(f"the source of its {' and '.join(parts)} is not what it was")
    if (now := data_fingerprint(config)) != seen:
        raise RecordError(f"the data are not what they were: fingerprint {now}, recorded {seen}")
    engine = "loop" if run.summary.get("engine") == "loop" else "auto"
    name = f"verify-s{config['seed']}-{run.run_id}"
    return Planned(config, folder / name, run.run_id, data_fingerprint=seen, engine=engine)


def _threads(run: Run) -> int | None:
    found = run.provenance.get("threads")
    return found if isinstance(found, int) else None


# judging --------------------------------------------------------------------------------------------------------------


def _judged(run: Run, again: Run, tolerance: float | None) -> Verified:
    elsewhere = _elsewhere(run, again)
    timed = Status.TIMED_OUT in (run.status, again.status)  # the clock ended it, at another step each time
    rows, differences = _curve_differences(run.columns(), again.columns())
    if not timed:
        differences = [*_number_differences(run.summary, again.summary), *differences]
    furthest = max((one.relative for one in differences), default=0.0)
    final = max((one.relative for one in differences if one.step is None), default=0.0)
    if run.status != again.status and not timed:
        verdict, reason = Verdict.DIFFERENT, f"it was {run.status}, now it is {again.status} ({again.reason})"
    elif not differences:
        verdict, reason = Verdict.SAME, "every number came again" + (_up_to(rows) if timed else "")
    elif not elsewhere:
        verdict, reason = Verdict.DIFFERENT, f"same machine, versions and engine, other bits: {_words(differences[0])}"
    elif tolerance is not None and final > tolerance:
        verdict = Verdict.DIFFERENT
        reason = f"up to {final:.2g} apart, {tolerance:g} is allowed ({_place(elsewhere)})"
    else:
        verdict, reason = Verdict.APART, f"up to {furthest:.2g} apart ({_place(elsewhere)})"
    return Verified(run, verdict, reason, tuple(differences), elsewhere, rows)


def _up_to(rows: int) -> str:
    return f" in the {rows} rows that both have: the clock ended it"


def _words(one: Difference) -> str:
    at = "" if one.step is None else f" at step {one.step}"
    return f"{one.name}{at} was {one.recorded!r}, now {one.found!r}"


def _place(elsewhere: Mapping[str, tuple[Any, Any]]) -> str:
    name, (then, now) = next(iter(elsewhere.items()))
    more = f" and {len(elsewhere) - 1} more" if len(elsewhere) > 1 else ""
    return f"another {name}{more}: {then}, here {now}"


def _elsewhere(run: Run, again: Run) -> dict[str, tuple[Any, Any]]:
    """What is different about the place and excuses other bits; the commit of optbench does not."""
    then, now = run.provenance, again.provenance
    before, after = then.get("versions") or {}, now.get("versions") or {}
    pairs = {f"{name} version": (before.get(name), after.get(name)) for name in after if name != "optbench"}
    places = ("processor", "device", "dtype", "deterministic", *(["device_name"] if "device_name" in then else []))
    pairs |= {key: (then.get(key), now.get(key)) for key in places}
    if then.get("deterministic") is False:
        pairs["choice of algorithms"] = ("by timing them", "by timing them anew (trainer.deterministic=false)")
    if run.summary.get("data") not in (None, "none"):
        pairs["number of threads"] = (then.get("threads"), now.get("threads"))
        pairs["number of processes"] = (then.get("processes", 1), now.get("processes", 1))
    kinds = [str(one.summary.get("engine")) for one in (run, again)]
    if _SAME_BITS.get(kinds[0], kinds[0]) != _SAME_BITS.get(kinds[1], kinds[1]):
        pairs["engine"] = (kinds[0], kinds[1])
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _relative(recorded: Any, found: Any) -> float:
    """How far two numbers are apart, 0 where they are the same bits or both missing."""
    first, second = (np.nan if one is None else float(one) for one in (recorded, found))
    if first == second or (np.isnan(first) and np.isnan(second)):
        return 0.0
    if not (np.isfinite(first) and np.isfinite(second)):
        return np.inf
    largest = max(abs(first), abs(second))
    return abs(first / largest - second / largest) or float(np.finfo(np.float64).tiny)  # other bits, however close


def _number_differences(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[Difference]:
    names = [*_NUMBERS, *(column_of(name, which) for name in directions(recorded.get(COLUMN)) for which in CHECKPOINTS)]
    pairs = [(name, recorded.get(name), found.get(name)) for name in dict.fromkeys(names) if name in recorded]
    return [Difference(name, _relative(one, two), one, two) for name, one, two in pairs if _relative(one, two)]


def _curve_differences(recorded: Columns, found: Columns) -> tuple[int, list[Difference]]:
    """How many rows both curves have, and the columns in which these differ."""
    if not recorded or not found:
        return 0, []
    n = min(len(recorded["step"]), len(found["step"]))
    differences = []
    for name in recorded:
        if name == "seconds" or recorded[name].dtype == object:
            continue
        empty = np.full(n, np.nan)
        first, second = (np.asarray(of.get(name, empty)[:n], dtype=np.float64) for of in (recorded, found))
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        if same.all():
            continue
        apart = np.array([_relative(one, two) for one, two in zip(first, second, strict=True)])
        at = int(np.argmax(apart))
        step = int(recorded["step"][int(np.argmin(same))])
        differences.append(Difference(name, float(apart[at]), float(first[at]), float(second[at]), step))
    return n, sorted(differences, key=lambda one: one.step or 0)
