"""A run on a surface as the scalar program that it is: made with torch once, executed without.

What a surface, an optimizer and a scheduler are is traced to a program of numbers (`descend.trace`), held to the real
objects (`descend.agreement`), and kept on the shelf under a key of everything it was made of: the configuration of the
parts (of an optimizer: which options are in use, not their numbers), the sources of this package, versions. So is what
their numbers come to over the steps, and so are the critical points that say where the run stopped. A run that finds
all of it there needs no torch; one that does not makes it first and then runs the same program, so that a configuration
has the same bits whatever was there before, by itself or as a row of a sweep.

What is not for this room goes by the training loop: networks, code of the user's own, noise, a limit of seconds,
another device than the CPU, and what has no form for rows (L-BFGS, a schedule that follows the loss).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optbench import shelf
from optbench.config import build
from optbench.descend.kept import in_use
from optbench.descend.recipe import numbers_of, recipe_of
from optbench.descend.scalar import Jets, Numbers, ScalarStep, TooFarError, Walk, plain_program
from optbench.errors import OptbenchError
from optbench.experiment.sources import KEY
from optbench.loop.progress import Progress, Summary
from optbench.problem.streams import start_values
from optbench.records import Status
from optbench.settings import RANGES, SurfaceTrainer, trainer_from

if TYPE_CHECKING:
    from optbench.descend import Batch
    from optbench.descend.plan import Plan
    from optbench.descend.trace import Step
    from optbench.experiment.recorder import Recorder
    from optbench.problem import AbstractSurface, Objective

ENGINE = "scalar"

_PARTS = ("model", "loss", "optimizer", "scheduler")
_OURS = ("optbench.", "torch.")
_MOST_STEPS = 1_000_000
"""Beyond, the tables over the steps would be longer than what they save is worth."""
_ROOMS = ("descend", "problem", "surfaces", "losses", "optimizers", "schedulers", "optimizer_base", "tracing",
          "experiment/traced")  # fmt: skip
_LANDMARK_ROOMS = (*_ROOMS, "critical", "landmarks")


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
    if not _is_for_here(config):
        return None
    trainer = trainer_from(config)
    assert isinstance(trainer, SurfaceTrainer)
    program_key = _key(_ROOMS, config["model"], config["loss"], in_use(config["optimizer"]))
    program = shelf.take("programs", program_key)
    numbers = None if program is None else _known_numbers(config, trainer.steps, program)
    if program is None or numbers is None:
        try:
            program, tables = _learned(config, trainer)
        except _NotHereError:
            return None
        shelf.put("programs", program_key, program)
        for key, table in zip(_table_keys(config, trainer.steps, program), tables, strict=True):
            shelf.put("tables", key, table)
        numbers = _numbers(config, program, *tables)
    domain = tuple((low, high) for low, high in program["domain"])
    start = start_values(program["name"], domain, program["start"], trainer, config["seed"])
    return Traced(config, trainer, program["name"], start.tolist(), _step_of(program), numbers)


def _is_for_here(config: Mapping[str, Any]) -> bool:
    """Whether a run may be a program: by its configuration alone."""
    trainer = config["trainer"]
    return (
        KEY not in config
        and config["data"].get("_target_") is None
        and config["augment"].get("_target_") is None
        and "batch_size" not in trainer
        and trainer["device"] in ("auto", "cpu")
        and not trainer["grad_noise"]
        and all(trainer[name] is None for name in ("seconds", "curvature_every"))
        and trainer["steps"] <= _MOST_STEPS
        and all(str(config[part].get("_target_")).startswith(_OURS) for part in _PARTS)
    )


def _key(rooms: Sequence[str], *about: Any) -> str:
    made_by = shelf.versions("torch", "numpy", "scipy")
    return shelf.key_of(*about, shelf.sum_of_sources(*rooms), made_by, platform.machine())


# its numbers ---------------------------------------------------------------------------------------------------------


def _table_keys(config: Mapping[str, Any], steps: int, program: Mapping[str, Any]) -> tuple[str, str]:
    """Where the tables over the steps are kept: of the optimizer, by the numbers that it looks at, and of the schedule,
    which is the same for every learning rate (`descend.schedules`; held for two others where it is made)."""
    hyper = numbers_of(program["hyper"], config["optimizer"])
    seen = {name: hyper[name] for name in program["inputs"]}
    own = _key(_ROOMS, config["optimizer"]["_target_"], in_use(config["optimizer"]), seen, steps)
    return own, _key(_ROOMS, config["scheduler"], steps)


def _known_numbers(config: Mapping[str, Any], steps: int, program: Mapping[str, Any]) -> Numbers | None:
    """The numbers of a run from the shelf; None where they are not there, or a range does not vouch for one of them."""
    if not all(f"optimizer.{key}" in RANGES for key, value in config["optimizer"].items() if not _is_fixed(value)):
        return None
    own, schedule = (shelf.take("tables", key) for key in _table_keys(config, steps, program))
    return None if own is None or schedule is None else _numbers(config, program, own, schedule)


def _is_fixed(value: Any) -> bool:
    """Whether a setting stands in the key of a program as it is, and so was accepted by the optimizer itself."""
    return not isinstance(value, float | list)


def _numbers(
    config: Mapping[str, Any], program: Mapping[str, Any], own: Mapping[str, Any], schedule: Mapping[str, Any]
) -> Numbers:
    coefficients = {name: _unpacked(packed) for name, packed in own.items()}
    hyper = numbers_of(program["hyper"], config["optimizer"])
    return Numbers(hyper, schedule["floor"], coefficients, _unpacked(schedule["factors"]))


# made with torch -----------------------------------------------------------------------------------------------------


class _NotHereError(Exception):
    """Something that only the training loop can do, or say."""


def _field_of(config: Mapping[str, Any]) -> tuple[AbstractSurface, Objective]:
    """The surface of a configuration and its objective; what does not fit together the loop says better."""
    from optbench.problem import AbstractSurface, surface_objective

    try:
        surface = build(config["model"], "model")
        if not isinstance(surface, AbstractSurface):
            raise _NotHereError
        return surface, surface_objective(surface, build(config["loss"], "loss"))
    except OptbenchError as error:
        raise _NotHereError from error


def _learned(
    config: Mapping[str, Any], trainer: SurfaceTrainer
) -> tuple[dict[str, Any], tuple[dict[str, Any], dict[str, Any]]]:
    """A program and its tables, held to the real objects. Raises _NotHereError."""
    import numpy as np

    from optbench.descend import Batch, UnsupportedError, refused, unsupported
    from optbench.descend.agreement import rule_disagreement
    from optbench.descend.plan import make_plan
    from optbench.descend.trace import trace_step

    if unsupported(config["optimizer"], config["scheduler"]) is not None:
        raise _NotHereError
    surface, objective = _field_of(config)
    batch = Batch(
        objective=objective,
        starts=np.array([surface.start], dtype=np.float64),
        optimizer=config["optimizer"],
        scheduler=config["scheduler"],
        trainer=trainer,
        record=[0],
    )
    if refused(batch) or rule_disagreement(config["optimizer"], 1) is not None:
        raise _NotHereError
    try:
        plan = make_plan(batch)
        _check_rates(batch, plan)
        recipe = recipe_of(config["optimizer"])
        step = trace_step(objective, list(surface.start), plan)
    except (UnsupportedError, NotImplementedError) as error:
        raise _NotHereError from error
    if recipe is None or numbers_of(recipe, config["optimizer"]) != plan.hyper:
        raise _NotHereError
    facts = {"name": type(surface).__name__, "domain": [list(side) for side in surface.domain]}
    program = {**facts, "start": list(surface.start), "hyper": recipe, **_plain_step(step, plan, surface.dim)}
    own, schedule = plan.tables
    coefficients = {name: _packed(own.values[i, 0].tolist()) for i, name in enumerate(own.names)}
    tables = coefficients, {"floor": plan.floor, "factors": _packed(schedule.values[0, 0].tolist())}
    if _differs(batch, plan, program, _numbers(config, program, *tables)):
        raise _NotHereError
    return program, tables


def _plain_step(step: Step, plan: Plan, dim: int) -> dict[str, Any]:
    """A traced step as plain data: its program (see ScalarStep), its memories, what its tables look at."""
    from optbench.descend.body import farthest, slope_of

    memory = [value for name in plan.rule.memories for value in step.memory[name]]
    _, slope = slope_of(step)
    far = farthest(step.program, [step.loss, slope, *step.x, *memory])
    far = step.program.const(0.0) if far is None else far
    inputs = [f"x[{i}]" for i in range(dim)]
    inputs += [f"{name}[{i}]" for name in plan.rule.memories for i in range(dim)]
    inputs += [*plan.hyper, *plan.tables[0].names, "t"]
    plain = plain_program(step.program, inputs, [step.loss, slope, far, *step.x, *memory])
    return {"step": plain, "memories": len(memory), "inputs": list(plan.rule.inputs)}


def _check_rates(batch: Batch, plan: Plan) -> None:
    """Holds the schedule to two other learning rates. Raises UnsupportedError where it makes something else of them."""
    from optbench.descend import UnsupportedError
    from optbench.descend.plan import make_plan

    lr = batch.optimizer["lr"]
    for rate in (0.25 * lr, 3.0 * lr):
        other = make_plan(replace(batch, optimizer={**batch.optimizer, "lr": rate}))
        if other.floor != plan.floor or not (other.tables[1].values == plan.tables[1].values).all():
            raise UnsupportedError(f"{batch.scheduler['_target_']} depends on the learning rate")


def _packed(values: list[float]) -> list[Any]:
    """A table as plain data: one that never changes as its number and its length."""
    return [values[0], len(values)] if len(set(map(repr, values))) == 1 else [values]


def _unpacked(packed: Sequence[Any]) -> Sequence[float]:
    values: Sequence[float] = packed[0] if isinstance(packed[0], list) else [packed[0]] * packed[1]
    return values


def _step_of(program: Mapping[str, Any]) -> ScalarStep:
    return ScalarStep(program["step"], len(program["start"]), program["memories"])


def _differs(batch: Batch, plan: Plan, program: Mapping[str, Any], numbers: Numbers) -> bool:
    """Whether the program is not the batched step of torch, near the start (`agreement.compiled_disagreement`)."""
    from optbench.descend.agreement import compiled_disagreement
    from optbench.descend.scalar import enter

    step = _step_of(program)
    try:
        return (
            compiled_disagreement(batch, plan, lambda short, _, store, rows: enter(short, step, numbers, store))
            is not None
        )
    except TooFarError as error:
        raise _NotHereError from error


# where it stopped ----------------------------------------------------------------------------------------------------


def arrival_of(config: Mapping[str, Any], name: str, status: Status, x: Sequence[float]) -> dict[str, Any]:
    """The columns of where a run stopped, see `landmarks.columns`."""
    from optbench.landmarks.columns import arrivals_by

    return vars(arrivals_by(lambda: _landmarks(config), name, len(x), [status], [x])[0])


def _landmarks(config: Mapping[str, Any]) -> Any:
    """The critical points of a configuration's surface, from the shelf or found now."""
    from optbench.landmarks.kept import from_plain, to_plain

    key = _key(_LANDMARK_ROOMS, config["model"], config["loss"])
    facts = shelf.take("landmarks", key)
    if facts is not None and facts["jet"] is not None:
        return from_plain(facts, Jets(facts["jet"], len(facts["box"])))
    from optbench.descend.trace import trace_jet
    from optbench.landmarks.arrivals import landmarks

    surface, objective = _field_of(config)
    if facts is not None:
        return from_plain(facts, objective)
    known = landmarks(objective, surface.domain, surface.minimizers)
    try:
        program, results = trace_jet(objective, list(surface.start))
        jet = plain_program(program, [f"x[{i}]" for i in range(surface.dim)], results)
    except NotImplementedError:
        jet = None
    facts = to_plain(known) | {"jet": jet}
    shelf.put("landmarks", key, facts)
    return known if jet is None else from_plain(facts, Jets(jet, surface.dim))


# the run -------------------------------------------------------------------------------------------------------------


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
