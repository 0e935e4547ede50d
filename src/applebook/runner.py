"""Claims to verdicts: run the sweeps, measure, judge, and record what was found beside the runs."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from applebook.claim import Claim, choose, load_claims
from applebook.evidence import Evidence, Judgement, judge, overall, withheld
from optbench import to_json, write_bytes
from optbench.errors import RecordError

if TYPE_CHECKING:
    from applebook.study import Findings, Study
    from optbench import Stop, SweepWatcher

RECORD = "claim.json"
Watching = Callable[[Claim], "AbstractContextManager[SweepWatcher | None]"]


def reproduced(
    wanted: Sequence[str | int] = (),
    quick: bool = False,
    out: str | Path | None = None,
    config_dir: str | Path | Iterable[str | Path] = (),
    force: bool = False,
    stop: Stop | None = None,
    watching: Watching = lambda claim: contextlib.nullcontext(),
) -> Iterator[dict[str, Any]]:
    """Runs claims and judges each: their records, one at a time as they come; runs that are done are not repeated.

    Args:
        wanted: ids or numbers of claims; all of them when none is named.
        quick: fewer seeds and steps; kept apart from the full ones.
        out: folder for runs, figures and verdicts; default outputs/book, or outputs/book-quick.
        config_dir: folders laid over optbench's conf/, which may hold claims of their own.
        force: run again what is done.
        stop: ends it in order, between two updates; by default Ctrl-C does.
        watching: gives the watcher of a claim's sweeps.

    Raises:
        ConfigError: an unknown claim, or an overlay that cannot be read.
        RunFailure: a run broke.
    """
    from applebook.study import Study
    from optbench import Crew, interruptible, paths_of

    dirs = paths_of(config_dir)
    claims = choose(load_claims(dirs), wanted)
    folder = book_folder(out, quick)
    with Crew() as crew, contextlib.nullcontext(stop) if stop is not None else interruptible() as asked:
        for claim in claims:
            study = Study(claim, folder / claim.id, quick, dirs, force, crew)
            with watching(claim) as watcher:
                record = _reproduce_one(study, asked, watcher)
            if record is None:
                return
            yield record


def book_folder(out: str | Path | None, quick: bool) -> Path:
    """Where the records of claims go."""
    return Path(out) if out else Path("outputs") / ("book-quick" if quick else "book")


def _reproduce_one(study: Study, stop: Stop, watcher: SweepWatcher | None) -> dict[str, Any] | None:
    """Runs, measures, judges and records one claim; None when stopped before its runs were complete."""
    claim, began, at = study.claim, time.perf_counter(), datetime.now(UTC).replace(microsecond=0)
    study.execute(stop, watcher)
    if stop.requested:
        return None
    findings = measured(study)
    record = describe(claim, findings.evidence, study.quick)
    record |= {
        "runs": study.count,
        "seconds": _seconds(study, time.perf_counter() - began, at),
        "tables": _tables(findings),
    }
    record |= {"commands": {arm.name: claim.command(arm) for arm in claim.arms}, "provenance": _provenance()}
    record |= {"drawn": drawn_in()}
    _write(study.folder, record, findings)
    return record


def _seconds(study: Study, spent: float, at: datetime) -> float:
    """Seconds that the runs of a claim took with their measuring: those that the command spent which made them, as last
    recorded, and those spent now where it made some. Looking again at what is done costs nothing that counts.

    Args:
        study: whose runs are there.
        spent: by this command.
        at: when it began, to the second.
    """
    new = [start >= at for start in study.starts]
    try:
        before = float(json.loads((study.folder / RECORD).read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or one that `read_records` names
        return spent
    if all(new):
        return spent
    return before + spent if any(new) else before


def measured(study: Any) -> Findings:
    """The findings of a claim's measuring module, checked to answer every prediction and caption.

    Raises:
        ValueError: the module left something out, or gave what the overlay does not name.
    """
    claim: Claim = study.claim
    findings: Findings = importlib.import_module(claim.measure).measure(study)
    for what, given, wanted in (
        ("evidence", findings.evidence, {p.id for p in claim.predictions}),
        ("figures", findings.figures, set(claim.figures)),
        ("tables", findings.tables, set(claim.tables)),
    ):
        if set(given) != wanted:
            raise ValueError(f"{claim.measure}: {what} for {sorted(given)}, expected {sorted(wanted)}")
    return findings


def describe(claim: Claim, evidence: Mapping[str, Evidence], quick: bool) -> dict[str, Any]:
    """The verdict on a claim as plain data, with all that a page says of it."""
    found = [judge(p, evidence[p.id]) for p in claim.predictions]
    judgements = [withheld(one) if quick and not one.prediction.quick else one for one in found]
    words = {key: dict(getattr(claim, key)) for key in ("section", "title", "says", "setup", "note")}
    return {
        "id": claim.id, "number": claim.number, "verdict": overall(judgements).value, "quick": quick, **words,
        "predictions": [_plain(j) for j in judgements],
        "figures": {k: dict(v) for k, v in claim.figures.items()},
        "captions": {k: dict(v) for k, v in claim.tables.items()},
    }  # fmt: skip


def _plain(found: Judgement) -> dict[str, Any]:
    p = found.prediction
    return {
        "id": p.id, "quantity": dict(p.quantity), "direction": p.direction, "threshold": p.threshold,
        "kind": found.kind, "n": list(found.n), "verdict": found.verdict.value,
        **{key: getattr(found.estimate, key) for key in ("value", "low", "high", "coverage")},
    }  # fmt: skip


def _tables(findings: Findings) -> dict[str, list[dict[str, Any]]]:
    return {name: [dict(row) for row in rows] for name, rows in findings.tables.items()}


def _provenance() -> dict[str, Any]:
    from optbench import available_cores, provenance

    found = provenance("cpu", 1, "float64 on surfaces, float32 on networks", True)
    return {key: found[key] for key in ("versions", "git_commit", "processor", "started") if key in found} | {
        "cores": available_cores()
    }


def drawn_in() -> list[str]:
    """The languages in which this machine can draw figures."""
    from optbench.plot import chinese_font

    return ["en", "zh"] if chinese_font() else ["en"]


def _write(folder: Path, record: Mapping[str, Any], findings: Findings) -> None:
    from applebook.words import PHRASES, figure_file
    from optbench.language import phrases
    from optbench.plot import save

    for name, figure in findings.figures.items():
        for language in record["drawn"]:
            save(figure, folder / figure_file(name, language), language, [phrases(PHRASES)])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prediction", "side", "value"])
    for name, evidence in findings.evidence.items():
        for side in ("left", "right", "rival"):
            values = getattr(evidence, side)
            writer.writerows([name, side, repr(float(v))] for v in (values if values is not None else ()))
    write_bytes(folder / "evidence.csv", text.getvalue().encode())
    write_bytes(folder / RECORD, to_json(record).encode())  # last: a record has its figures


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of all claims in a book folder, by number. Raises RecordError for one that cannot be read."""
    found = []
    for path in sorted(folder.glob(f"*/{RECORD}")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found.append((int(record["number"]), record))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: not a claim's record ({error})", "reproduce the claim again") from error
    return [record for _, record in sorted(found, key=lambda pair: pair[0])]
