"""A run on a surface as the scalar program that it is (`programs`), executed without torch.

A configuration has the same bits whatever was on the shelf before, by itself or as a row of a sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.descend.portable_coefficients import named
from optbench.descend.portable_noise import noise_inputs, normal_draws
from optbench.descend.recipe import numbers_of
from optbench.descend.scalar import Numbers, ScalarStep, Walk
from optbench.experiment.programs import Shelved, landmarks_of, shelved
from optbench.loop.progress import Progress, Summary
from optbench.problem.streams import start_values
from optbench.records import Status
from optbench.settings import SurfaceTrainer, trainer_from

if TYPE_CHECKING:
    from optbench.experiment.recorder import Recorder

ENGINE = "scalar"


@dataclass(frozen=True)
class Traced:
    """A configuration as a program.

    Attributes:
        config: the configuration.
        trainer: its settings.
        name: class of the surface.
        start: (dim,).
        step: the program of an update.
        numbers: what it is given.
    """

    config: Mapping[str, Any]
    trainer: SurfaceTrainer
    name: str
    start: Sequence[float]
    step: ScalarStep
    numbers: Numbers


def traced(config: Mapping[str, Any]) -> Traced | None:
    """The program of a run; None where the training loop is to run it.

    Raises:
        UserError: the start does not fit the surface.
    """
    found = shelved(config)
    if found is None:
        return None
    trainer, program = trainer_from(config), found.program
    assert isinstance(trainer, SurfaceTrainer)
    domain = tuple((low, high) for low, high in program["domain"])
    start = start_values(program["name"], domain, program["start"], trainer, config["seed"])
    step = ScalarStep(program["step"], len(domain), len(domain) * len(program["memories"]))
    return Traced(config, trainer, program["name"], start.tolist(), step, _numbers(config, trainer.steps, found))


def _numbers(config: Mapping[str, Any], steps: int, found: Shelved) -> Numbers:
    """What the program of a run is given."""
    program = found.program
    hyper = numbers_of(program["hyper"], config["optimizer"])
    t = np.arange(steps + 1, dtype=np.float64)
    tables = named(program["coefficients"])(t, {name: hyper[name] for name in program["inputs"]})
    lines = {name: np.broadcast_to(table, t.shape).tolist() for name, table in tables.items()}
    if sigma := config["trainer"]["grad_noise"]:
        noise = sigma * normal_draws(config["seed"], steps + 1, len(program["domain"]))
        lines |= dict(zip(noise_inputs(noise.shape[1]), noise.T.tolist(), strict=True))
    return Numbers(hyper, found.floor, lines, found.factors)


def arrival_of(config: Mapping[str, Any], name: str, status: Status, x: Sequence[float]) -> dict[str, Any]:
    """The columns of where a run stopped, see `landmarks.columns`."""
    from optbench.landmarks.columns import arrivals_by

    return vars(arrivals_by(lambda: landmarks_of(config), name, len(x), [status], [x])[0])


class TracedRun:
    """A run of a program, with the face of `loop.Loop`: `run`, `summary`, `progress`.

    Args:
        this: what is run.
        recorder: who is told.
    """

    def __init__(self, this: Traced, recorder: Recorder) -> None:
        self._this, self._recorder = this, recorder
        self._walk = Walk(this.step, this.numbers, this.trainer, this.start)

    @property
    def progress(self) -> Progress:
        """Where the run is."""
        return self._walk.progress

    @property
    def x(self) -> list[float]:
        """The iterate."""
        return self._walk.x

    def run(self) -> Summary:
        """Runs to the end. Raises TooFarError, see `descend.scalar.Walk`."""
        trainer, recorder = self._this.trainer, self._recorder
        for row in self._walk.rows():
            step, ended = row["step"], self._walk.ended
            if ended is not None or step % trainer.record_every == 0:
                recorder.row(row)
            recorder.step(step + (ended is None), trainer.steps, row)
            if ended is not None:
                return self.summary(*ended)
            if recorder.stop_requested:
                self.progress.step = self.progress.evals = step + 1
                return self.summary(Status.INTERRUPTED, f"stopped by the user after step {step + 1}")
        raise AssertionError("a run ends by a rule")

    def summary(self, status: Status, reason: str) -> Summary:
        """The summary of the run so far, under this status."""
        return self.progress.summary(status, reason, self._this.trainer.target)
