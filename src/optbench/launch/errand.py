"""A run on a Ray node that may not see the driver's disk.

The driver leaves a mark beside its records. A node that sees it writes there as the driver would. Elsewhere the run
gets a folder in the node's own cache, with the checkpoint to go on from where there is one, and its files travel back
with the result: two machines without a shared disk are enough. What a run reads does not travel: its code and its
data have to be there, and are compared with the driver's by content before anything runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pkgutil
import platform
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optbench.errors import DataError, OptbenchError, OutputError
from optbench.experiment import Planned, Stop
from optbench.experiment.plan import data_fingerprint
from optbench.experiment.provenance import standing_at
from optbench.experiment.sources import KEY, names, sources, targets
from optbench.folders import cache_folder
from optbench.launch.base import Relay
from optbench.launch.parcel import Parcel, pack, unpack
from optbench.launch.remote import Lookout, Place, Task
from optbench.records import Run, locked, write_bytes, writing

_MARK = ".seen-"
_MARK_SECONDS = 7 * 86400.0
"""Older marks are of drivers that were killed."""
_FIT: set[tuple[str, ...]] = set()
"""Configurations whose code and data were found here, by what they name."""


@dataclass(frozen=True)
class Mark:
    """A file that only those see who share the driver's disk.

    Attributes:
        name: of the file.
        token: what is in it.
    """

    name: str
    token: str

    def seen(self, folder: Path) -> bool:
        """Whether it is in this folder, and the folder can be written to."""
        try:
            return (folder / self.name).read_text() == self.token and os.access(folder, os.W_OK)
        except (OSError, ValueError):
            return False


@contextlib.contextmanager
def marked(folders: Collection[Path]) -> Iterator[Mark]:
    """Within it, a mark lies in each of these folders, which are made. Raises OutputError."""
    mark = Mark(f"{_MARK}{secrets.token_hex(4)}", secrets.token_hex(16))
    try:
        for folder in folders:
            write_bytes(folder / mark.name, mark.token.encode())
            for old in folder.glob(f"{_MARK}*"):
                with contextlib.suppress(OSError):
                    if time.time() - old.stat().st_mtime > _MARK_SECONDS:
                        old.unlink()
        yield mark
    finally:
        for folder in folders:
            with contextlib.suppress(OSError):
                (folder / mark.name).unlink()


@dataclass(frozen=True)
class Carried:
    """A run that was recorded where the driver does not read, and its files."""

    run: Run
    files: Parcel

    def deliver(self, folder: Path) -> Run:
        """Writes the record where it belongs, and returns it.

        Raises:
            OutputError: it cannot be written, or another process is writing there.
        """
        with locked(folder):
            unpack(self.files, folder)
        return replace(self.run, path=folder)


@dataclass(frozen=True)
class Wanted:
    """The answer of a node that needs the files of an interrupted run to go on with it."""


@dataclass(frozen=True)
class Errand:
    """One run for a Ray node.

    Attributes:
        task: the run.
        mark: see Mark; it lies beside the run's folder.
        origin: the driver's host, and where it keeps the run's records.
        resumable: whether the run was interrupted, and its folder holds what to go on from.
    """

    task: Task
    mark: Mark
    origin: str
    resumable: bool

    def __call__(self, place: tuple[str, str, str], board: Any, parcel: Parcel | None) -> Any:
        """A Run, a Carried, Wanted(), an OptbenchError, or {"unfit": why}."""
        import ray

        _, address, host = place
        planned, stop = self.task.planned, Stop()
        run_id, scratch = planned.run_id, self._scratch()
        try:
            self.task.place.enter(scratch.parent)
            shares = self.mark.seen(planned.folder.parent)
            if (why := unfit_for(planned)) is not None:
                return {"unfit": why}
            if not shares and self.resumable and parcel is None:
                return Wanted()
            # A task that waits for an answer lends its CPUs to others meanwhile: so it waits for none.
            board.tell.remote(run_id, ("started", f"{host} ({address}), process {os.getpid()}", place, shares))
            relay = Relay(lambda message: board.tell.remote(run_id, message), pause=1.0)
            with Lookout(lambda: bool(ray.get(board.stopping.remote())), stop), standing_at(node=address):
                task = replace(self.task, place=Place(os.getcwd(), self.task.place.path))
                return task.perform(stop, relay) if shares else _away(task, scratch, parcel, stop, relay)
        except OutputError as error:
            return {"unfit": error.message}

    def _scratch(self) -> Path:
        """The run's folder on a node that does not share the driver's; the same one at each attempt."""
        digest = hashlib.sha256(self.origin.encode(errors="surrogateescape")).hexdigest()[:12]
        return cache_folder().absolute() / "runs" / digest / self.task.planned.folder.name


def _away(task: Task, folder: Path, parcel: Parcel | None, stop: Stop, relay: Relay) -> Carried | OptbenchError:
    """Carries a run out in a folder of this machine's own. Raises OutputError."""
    if parcel is not None:
        shutil.rmtree(folder, ignore_errors=True)
        unpack(parcel, folder)
    outcome = replace(task, planned=replace(task.planned, folder=folder)).perform(stop, relay)
    if isinstance(outcome, OutputError):
        raise outcome
    if isinstance(outcome, OptbenchError):
        return outcome
    with writing(folder):
        carried = Carried(outcome, pack(folder))
    shutil.rmtree(folder, ignore_errors=True)
    return carried


def unfit_for(planned: Planned) -> str | None:
    """Why this machine cannot do a run that another one planned: code or data are missing, or are others."""
    known = (*names(planned.config), str(planned.data_fingerprint), repr(planned.config.get(KEY)))
    if known in _FIT:
        return None
    for target in targets(planned.config):
        try:
            pkgutil.resolve_name(target)
        except Exception as error:  # a module is anyone's code
            return f"{target} cannot be imported there ({type(error).__name__}: {error})"
    found, expected = sources(planned.config), planned.config.get(KEY) or {}
    if found != expected:
        parts = sorted(part for part in {*found, *expected} if found.get(part) != expected.get(part))
        return f"the source or a file of {', '.join(parts)} differs from the one here"
    try:
        seen = data_fingerprint(planned.config)
    except DataError as error:
        return error.message
    if seen != planned.data_fingerprint:
        return f"data.root={planned.config['data'].get('root')} holds something else there"
    _FIT.add(known)
    return None


def origin_of(planned: Planned) -> str:
    """The driver's host, and where it keeps a run's records."""
    return f"{platform.node()}:{planned.folder.absolute().parent}"
