"""What runs will cost, from a measured probe: a few updates of one run of each kind, extrapolated."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optbench.descend.portable import ENGINE as PORTABLE
from optbench.descend.portable import is_portable
from optbench.errors import IncompatibleError, OptbenchError
from optbench.experiment import Planned
from optbench.experiment.assemble import build_problem, optimizer_of
from optbench.experiment.programs import shelved
from optbench.launch.batches import Rows, batch_of, startable
from optbench.launch.stacks import Stacked, seconds_of
from optbench.launch.sweep import Division
from optbench.problem.planning import planning
from optbench.records import flatten
from optbench.settings import trainer_from

if TYPE_CHECKING:
    import torch

    from optbench.descend import Batch
    from optbench.problem import AbstractProblem

_STEPS, _PROBE_SECONDS = 20, 0.3  # updates of one run, fewer when they are long
_LOOP_SECONDS = 3e-4  # what the loop adds to an update: norms, stop rules, recording; benchmarks/launch.py
_PROGRAM_STEPS, _ROW_SECONDS = 200, 1e-5  # updates of a program, and what recording adds to one
_RUN_SECONDS = 0.03  # assembling a run, and its files on a disk
_ROW_STEPS = 20
_ROWS, _COORDINATES = 2000, 4_000_000
_BYTES_A_ROW = 130  # of metrics.csv, measured on runs of this tool
_BYTES_A_RUN = 6000  # run.json and config.yaml, likewise


@dataclass(frozen=True)
class Cost:
    """What runs will cost.

    Attributes:
        seconds: estimated, of computing on one worker.
        disk: estimated bytes.
        unable: kinds of runs that cannot start: how many, one of them, why.
        incompatible: run_id of each run whose parts do not fit together, and why; they will be skipped.
    """

    seconds: float = 0.0
    disk: float = 0.0
    unable: tuple[str, ...] = ()
    incompatible: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Cost) -> Cost:
        unable, incompatible = self.unable + other.unable, {**self.incompatible, **other.incompatible}
        return Cost(self.seconds + other.seconds, self.disk + other.disk, unable, incompatible)


def estimate(division: Division, recorded: int, engine: str = "auto") -> Cost:
    """Builds the parts of each shape of run, and times one of each kind (choice of parts) and batch.

    Imports torch where runs go by it; writes nothing.

    Args:
        division: the runs.
        recorded: how many rows of a batch keep their curve.
        engine: of the rows, see `launch.sweep.Options`.
    """
    total = Cost()
    for rows in division.rows:
        total += _rows_cost(rows, recorded, engine)
    for stack in division.stacks:
        total += _stack_cost(stack)
    kinds: dict[tuple[str, ...], list[Planned]] = defaultdict(list)
    for item in division.single:
        kinds[tuple(item.choices.values())].append(item)
    for members in kinds.values():
        total += _kind_cost(members)
    return total


def _unable(members: Sequence[Planned], error: Exception) -> Cost:
    if isinstance(error, IncompatibleError):
        return Cost(incompatible={item.run_id: error.message for item in members})
    reason = error.message if isinstance(error, OptbenchError) else f"{type(error).__name__}: {error}"
    return Cost(unable=(f"{len(members)} like {members[0].label}: {reason}",))


def _rows_cost(rows: Rows, recorded: int, engine: str) -> Cost:
    from optbench.experiment import Stop

    try:
        part, unable = startable(rows.some(range(_probed(rows))))
        if not part.planned:
            return _kind_cost(unable)
        batch = batch_of(part, Stop(), backend=engine)
        seconds = _rows_seconds(batch, len(rows.planned))
    except Exception as error:  # parts are anyone's code
        return _unable(rows.planned, error)
    curves = min(recorded, len(rows.planned)) * batch.steps * 60
    return Cost(seconds, 200 * len(rows.planned) + curves)


def _stack_cost(stack: Stacked) -> Cost:
    from optbench.launch.base import available_cores

    steps, n = stack.rows.networks.steps, len(stack.planned)
    weights = 2 * 4 * sum(p.numel() for p in stack.problem.module.parameters())
    try:
        seconds = seconds_of(stack, available_cores())
    except Exception as error:  # parts are anyone's code
        return _unable(stack.planned, error)
    return Cost(seconds, n * (_BYTES_A_RUN + steps * _BYTES_A_ROW + weights))


def _rows_seconds(batch: Batch, rows: int) -> float:
    """Seconds of so many rows by the engine that will run them, from a few updates of a batch of some of them; where a
    kernel is to be compiled first, as the engine itself estimates them."""
    from optbench.descend import descend, forecast

    engine, seconds = forecast(batch, rows)
    if seconds is not None:
        return seconds
    steps = min(_ROW_STEPS if engine == "eager" else _PROGRAM_STEPS, batch.steps)
    short = dataclasses.replace(batch, trainer=dataclasses.replace(batch.trainer, steps=steps))
    work = batch.steps / steps * rows
    found = descend(short, whole=math.ceil(work))  # as much work as all of it, so that the same engine is chosen
    once = found.compile_seconds if found.engine in ("fused", PORTABLE) else 0.0  # to load what was compiled before
    return once + found.seconds * work / batch.rows


def _probed(rows: Rows) -> int:
    """How many rows of a batch are timed: fewer where they are long."""
    return max(1, min(_ROWS, len(rows.planned), _COORDINATES // rows.dim))


def _shape(item: Planned) -> str:
    """What decides whether the parts of a run fit together: all but its seed, how long it runs, and rates."""
    flat = flatten(item.config)
    return json.dumps({k: v for k, v in flat.items() if k == "trainer.start" or not _is_free(k, v)})


def _is_free(key: str, value: Any) -> bool:
    return key == "seed" or key.startswith("trainer.") or (key.startswith(_RATES) and isinstance(value, float))


_RATES = ("optimizer.", "scheduler.")


def engine_of(item: Planned) -> str:
    """What will execute a run that goes by itself."""
    if item.engine == "auto" and is_portable(item.config["trainer"]):
        return PORTABLE
    return "scalar" if item.engine == "auto" and shelved(item.config) is not None else "loop"


@planning()
def _kind_cost(members: Sequence[Planned]) -> Cost:
    """Of runs with the same choices of parts: each shape is built, the first that can start is timed."""
    shapes: dict[str, list[Planned]] = defaultdict(list)
    for item in members:
        shapes[_shape(item)].append(item)
    total, a_step = Cost(), None
    for alike in shapes.values():
        try:
            problem, optimizer = _parts(alike[0])
            compiling = problem.compile() or 0.0
            if a_step is None:
                program = _program_seconds(alike[0])
                a_step = _step_seconds(problem, optimizer) + _LOOP_SECONDS if program is None else program[0]
        except Exception as error:  # parts are anyone's code
            total += _unable(alike, error)
        else:
            total += _single_cost(alike, problem, a_step, compiling)
    return total


def _parts(item: Planned) -> tuple[AbstractProblem, torch.optim.Optimizer]:
    import torch

    from optbench.config import build_scheduler
    from optbench.loop import total_steps

    problem = build_problem(item.config, torch.device("cpu"))
    optimizer = optimizer_of(item.config, problem)
    build_scheduler(item.config, optimizer, total_steps(problem, trainer_from(item.config)), problem.module)
    return problem, optimizer


def _single_cost(members: Sequence[Planned], problem: AbstractProblem, a_step: float, compiling: float) -> Cost:
    from optbench.loop import total_steps

    weights = 0 if problem.steps_per_epoch is None else sum(p.numel() * 4 for p in problem.module.parameters())
    seconds = disk = 0.0
    for item in members:
        steps = total_steps(problem, trainer_from(item.config))
        seconds += _RUN_SECONDS + compiling + steps * a_step
        disk += _BYTES_A_RUN + steps * _BYTES_A_ROW + 2 * weights
    return Cost(seconds, disk)


def _program_seconds(item: Planned) -> tuple[float, int] | None:
    """Seconds of an update of a run that is a program, the mean over how many; None where it is none."""
    from optbench.descend.scalar import TooFarError, Walk
    from optbench.experiment.traced import traced

    this = traced(item.config) if item.engine == "auto" else None
    if this is None:
        return None
    rows = Walk(this.step, this.numbers, this.trainer, this.start).rows()
    began = time.perf_counter()
    try:
        made = sum(1 for _ in itertools.islice(rows, _PROGRAM_STEPS))
    except TooFarError:  # the loop runs it then
        return None
    return (time.perf_counter() - began) / made + _ROW_SECONDS, made


@dataclass(frozen=True)
class Outlook:
    """How long a run will take, from a probe.

    Attributes:
        steps: updates.
        step_seconds: of one.
        images: in one; None on a surface.
        epochs: passes over the data; None on a surface.
        evaluations: on the validation data.
        evaluation_seconds: of one.
        where: the device.
        probed: updates that were timed.
        compile_seconds: before the first update; None where nothing is compiled.
        unlabelled: pictures that join the training later (trainer.unlabelled) and are in none of these numbers.
    """

    steps: int
    step_seconds: float
    images: int | None
    epochs: float | None
    evaluations: int
    evaluation_seconds: float
    where: str
    probed: int
    compile_seconds: float | None = None
    unlabelled: int = 0

    @property
    def seconds(self) -> float:
        """Of compiling, all updates and evaluations together."""
        rest = self.steps * self.step_seconds + self.evaluations * self.evaluation_seconds
        return (self.compile_seconds or 0.0) + rest


_PROBED, _LONGEST_PROBE = 10, 20.0  # updates, and seconds after which no further one is begun
_MOST_IMAGES = 64


@planning()
def outlook_of(item: Planned) -> Outlook:
    """Builds a run, makes ten updates (fewer where they are long), evaluates some images, and writes nothing.

    A run that is a program is tried as such, and needs no torch where the program is known.

    Raises:
        OptbenchError: it cannot start as configured.
    """
    if (program := _program_seconds(item)) is not None:
        return Outlook(item.config["trainer"]["steps"], program[0], None, None, 0, 0.0, "cpu, as a program", program[1])
    import torch

    from optbench.experiment.assemble import check_serves, set_up
    from optbench.loop import total_steps
    from optbench.problem import NetworkProblem, network_outputs
    from optbench.problem.trees import part_of, rows

    trainer = trainer_from(item.config)
    device = set_up(trainer, None)
    problem = build_problem(item.config, device)
    check_serves(problem, trainer, device)
    optimizer = optimizer_of(item.config, problem)
    steps = total_steps(problem, trainer)
    compiling = problem.compile()
    a_step, made = _timed(problem, optimizer, _PROBED, _LONGEST_PROBE)
    if not isinstance(problem, NetworkProblem):
        return Outlook(steps, a_step, None, None, 0, 0.0, str(device), made)
    part, targets = (
        part_of(t, slice(0, _MOST_IMAGES)) for t in (problem.validation.inputs, problem.validation.targets)
    )
    one = slice(0, 1)
    network_outputs(problem.module, part_of(part, one), device, problem.collator, part_of(targets, one))
    began = time.perf_counter()
    network_outputs(problem.module, part, device, problem.collator, targets)
    once = (time.perf_counter() - began) * len(problem.validation) / rows(part)
    epochs = steps / problem.steps_per_epoch
    evaluations = 1 + math.ceil(epochs / getattr(trainer, "eval_every", 1))  # the first is before any update
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    where = f"{device}{threads}"
    others = 0 if problem.pseudo is None else len(problem.pseudo.images)
    return Outlook(steps, a_step, problem.batch_size, epochs, evaluations, once, where, made, compiling, others)


def outlook_lines(found: Outlook) -> list[str]:
    """The outlook in words."""
    from optbench.launch.outlook import duration

    few = f"{found.probed} update{'s' * (found.probed != 1)}"
    total = f"about {duration(found.seconds)} in all, from {few} on {found.where}"
    if found.images is None:
        return [f"at most {total}"]  # a rule may end it before
    if (load := load_per_core()) > 1.0:
        total += f"; other work shares the cores now (load {load:.1f} a core), which makes it look longer"
    rate = found.images / found.step_seconds
    spent = found.compile_seconds
    later = f"without what is learned from the {found.unlabelled} unlabelled pictures: an update may see twice as many"
    return [
        *([later] if found.unlabelled else []),
        *([] if spent is None else [f"compiling: {spent:.3g} s"]),
        f"{found.steps} updates of {found.images} images ({found.epochs:.4g} epochs): {found.step_seconds:.3g} s each, "
        f"{rate:.3g} images a second",
        f"{found.evaluations} evaluations: {found.evaluation_seconds:.3g} s each",
        total,
    ]


def load_per_core() -> float:
    """Processes that want a core, a core, in the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def _step_seconds(problem: AbstractProblem, optimizer: torch.optim.Optimizer) -> float:
    return _timed(problem, optimizer, _STEPS, _PROBE_SECONDS)[0]


def _timed(
    problem: AbstractProblem, optimizer: torch.optim.Optimizer, most: int, most_seconds: float
) -> tuple[float, int]:
    """Seconds of an update, the mean over `most` of them or over fewer that take `most_seconds`; and over how many."""
    waits = any(p.device.type == "cuda" for p in problem.module.parameters())

    def closure() -> Any:
        optimizer.zero_grad()
        loss = problem.differentiate(problem.batch(0))
        if waits:
            float(loss.detach())  # what is asked of a GPU is done later: the time is that of the work
        return loss

    optimizer.step(closure)  # the first one pays for what is set up lazily
    began = time.perf_counter()
    made, spent = 0, 0.0
    while made < most and spent < most_seconds:
        optimizer.step(closure)
        made, spent = made + 1, time.perf_counter() - began
    return spent / made, made
