"""Callbacks told of runs: live, or afterwards from their records; what goes wrong in one is said, and ends its part."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from optbench.callback_base import RunStart
from optbench.config import build
from optbench.experiment.plan import slug_of

if TYPE_CHECKING:
    from optbench.callback_base import Callback
    from optbench.experiment.plan import Planned
    from optbench.records import Run
    from optbench.records.curves import Columns

log = logging.getLogger(__name__)


class Watching:
    """The callbacks of one run.

    Args:
        nodes: name and configuration node of each.
        note: told in a sentence of one that fails; it is told no more of this run, and the run goes on.
    """

    def __init__(
        self, nodes: Sequence[tuple[str, Mapping[str, Any]]], note: Callable[[str], None] = log.warning
    ) -> None:
        self._note = note
        self._told: dict[str, Callback] = {}
        for name, node in nodes:
            if (made := self._guarded(name, "it is built", partial(build, node, f"callback {name}"))) is not None:
                self._told[name] = made

    @property
    def told(self) -> list[str]:
        """Names of those that none of it has failed yet."""
        return list(self._told)

    def begin(self, start: RunStart) -> None:
        """The run begins, or goes on."""
        self._each("begin", start)

    def row(self, row: Mapping[str, Any]) -> None:
        """A row of its curve."""
        if self._told:
            self._each("row", {name: value for name, value in row.items() if value is not None})

    def end(self, run: Run) -> None:
        """It ended."""
        self._each("end", run)

    def _each(self, method: str, what: Any) -> None:
        for name, one in list(self._told.items()):
            self._guarded(name, method, partial(getattr(one, method), what))

    def _guarded(self, name: str, doing: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Exception as error:  # anyone's code
            log.debug("callback %s", name, exc_info=True)
            self._told.pop(name, None)
            words = " ".join(str(error).split())
            self._note(f"callback {name} is told no more of this run: {doing}: {type(error).__name__}: {words}")
            return None


def planned_start(planned: Planned, goes_on_from: int | None = None, loop: Any = None) -> RunStart:
    """What is known of a planned run as it begins; `loop`: the one that will train it, None for a program."""
    parts = () if loop is None else (loop.problem.module, loop.optimizer)
    return RunStart(
        planned.run_id, planned.folder.name, planned.sweep, planned.config, planned.folder, goes_on_from,
        *parts,
    )  # fmt: skip


def tell(
    run: Run,
    columns: Columns,
    nodes: Sequence[tuple[str, Mapping[str, Any]]],
    note: Callable[[str], None] = log.warning,
) -> list[str]:
    """Tells callbacks of a run that was recorded before; gives the names of those that took it to its end.

    Args:
        run: the record.
        columns: its curve; without any, there are no rows.
        nodes: name and configuration node of each callback.
        note: see Watching.
    """
    watching, config = Watching(nodes, note), run.config
    name = run.path.name if run.path is not None else slug_of(config, run.run_id)
    began = (
        datetime.fromisoformat(run.provenance["started"]).timestamp() if "started" in run.provenance else time.time()
    )
    watching.begin(RunStart(run.run_id, name, run.summary.get("sweep"), config, run.path, began=began))
    names = list(columns)
    for values in zip(*(columns[one].tolist() for one in names), strict=True):
        row = dict(zip(names, values, strict=True))
        watching.row({one: value for one, value in row.items() if not _nothing(value)})
    watching.end(run)
    return watching.told


def _nothing(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
