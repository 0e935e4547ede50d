"""Whether a run is done: its record is believed, and every part that its settings promise is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optbench.errors import RecordError
from optbench.records.belief import check_own, sums
from optbench.records.files import parse_config, read_bytes, read_text
from optbench.records.run import Run, read_summary
from optbench.records.seal import KEY, sum_of, sum_of_file
from optbench.records.vocabulary import Status, flatten, kept_checkpoint

CURVE = "metrics.csv"
_UNSTARTED = (Status.SKIPPED, Status.FAILED)
"""Such a run may have ended before anything was written but its record."""


def part_sums(folder: Path) -> dict[str, str]:
    """Checksums of the parts of a run that are in its folder, by name, for `provenance.files`. Raises RecordError."""
    found = {}
    try:
        for name in ("config.yaml", CURVE):
            if (folder / name).exists():
                found[name] = sum_of(read_bytes(folder / name))
        for path in (*sorted(folder.glob("*.pt")), *sorted(folder.glob("checkpoints/*.pt"))):
            found[path.relative_to(folder).as_posix()] = sum_of_file(path)
    except (OSError, ValueError) as error:
        raise RecordError(f"{folder}: {error}") from error
    return found


def begins_with(path: Path, expected: str | None) -> bool:
    """Whether a curve begins with what it was when `CurveWriter.sum` was this; True where that is not known."""
    if expected is None:
        return True
    try:
        data = read_bytes(path)
    except (OSError, ValueError):
        return False
    return sum_of(data[: int(expected.split()[0])]) == expected


def look(folder: Path, run_id: str) -> tuple[Run | None, str | None]:
    """The record in a run's folder, and what is wrong with what lies there.

    Args:
        folder: of the run.
        run_id: what it should be.

    Returns:
        The record where it is believed and, if the run ended, all its parts are there and sound; else None, with the
        reason, or without one where there is no record at all.
    """
    if not (folder / "run.json").exists():
        return None, "run.json is missing" if (folder / CURVE).exists() else None
    try:
        summary = read_summary(str(folder))
        if summary["run_id"] != run_id:
            return None, f"its run.json is that of another run, {summary['run_id']}"
        run = Run(summary, folder)
        if run.status is Status.INTERRUPTED:
            return run, None
        if not (folder / "config.yaml").exists():
            return None, "config.yaml is missing"
        text = read_text(folder / "config.yaml", "configuration")
        flat: dict[str, Any] = {}

        def read() -> Mapping[str, Any]:
            flat.update(flat or flatten(parse_config(text, folder / "config.yaml")))
            return flat

        check_own(str(folder), summary, text, read)
        why = _missing(folder, run, read) if not sums(summary) else _unsound(folder, sums(summary))
    except RecordError as error:
        return None, error.message.removeprefix(f"{folder}: ").removeprefix(f"{folder}/")
    return (run, None) if why is None else (None, why)


def unheld(run: Run, folder: Path) -> str | None:
    """Why a record that somebody reports is not believed: it is not in the folder of its run, or not whole there, or
    another one is. None where it is there.

    Args:
        run: what was reported, perhaps by another machine.
        folder: where the run's records go, as this machine sees it.
    """
    found, why = look(folder, run.run_id)
    if found is None:
        return why or "run.json is missing"
    return None if _seal_of(found) == _seal_of(run) else "another record is there"


def _seal_of(run: Run) -> Any:
    return run.provenance.get(KEY)


def _unsound(folder: Path, expected: Mapping[str, str]) -> str | None:
    """What is wrong with the parts of a record that has their checksums; of checkpoints, the size is compared alone."""
    for name, known in expected.items():
        path = folder / name
        try:
            if name == "config.yaml":
                continue  # `check_own` has
            if name == CURVE:
                if sum_of(read_bytes(path)) != known:
                    return f"{name} was changed after the run"
            elif str(path.stat().st_size) != known.split()[0]:
                return f"{name} was changed after the run"
        except FileNotFoundError:
            return f"{name} is missing"
        except (OSError, ValueError) as error:
            return f"{name}: {error}"
    return None


def _missing(folder: Path, run: Run, config: Any) -> str | None:
    """Which part is missing that the settings of a run without checksums promise."""
    if run.status in _UNSTARTED:
        return None
    promised, settings = [CURVE], config()
    if settings.get("data._target_") is not None:
        promised += ["last.pt", *(["best.pt"] if run.summary.get("best_val_step") is not None else [])]
        if every := settings.get("trainer.keep_every"):
            epochs = range(0, int(run.summary.get("epochs") or 0) + 1, int(every))
            promised += [f"{kept_checkpoint(epoch)}.pt" for epoch in epochs]
    return next((f"{name} is missing" for name in promised if not (folder / name).is_file()), None)
