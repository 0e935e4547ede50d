"""Runs in Weights & Biases, without its servers: `mode=offline` writes files that `wandb sync` uploads when asked.

A run's id is its run_id, so that a run that goes on, or one exported twice, is the same run there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.callback_base import Callback, RunStart, check_extra
from optbench.errors import UserError

if TYPE_CHECKING:
    from optbench.records import Run

_MODES = ("offline", "online", "disabled")


class Wandb(Callback):
    """Writes a run's configuration, curve and summary.

    Args:
        project: of W&B.
        folder: where its files go.
        mode: offline, online (W&B's own account settings hold) or disabled.

    Raises:
        UserError: W&B is not installed, or there is no such mode.
    """

    def __init__(self, project: str = "optbench", folder: str = "outputs/wandb", mode: str = "offline") -> None:
        check_extra("wandb", "wandb", "wandb")
        if mode not in _MODES:
            raise UserError(f"mode={mode}: expected {', '.join(_MODES)}")
        self._project, self._folder, self._mode = project, Path(folder).expanduser(), mode

    def begin(self, start: RunStart) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")  # its lines are not for our output, which pipes
        import wandb

        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self._project, dir=str(self._folder), mode=self._mode, id=start.run_id, name=start.name,
            group=start.sweep, config=dict(start.config), resume="allow", reinit="create_new",
            settings=wandb.Settings(console="off", disable_git=True, save_code=False),
        )  # fmt: skip

    def row(self, row: Mapping[str, Any]) -> None:
        self._run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def end(self, run: Run) -> None:
        for name, value in run.summary.items():
            if isinstance(value, bool | int | float | str) and "." not in name:
                self._run.summary[f"end/{name}"] = value
        self._run.finish(exit_code=1 if run.status.value == "failed" else 0)
