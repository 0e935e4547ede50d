"""Runs in MLflow: parameters, the curve as metrics by step, the end's figures as metrics named `end.NAME`, status.

`mlflow ui --backend-store-uri sqlite:///outputs/mlflow.db` shows them. A run that goes on is found again by its tag
`optbench_run_id`; rows beyond its checkpoint are logged twice, with the same values.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.callback_base import Callback, RunStart, check_extra
from optbench.records import locked
from optbench.records.vocabulary import flatten

if TYPE_CHECKING:
    from optbench.records import Run

_TAG = "optbench_run_id"
_MOST_METRICS, _MOST_PARAMS, _LONGEST = 1000, 100, 6000
"""What MLflow takes in one call, and characters of a parameter (mlflow.utils.validation)."""
_EVERY_SECONDS = 5.0
_SQLITE = "sqlite:///"
_WAIT_SECONDS = 300.0


class MLflow(Callback):
    """Writes a run into an experiment of a tracking server or folder.

    Args:
        uri: MLflow's tracking URI: `sqlite:///file`, `http://...`; a folder where MLflow still writes such.
        experiment: its name.

    Raises:
        UserError: MLflow is not installed.
    """

    def __init__(self, uri: str = "sqlite:///outputs/mlflow.db", experiment: str = "optbench") -> None:
        check_extra("mlflow", "mlflow", "mlflow")
        self._uri = uri if "://" in uri else Path(uri).expanduser().resolve().as_uri()
        self._experiment = experiment
        self._waiting: list[Any] = []
        self._sent = time.monotonic()

    def begin(self, start: RunStart) -> None:
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        self._began = start.began
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes
        with self._alone():
            self._client = MlflowClient(self._uri)
            found = self._client.get_experiment_by_name(self._experiment)
            place = found.experiment_id if found is not None else self._client.create_experiment(self._experiment)
        if start.goes_on_from is not None:
            known = self._client.search_runs([place], f"tags.`{_TAG}` = '{start.run_id}'", max_results=1)
            if known:
                self._run = known[0].info.run_id
                return
        tags = {_TAG: start.run_id, **({"optbench_sweep": start.sweep} if start.sweep else {})}
        begun = int(start.began * 1000)
        self._run = self._client.create_run(place, begun, tags, run_name=start.name).info.run_id
        params = [Param(key, str(value)[:_LONGEST]) for key, value in flatten(start.config).items()]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._run, params=params[first : first + _MOST_PARAMS])
        for cut in (key for key, value in flatten(start.config).items() if len(str(value)) > _LONGEST):
            self._client.log_batch(self._run, tags=[RunTag(f"optbench_cut.{cut}", f"its first {_LONGEST} characters")])

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """In it, no other run of this machine makes tables or the experiment in the same file."""
        with contextlib.ExitStack() as stack:
            if self._uri.startswith(_SQLITE):
                folder = Path(self._uri.removeprefix(_SQLITE)).parent
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder, _WAIT_SECONDS))
            yield

    def row(self, row: Mapping[str, Any]) -> None:
        numbers = {name: value for name, value in row.items() if name != "step" and isinstance(value, int | float)}
        self._log(numbers, int(row["step"]), row.get("seconds"))

    def end(self, run: Run) -> None:
        numbers = {
            f"end.{name}": value
            for name, value in run.summary.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and "." not in name
        }
        self._log(numbers, int(run.summary.get("steps") or 0), run.summary.get("seconds"))
        self._send()
        of = {"failed": "FAILED", "interrupted": "KILLED"}
        self._client.set_tag(self._run, "optbench_status", run.status.value)
        if run.reason:
            self._client.set_tag(self._run, "optbench_reason", run.reason)
        self._client.set_terminated(self._run, of.get(run.status.value, "FINISHED"))

    def _log(self, numbers: Mapping[str, float], step: int, seconds: float | None) -> None:
        from mlflow.entities import Metric

        wall = time.time() if seconds is None else self._began + seconds
        stamp = int(wall * 1000)
        self._waiting += [Metric(name, float(value), stamp, step) for name, value in numbers.items()]
        if len(self._waiting) >= _MOST_METRICS or time.monotonic() - self._sent > _EVERY_SECONDS:
            self._send()

    def _send(self) -> None:
        for first in range(0, len(self._waiting), _MOST_METRICS):
            self._client.log_batch(self._run, metrics=self._waiting[first : first + _MOST_METRICS])
        self._waiting, self._sent = [], time.monotonic()
