"""Overrides to cases: one surface, and the optimizers (schedules, learning rates ...) that stand side by side on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.config import GROUPS, Composer, Job
from optbench.config.hydra_keys import check_hydra_keys
from optbench.descend.portable import is_portable
from optbench.errors import UserError
from optbench.experiment.programs import known_batch
from optbench.protocol import around_name
from optbench.settings import SurfaceTrainer, shown, trainer_from

if TYPE_CHECKING:
    from optbench.descend import Batch, BatchResult
    from optbench.experiment.surface import Field, ShelvedField

MOST = 12
"""Most cases that one table and one figure can show."""


@dataclass(frozen=True)
class Case:
    """One configuration on the surface.

    Attributes:
        label: what tells it apart: the optimizer, and what else was given several values.
        config: resolved.
        trainer: its settings.
    """

    label: str
    config: Mapping[str, Any]
    trainer: SurfaceTrainer

    @property
    def whole(self) -> dict[str, Any]:
        """The configuration with the settings of the trainer as they are used."""
        return {**self.config, "trainer": vars(self.trainer)}


@dataclass(frozen=True)
class Run:
    """How the work is carried out.

    Attributes:
        threads: of the fused engine.
        backend: "auto", "eager" or "fused".
        stop: asked between pieces of work whether to end.
        progress: told (runs ended, runs in all, what is being done).
    """

    threads: int = 1
    backend: str = "auto"
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[float, float, str], None] | None = None

    def stage(self, before: Callable[[], float], rows: int, total: float) -> Callable[[str, float], None]:
        """What a batch of so many rows tells of its stages, as progress; `before`: runs that have ended by then."""

        def tell(words: str, share: float) -> None:
            if self.progress is not None:
                self.progress(before() + share * rows, total, words)

        return tell


def plan_cases(
    overrides: Sequence[str], refused: Mapping[str, str], config_dirs: Sequence[Path] = (), **defaults: Any
) -> list[Case]:
    """The cases that overrides in Hydra's sweep grammar describe. No torch here.

    Args:
        overrides: as of a sweep, e.g. "optimizer=gd,adam".
        refused: keys that the question itself sets, with what to use instead.
        config_dirs: folders laid over conf/.
        defaults: settings of the trainer where the overrides do not say, e.g. steps=500.

    Raises:
        ConfigError: an override that does not fit.
        UserError: a refused key, a network, several surfaces, or more than MOST cases.
    """
    check_hydra_keys(overrides, ())
    keys = [text.lstrip("+~").partition("=")[0] for text in overrides]
    for key in keys:
        if key in refused:
            raise UserError(f"{key} does not apply here", refused[key])
    defaults = {name: value for name, value in defaults.items() if f"trainer.{name}" not in keys}
    with Composer(config_dirs) as composer:
        grid = composer.grid(list(overrides))
        if grid.count > MOST:
            raise UserError(f"{grid.count} configurations side by side: at most {MOST} fit", "give fewer values")
        swept = grid.swept
        return _same_surface([_case(job, swept, defaults) for job in grid])


def _case(job: Job, swept: Sequence[str], defaults: Mapping[str, Any]) -> Case:
    config = job.composed.config
    trainer = trainer_from(config)
    if not isinstance(trainer, SurfaceTrainer):
        raise UserError(f"{config['choices']['model']} is a network, not a surface", "see optbench list model")
    others = [k for k in swept if k not in ("optimizer", "wrap") and k in job.given]
    words = [job.given[k] if k in GROUPS else f"{k.rpartition('.')[2]}={shown(job.given[k])}" for k in others]
    return Case(" ".join(map(str, [around_name(config["choices"]), *words])), config, replace(trainer, **defaults))


def _same_surface(cases: list[Case]) -> list[Case]:
    if any(case.config[part] != cases[0].config[part] for case in cases for part in ("model", "loss")):
        raise UserError("several surfaces: expected one", "ask for each model in a command of its own")
    return cases


def field_of(cases: Sequence[Case]) -> Field | ShelvedField:
    """The surface under its loss, once every case is known to have a form for rows.

    Raises:
        UserError: an optimizer or a schedule that the engine cannot run as rows, with the reason.
        IncompatibleError: a loss that does not fit the surface.
    """
    from optbench.experiment.surface import build_field, shelved_field

    fields = [shelved_field(case.whole) for case in cases]
    if fields[0] is not None and all(fields):
        return fields[0]
    from optbench.descend import unsupported

    for case in cases:
        if "wrap" in case.config:
            raise _no_rows(case, f"wrap={case.config['choices']['wrap']} is around the steps of the training loop")
        why = unsupported(case.config["optimizer"], case.config["scheduler"])
        if why is not None:
            raise _no_rows(case, why)
    return build_field(cases[0].config)


def descended(case: Case, batch: Batch) -> BatchResult:
    """A case's batch, run once its forms were held to what the loop does; a program that is kept was, when it was made.

    Raises:
        UserError: they differ, or the optimizer or the schedule refuses the numbers of a row.
    """
    from optbench.descend import descend

    if not batch.noisy and batch.backend != "eager":
        found = known_batch(case.whole, batch.optimizer, batch.scheduler)
        if found is not None:
            return descend(replace(batch, known=found[0]))
    if is_portable(case.trainer):
        noisy = "the portable engine draws gradient noise one run at a time"
        known = "the portable engine has rows of optimizers alone whose settings optbench knows the ranges of"
        raise _no_rows(case, noisy if batch.noisy else known)
    from optbench.descend import UnsupportedError, disagreement, refused

    for row, words in refused(batch).items():
        raise UserError(f"{case.label} cannot be built with the numbers of row {row}: {words}")
    if (why := disagreement(batch)) is not None:
        raise _no_rows(case, why)
    try:
        return descend(batch)
    except UnsupportedError as error:  # of a setting that was none of those tried
        raise _no_rows(case, str(error)) from error


def _no_rows(case: Case, why: str) -> UserError:
    hint = "only optbench run and optbench sweep can run it, one run at a time"
    return UserError(f"{case.label} cannot run as rows of one batch: {why}", hint)
