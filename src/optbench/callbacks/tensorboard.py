"""Runs as TensorBoard's event files, one folder a run: `tensorboard --logdir outputs/tensorboard` follows them live.

TensorBoard's scalars are single precision: about seven digits of what metrics.csv holds. The configuration is the
text `config`, and numbers and words of it are the session's hyperparameters (the tab HPARAMS). A run that goes on
declares what the event files hold beyond its checkpoint void (`SessionLog.START`), as TensorBoard has it after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.callback_base import Callback, RunStart, check_extra
from optbench.records.vocabulary import flatten

if TYPE_CHECKING:
    from optbench.records import Run

_FLUSH_SECONDS = 5.0


class TensorBoard(Callback):
    """Writes a run's curve into `folder`/NAME.

    Args:
        folder: where the runs' folders of event files go.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: str = "outputs/tensorboard") -> None:
        check_extra("tensorboard.compat.proto", "tensorboard", "tensorboard")
        self._folder = Path(folder).expanduser()
        self._began = 0.0

    def begin(self, start: RunStart) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        place = self._folder / start.name
        self._writer = EventFileWriter(str(place), flush_secs=_FLUSH_SECONDS)
        self._began = start.began
        if start.goes_on_from is not None or any(place.iterdir()):
            self._add(start.goes_on_from or 0, session_log=SessionLog(status=SessionLog.START))
        settings = {
            key: value for key, value in flatten(start.config).items() if isinstance(value, bool | int | float | str)
        }
        self._add(0, summary=_session(_started(settings)))
        self._add(0, summary=_text("config", start.config))

    def row(self, row: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name not in ("step", "seconds") and isinstance(value, int | float)
        ]
        seconds = row.get("seconds")
        wall = time.time() if seconds is None else self._began + seconds
        self._add(int(row["step"]), summary=Summary(value=values), wall_time=wall)

    def end(self, run: Run) -> None:
        self._add(0, summary=_session(_ended(run.status.value)))
        ended = "\n\n".join(filter(None, (f"**{run.status.value}**", run.reason)))
        self._add(int(run.summary.get("steps") or 0), summary=_text("status", ended))
        self._writer.close()

    def _add(self, step: int, wall_time: float | None = None, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=wall_time or time.time(), step=step, **what))


def _session(info: Any) -> Any:
    """What the tab HPARAMS knows of a run: how it started, or ended (as `tensorboard.plugins.hparams.summary` makes it,
    which needs TensorFlow)."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    tag = metadata.SESSION_START_INFO_TAG if info.HasField("session_start_info") else metadata.SESSION_END_INFO_TAG
    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(info), tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _started(settings: Mapping[str, bool | float | str]) -> Any:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(start_time_secs=time.time())
    for key, value in settings.items():
        kind = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
        setattr(info.hparams[key], kind, value)
    return HParamsPluginData(session_start_info=info)


def _ended(status: str) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_RUNNING, STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    as_theirs = {"failed": STATUS_FAILURE, "interrupted": STATUS_RUNNING}.get(status, STATUS_SUCCESS)
    return HParamsPluginData(session_end_info=SessionEndInfo(status=as_theirs, end_time_secs=time.time()))


def _text(tag: str, content: Any) -> Any:
    """A text summary: of a configuration as YAML in a block of code."""
    import numpy as np
    import yaml
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    words = content
    if not isinstance(content, str):
        lines = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True).splitlines()
        words = "\n".join(f"    {line}" for line in lines)
    value = Summary.Value(
        tag=tag,
        metadata=create_summary_metadata("", ""),
        tensor=make_tensor_proto(np.array([words.encode()], dtype=object)),
    )
    return Summary(value=[value])
