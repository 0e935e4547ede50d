"""Programs of runs on surfaces, on the shelf: found there, or made with torch once and put there.

What a surface, an optimizer and a scheduler are is traced to a program of numbers (`descend.trace`), held to the real
objects (`descend.agreement`), and kept under a key of everything it was made of: the configuration of the parts (of an
optimizer: which options are in use, not their numbers), the sources of this package, versions. So are the factors of a
schedule over the steps, and the critical points that say where a run stopped. What finds all of it there needs no
torch; what does not makes it first and then runs the same program.

What is not for this room goes by the training loop, or by rows that torch computes: networks, code of the user's own,
noise but under the portable engine, which draws its own (`portable_noise`), a limit of seconds, another device than the
CPU, and what has no form for rows (L-BFGS, a schedule that follows the loss).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optbench import shelf
from optbench.config import build
from optbench.descend.kept import in_use
from optbench.descend.portable import is_portable, portable_step
from optbench.descend.portable_noise import MOST_NOISY, NOISE
from optbench.descend.recipe import numbers_of, recipe_of
from optbench.errors import IncompatibleError, OptbenchError
from optbench.experiment.sources import KEY
from optbench.settings import RANGES, SurfaceTrainer, trainer_from

if TYPE_CHECKING:
    from optbench.critical.points.found import CriticalSet
    from optbench.descend import Batch
    from optbench.descend.known import Known
    from optbench.descend.plan import Plan
    from optbench.landmarks.arrivals import Landmarks
    from optbench.landmarks.disks import Disks
    from optbench.problem import AbstractSurface, Objective

Config = Mapping[str, Any]
Plain = dict[str, Any]

_PARTS = ("model", "loss", "optimizer", "scheduler")
_OURS = ("optbench.", "torch.")
_MOST_STEPS = 1_000_000
"""Beyond, the tables over the steps would be longer than what they save is worth."""
_MOST_SCHEDULES = 64
"""Of one batch, beyond which stepping each by itself is not worth it."""
_ROOMS = ("descend", "problem", "surfaces", "losses", "optimizers", "schedulers", "optimizer_base", "tracing",
          "experiment/programs")  # fmt: skip
_LANDMARK_ROOMS = (*_ROOMS, "critical", "landmarks")


@dataclass(frozen=True)
class Shelved:
    """What is kept of a run's step.

    Attributes:
        program: the step (`known.plain_step`); `name`, `domain` and `start` of the surface; `hyper`, the recipe of the
            rule's numbers.
        floor: lowest learning rate of the schedule, or None.
        factors: of the schedule, one for each of t = 0 ... steps.
    """

    program: Mapping[str, Any]
    floor: float | None
    factors: Sequence[float]


def shelved(config: Config) -> Shelved | None:
    """The program of a run, from the shelf or made now; None where it has none.

    Raises:
        IncompatibleError: it has none, and the portable engine, which runs nothing else, was asked for.
    """
    if is_portable(config["trainer"]):
        return _portable(config)
    return _shelved(config) if has_program(config) else None


def _portable(config: Config) -> Shelved:
    """The same in the portable form; code of the user's own has one too, made anew each time."""
    if (why := _without_program(config)) is None:
        try:
            found = (_shelved(config) if has_program(config) else None) or _made_now(config)
            return replace(found, program=portable_step(found.program))
        except NotHereError as error:
            why = str(error)
    raise IncompatibleError(f"trainer.engine=portable: {why}")


def _without_program(config: Config) -> str | None:
    """Why a run has no program, by its configuration alone and whosever code it is; None where it may have one."""
    trainer = config["trainer"]
    if config["data"].get("_target_") is not None or "batch_size" in trainer:
        return "it runs surfaces, not networks"
    if "wrap" in config:
        return f"wrap={config['choices']['wrap']} is around the steps of the training loop"
    for name in ("seconds", "curvature_every"):
        if trainer[name] is not None:
            return f"trainer.{name} is looked at step by step"
    if trainer["device"] not in ("auto", "cpu"):
        return f"trainer.device={trainer['device']}: it computes on the CPU"
    steps = trainer["steps"]
    return f"at most {_MOST_STEPS} steps" if steps > _MOST_STEPS else None


def _made_now(config: Config) -> Shelved:
    program, schedule = _learned(config)
    return Shelved(program, schedule["floor"], _unpacked(schedule["factors"]))


def _shelved(config: Config) -> Shelved | None:
    """The program of a run that `has_program`."""
    program_key, schedule_key = _keys(config)
    program = shelf.take("programs", program_key) if _is_vouched(config["optimizer"]) else None
    schedule = shelf.take("schedules", schedule_key)
    try:
        if program is None:
            program, schedule = _learned(config)
            shelf.put("programs", program_key, program)
            shelf.put("schedules", schedule_key, schedule)
        elif schedule is None:
            schedule = _learned_schedule(*_planned(config)[::2])
            shelf.put("schedules", schedule_key, schedule)
    except NotHereError:
        if is_portable(config["trainer"]):
            raise
        return None
    return Shelved(program, schedule["floor"], _unpacked(schedule["factors"]))


def is_shelved(config: Config) -> bool:
    """Whether the program of a run and its schedule are on the shelf: then it can be built, and needs no torch."""
    return (
        has_program(config)
        and _is_vouched(config["optimizer"])
        and all(shelf.has(kind, key) for kind, key in zip(("programs", "schedules"), _keys(config), strict=True))
    )


def has_program(config: Config) -> bool:
    """Whether a run may be a program: by its configuration alone, before anything is tried."""
    trainer = config["trainer"]
    return (
        is_ours(config)
        and not config["optimizer"].get("protocol")
        and "wrap" not in config
        and "collate" not in config
        and config["data"].get("_target_") is None
        and config["augment"].get("_target_") is None
        and "batch_size" not in trainer
        and trainer["device"] in ("auto", "cpu")
        and (not trainer["grad_noise"] or is_portable(trainer))
        and all(trainer[name] is None for name in ("seconds", "curvature_every"))
        and trainer["steps"] <= _MOST_STEPS
    )


def is_ours(config: Config) -> bool:
    """Whether all parts are optbench's or torch's: what is made of them depends on their configuration alone."""
    return KEY not in config and all(str(config[part].get("_target_")).startswith(_OURS) for part in _PARTS)


def _keys(config: Config) -> tuple[str, str]:
    """Where the program is kept, and where the schedule, which is the same for every learning rate."""
    noisy = [NOISE] if config["trainer"]["grad_noise"] else []
    program = key_of(_ROOMS, config["model"], config["loss"], in_use(config["optimizer"]), *noisy)
    return program, key_of(_ROOMS, config["scheduler"], config["trainer"]["steps"])


def key_of(rooms: Sequence[str], *about: Any) -> str:
    """The key of what is made by rooms of this package, with torch, of some parts of a configuration."""
    made_by = shelf.versions("torch", "numpy", "scipy")
    return shelf.key_of(*about, shelf.sum_of_sources(*rooms), made_by, platform.machine())


def _is_vouched(node: Config) -> bool:
    """Whether an optimizer takes the numbers of a node: they passed a range, or stand in the key of the program."""
    return all(f"optimizer.{key}" in RANGES for key, value in node.items() if isinstance(value, float | list))


# batches -------------------------------------------------------------------------------------------------------------


def known_batch(config: Config, optimizer: Config, scheduler: Config) -> tuple[Known, Shelved] | None:
    """What is known of runs that are the rows of one batch; None where they have no program.

    Args:
        config: of one of them.
        optimizer: node of the batch: a keyword that differs from row to row is an array, (rows,) or (rows, k).
        scheduler: likewise.
    """
    from optbench.descend.known import Known, schedule_key

    telling = _telling(optimizer)
    schedules = _schedules(scheduler, config["trainer"]["steps"])
    if telling is None or not _is_vouched(telling) or len(schedules) > _MOST_SCHEDULES:
        return None
    factors, first = {}, None
    for keywords in schedules:
        found = shelved({**config, "optimizer": telling, "scheduler": {**scheduler, **keywords}})
        if found is None:
            return None
        factors[schedule_key(keywords)] = found.factors
        first = first or found
    return None if first is None else (Known(first.program, factors), first)


def _telling(node: Config) -> Plain | None:
    """The node of a row in which every option is in use that is in use in any; None where numbers are not finite."""
    import numpy as np

    found = dict(node)
    for key, value in node.items():
        if isinstance(value, np.ndarray):
            if not np.isfinite(value).all():
                return None
            found[key] = value[int(np.argmax((value.reshape(len(value), -1) != 0).any(axis=1)))].tolist()
    return found


def _schedules(node: Config, steps: int) -> list[Plain]:
    """The different keywords of the schedules of a batch; a keyword that is null is the length of the run."""
    import numpy as np

    keywords = {k: steps if v is None else v for k, v in node.items() if not k.startswith("_")}
    varied = {k: v for k, v in keywords.items() if isinstance(v, np.ndarray)}
    rows = zip(*(v.tolist() for v in varied.values()), strict=True) if varied else [()]
    different = {repr(row): dict(zip(varied, row, strict=True)) for row in rows}
    return [{**keywords, **own} for own in different.values()]


class Later:
    """The objective of a configuration, built when it is first evaluated: what runs a kept program never does."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._made: Objective | None = None

    def __call__(self, x: Any) -> Any:
        if self._made is None:
            self._made = _field_of(self._config)[1]
        return self._made(x)


# made with torch -----------------------------------------------------------------------------------------------------


class NotHereError(Exception):
    """Something that only the training loop can do, or say."""


def _field_of(config: Config) -> tuple[AbstractSurface, Objective]:
    """The surface of a configuration and its objective; what does not fit together the loop says better."""
    from optbench.problem import AbstractSurface, surface_objective

    try:
        surface = build(config["model"], "model")
        if not isinstance(surface, AbstractSurface):
            raise NotHereError(f"{config['choices']['model']} is not a surface")
        return surface, surface_objective(surface, build(config["loss"], "loss"))
    except OptbenchError as error:
        raise NotHereError(error.message) from error


def _planned(config: Config) -> tuple[Batch, AbstractSurface, Plan]:
    """A run as a batch of one row, its surface, and the batch's plan. Raises NotHereError."""
    import numpy as np

    from optbench.descend import Batch, UnsupportedError, refused, unsupported
    from optbench.descend.plan import make_plan

    if (why := unsupported(config["optimizer"], config["scheduler"])) is not None:
        raise NotHereError(why)
    surface, objective = _field_of(config)
    trainer = trainer_from(config)
    assert isinstance(trainer, SurfaceTrainer)
    batch = Batch(
        objective=objective,
        starts=np.array([surface.start], dtype=np.float64),
        optimizer=config["optimizer"],
        scheduler=config["scheduler"],
        trainer=trainer,
        record=[0],
    )
    try:
        if no := refused(batch):
            raise NotHereError(next(iter(no.values())))
        plan = make_plan(batch)
        _check_rates(batch, plan)
    except UnsupportedError as error:
        raise NotHereError(str(error)) from error
    return batch, surface, plan


def _learned(config: Config) -> tuple[Plain, Plain]:
    """A program and a schedule, held to the real objects. Raises NotHereError."""
    from optbench.descend import UnsupportedError
    from optbench.descend.agreement import rule_disagreement
    from optbench.descend.coefficients import BY_NAME
    from optbench.descend.known import plain_step
    from optbench.descend.trace import trace_step

    batch, surface, plan = _planned(config)
    if (why := rule_disagreement(config["optimizer"], 1)) is not None:
        raise NotHereError(why)
    try:
        recipe = recipe_of(config["optimizer"])
        step = trace_step(batch.objective, list(surface.start), plan)
    except (UnsupportedError, NotImplementedError) as error:
        raise NotHereError(f"its step cannot be traced: {error}") from error
    except Exception as error:  # a surface is anyone's code
        raise NotHereError(f"tracing its step raised {type(error).__name__}: {error}") from error
    if recipe is None or numbers_of(recipe, config["optimizer"]) != plan.hyper:
        raise NotHereError("how its numbers follow from the optimizer's settings is not known")
    facts = {"name": type(surface).__name__, "domain": [list(side) for side in surface.domain]}
    truth = {"start": list(surface.start), "minimum": surface.minimum}
    program = {**facts, **truth, "hyper": recipe, **plain_step(step, plan, surface.dim)}
    if BY_NAME.get(program["coefficients"]) not in (plan.rule.coefficients, BY_NAME["none"]):
        raise NotHereError("its coefficients are none of torch's")
    schedule = _learned_schedule(batch, plan)
    _check_program(batch, plan, program, schedule)
    if config["trainer"]["grad_noise"]:  # the same, with one addition
        if surface.dim > MOST_NOISY:
            raise NotHereError(f"gradient noise in more than {MOST_NOISY} coordinates is drawn by torch alone")
        noisy = trace_step(batch.objective, list(surface.start), plan, noisy=True)
        program |= plain_step(noisy, plan, surface.dim, noisy=True)
    return program, schedule


def _learned_schedule(batch: Batch, plan: Plan) -> Plain:
    """The factors of a schedule as plain data: one that never changes as its number and its length."""
    values = plan.tables[1].values[0, 0].tolist()
    factors = [values[0], len(values)] if len(set(map(repr, values))) == 1 else [values]
    return {"floor": plan.floor, "factors": factors}


def _unpacked(packed: Sequence[Any]) -> Sequence[float]:
    values: Sequence[float] = packed[0] if isinstance(packed[0], list) else [packed[0]] * packed[1]
    return values


def _check_rates(batch: Batch, plan: Plan) -> None:
    """Holds the schedule to two other learning rates. Raises UnsupportedError where it makes something else of them."""
    from optbench.descend import UnsupportedError
    from optbench.descend.plan import make_plan

    lr = batch.optimizer["lr"]
    for rate in (0.25 * lr, 3.0 * lr):
        other = make_plan(replace(batch, optimizer={**batch.optimizer, "lr": rate}))
        if other.floor != plan.floor or not (other.tables[1].values == plan.tables[1].values).all():
            raise UnsupportedError(f"{batch.scheduler['_target_']} depends on the learning rate")


def _check_program(batch: Batch, plan: Plan, program: Plain, schedule: Plain) -> None:
    """Holds the program to the batched step of torch, near the start. Raises NotHereError."""
    from optbench.descend.agreement import compiled_disagreement
    from optbench.descend.known import Known, schedule_key
    from optbench.descend.scalar_rows import run_scalar

    keywords = {k: batch.steps if v is None else v for k, v in batch.scheduler.items()}
    known = Known(program, {schedule_key(keywords): _unpacked(schedule["factors"])})
    if why := compiled_disagreement(
        batch, plan, lambda short, its, store, rows: run_scalar(replace(short, known=known), its, store)
    ):
        raise NotHereError(why)


# where a run stopped -------------------------------------------------------------------------------------------------


def landmarks_of(config: Config) -> Landmarks:
    """The critical points of a configuration's surface, from the shelf or found now; of the user's own code always
    found now, since their configuration does not say what it is."""
    from optbench.descend.scalar import Jets
    from optbench.landmarks.kept import from_plain

    key = key_of(_LANDMARK_ROOMS, config["model"], config["loss"])
    ours = is_ours(config)
    facts = shelf.take("landmarks", key) if ours else None
    if facts is None:
        known, facts = _found_landmarks(config)
        if ours:
            shelf.put("landmarks", key, facts)
        if facts["jet"] is None:
            return known
    if facts["jet"] is None:
        return from_plain(facts, _field_of(config)[1])
    return from_plain(facts, Jets(facts["jet"], len(facts["box"])))


def _found_landmarks(config: Config) -> tuple[Landmarks, Plain]:
    """The same, found now, and as plain data."""
    from optbench.descend.scalar import plain_program
    from optbench.descend.trace import trace_jet
    from optbench.landmarks.arrivals import landmarks
    from optbench.landmarks.kept import to_plain

    surface, objective = _field_of(config)
    known = landmarks(objective, surface.domain, surface.minimizers)
    try:
        program, results = trace_jet(objective, list(surface.start))
        jet = plain_program(program, [f"x[{i}]" for i in range(surface.dim)], results)
    except NotImplementedError:
        jet = None
    return known, to_plain(known) | {"jet": jet}


def kept_points(config: Config, about: Any, find: Callable[[], tuple[CriticalSet, Disks]]) -> tuple[CriticalSet, Disks]:
    """A list of critical points and their disks, from the shelf, or found now and kept if it is proved complete: then
    it does not depend on the time that there was.

    Args:
        config: of the surface and its loss.
        about: what else the list depends on: a box, a radius, a name.
        find: makes them.
    """
    from optbench.landmarks.kept import set_from_plain, set_to_plain

    key = key_of(_LANDMARK_ROOMS, config["model"], config["loss"], about)
    facts = shelf.take("points", key) if is_ours(config) else None
    if facts is not None:
        return set_from_plain(facts)
    found, disks = find()
    if found.complete and not found.factors and is_ours(config):
        shelf.put("points", key, set_to_plain(found, disks))
    return found, disks
