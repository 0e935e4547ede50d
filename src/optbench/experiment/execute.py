"""A planned run to a recorded one: build, train, write; whatever happens, one record with a status and a reason."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optbench.catalogue import against_the_book
from optbench.config import build_scheduler
from optbench.config.groups import account, unmatched
from optbench.config.metrics import node_of
from optbench.descend import portable
from optbench.descend.scalar import TooFarError
from optbench.errors import (
    IncompatibleError,
    OptbenchError,
    OutputError,
    RecordError,
    RunFailure,
    StoppedError,
    in_a_line,
)
from optbench.experiment.assemble import (
    build_problem,
    check_serves,
    deterministic,
    dtype_of,
    optimizer_of,
    set_up,
)
from optbench.experiment.checkpoints import load_checkpoint
from optbench.experiment.out_of_fold import OUT_OF_FOLD, out_of_fold
from optbench.experiment.plan import Planned
from optbench.experiment.provenance import device_column, place, provenance
from optbench.experiment.recorder import Display, Recorder, Stop, saved
from optbench.experiment.several import done_by, facts_of_processes, other_size, send_state
from optbench.experiment.sources import check_loaded
from optbench.experiment.traced import ENGINE, Traced, TracedRun, traced
from optbench.experiment.traced import arrival_of as where_it_stopped
from optbench.experiment.watching import Watching, planned_start
from optbench.landmarks.columns import arrival_of
from optbench.protocol import protocol_of
from optbench.records import (
    NUMERICS,
    RUN_COLUMNS,
    Run,
    Status,
    check_place,
    locked,
    part_sums,
    write_bytes,
    write_curve,
    write_sealed,
    write_together,
    write_yaml,
    writing,
)
from optbench.records.metrics import COLUMN, name_of, names_of, written
from optbench.records.seal import KEY, sum_of_bytes
from optbench.records.vocabulary import curve_columns, kept_checkpoints
from optbench.records.whole import CURVE, begins_with
from optbench.settings import NetworkTrainer, SurfaceTrainer, trainer_from

if TYPE_CHECKING:
    import torch

    from optbench.loop import Loop, Observer, Summary
    from optbench.problem import AbstractProblem
    from optbench.problem.parallel import Parallel
    from optbench.ranks import Rank

log = logging.getLogger(__name__)

_LOOP = "loop"
_LAST = "last.pt"

_WAIT_SECONDS = 3600.0
"""How long a sweep waits for a run that another process is executing; it then uses that record."""


def execute(
    planned: Planned,
    stop: Stop,
    display: Display | None = None,
    force: bool = False,
    threads: int | None = None,
    wait: float = 0.0,
    looked: bool = False,
    rank: Rank | None = None,
) -> Run:
    """Runs one planned run, or returns its record if it is done.

    Args:
        planned: the run.
        stop: see `interruptible`.
        display: who watches.
        force: run again although it is done.
        threads: cores that a network may use where trainer.threads does not say; None: all.
        wait: seconds to wait for another process that is doing this run.
        looked: whether its record was read a moment ago, and is to be done.
        rank: what this process is among several that do it together, each calling this; None: it is alone. Others than
            the first one return the status of the run and no record.

    Raises:
        UserError, IncompatibleError, RunFailure: the run cannot start as configured; nothing was written.
        OutputError: its records cannot be written.
    """
    if rank is not None:
        return _together(planned, stop, display, force, threads, wait, rank)
    if not looked and (found := _done(planned, force)) is not None:
        return found
    check_place(planned.folder, folder=True)
    if planned.engine != "auto" and portable.is_portable(planned.config["trainer"]):
        raise IncompatibleError(f"trainer.engine=portable is another engine than --engine {planned.engine}")
    with contextlib.suppress(TooFarError):
        if planned.engine == "auto" and (program := traced(planned.config)) is not None:
            return _walked(planned, program, _recorder(planned, display, stop), force, wait)
    from optbench.descend.uncompiled import uncompiled

    with uncompiled():
        return _looped(planned, stop, display, force, threads, wait)


def _recorder(planned: Planned, display: Display | None, stop: Stop) -> Recorder:
    """Who records a run and tells its callbacks; of a callback that fails the display is told, or else the log."""
    watching = (
        Watching(planned.callbacks, log.warning if display is None else display.note) if planned.callbacks else None
    )
    return Recorder(planned.folder, display, stop, watching)


def _walked(planned: Planned, this: Traced, recorder: Recorder, force: bool, wait: float) -> Run:
    """The run as a program; arguments as in execute."""
    with locked(planned.folder, wait):
        if (found := _done(planned, force)) is not None:  # another process was first
            return found
        facts = provenance("cpu", 1, "float64", True)
        if force:
            _clear(planned.folder)
        engine = portable.ENGINE if portable.is_portable(planned.config["trainer"]) else ENGINE
        _begin(planned, facts, engine)
        recorder.open([column.name for column in curve_columns(len(this.start), network=False)])
        recorder.begin(planned_start(planned))
        run = TracedRun(this, recorder)
        try:
            summary = _run(run, planned.folder)
        finally:
            recorder.close()
        arrival = where_it_stopped(planned.config, this.name, summary.status, run.x)
        return recorder.ended(_end(planned, summary, facts, arrival, engine))


def _clear(folder: Path) -> None:
    """Removes what a later run would go on from, which is being replaced."""
    with writing(folder):
        (folder / _LAST).unlink(missing_ok=True)
        for kept in kept_checkpoints(folder).values():
            kept.unlink()


def _begin(planned: Planned, facts: Mapping[str, Any], engine: str) -> None:
    """Makes a run's folder what it is from the first moment: its configuration, and a record that is not finished."""
    from optbench.loop.progress import Summary

    with writing(planned.folder):
        for left_over in planned.folder.rglob(".*.tmp"):  # by a process that was killed while it wrote
            left_over.unlink()
    unfinished = Summary(status=Status.INTERRUPTED, reason="not finished: still running, or its process was killed")
    write_yaml(planned.folder / "config.yaml", planned.config)
    write_record(planned, unfinished, facts, engine=engine, wait=False)


def _together(
    planned: Planned, stop: Stop, display: Display | None, force: bool, threads: int | None, wait: float, rank: Rank
) -> Run:
    """The run by several processes of which this is one; arguments as in execute."""
    from optbench.experiment import several

    trainer = several.check_can_share(planned, rank)
    if rank.is_first:
        check_place(planned.folder, folder=True)
    device = several.set_up_one(trainer, rank, threads)
    from optbench.descend.uncompiled import uncompiled
    from optbench.problem.parallel import joined

    if stop.requested:
        raise StoppedError("stopped by the user before the processes met")
    with joined(rank, device) as parallel, uncompiled():
        parallel.check_same_run(planned.run_id)
        found = _done(planned, force) if rank.is_first else None
        if (done := several.done_by(parallel, found)) is not None:
            return done
        if rank.is_first:
            return _looped(planned, stop, display, force, threads, wait, parallel)
        return _followed(planned, stop, trainer, parallel)


def _followed(planned: Planned, stop: Stop, trainer: NetworkTrainer, parallel: Parallel) -> Run:
    """What another process than the first one does for a run; how it ended."""
    from optbench.experiment import several

    loop = _build_loop(planned.config, trainer, parallel.device, several.Silent(stop), None, stop, parallel)
    if (done := several.done_by(parallel, None)) is not None:
        return done
    several.take_state(parallel, loop)
    loop.compile()
    summary = _run(loop, None)
    if summary.status is not Status.INTERRUPTED:
        loop.weights()  # of which those that are evaluated may take all processes
    return Run({"run_id": planned.run_id, **summary.columns()})


def _looped(
    planned: Planned,
    stop: Stop,
    display: Display | None,
    force: bool,
    threads: int | None,
    wait: float,
    parallel: Parallel | None = None,
) -> Run:
    """The run by the training loop; arguments as in execute, `parallel`: the processes of which this is the first."""
    import torch

    from optbench.device import name_of

    trainer = trainer_from(planned.config)
    device = set_up(trainer, threads) if parallel is None else parallel.device
    recorder = _recorder(planned, display, stop)
    try:
        loop = _build_loop(planned.config, trainer, device, recorder, display, stop, parallel)
    except StoppedError as error:
        if parallel is not None:
            parallel.explained(error)  # tells the others
        with locked(planned.folder, wait):
            return _done(planned, force) or skipped(planned, Status.INTERRUPTED, error)
    if force or not (planned.folder / _LAST).exists():  # what has begun goes on, however busy the machine is now
        check_serves(loop.problem, trainer, device)
    with locked(planned.folder, wait):
        found = _done(planned, force)
        if (done := done_by(parallel, found)) is not None:  # another process was first
            return done
        dtype, threads = dtype_of(loop.problem), torch.get_num_threads()
        facts = provenance(str(device), threads, dtype, deterministic(device), name_of(device))
        facts = {**facts, **facts_of(loop.problem, trainer), **facts_of_processes(parallel)}
        if planned.config["optimizer"].get("groups"):
            facts["parameter_groups"] = account(planned.config["optimizer"], loop.problem.module)
        return _recorded(planned, loop, recorder, facts, force)


def facts_of(problem: AbstractProblem, trainer: SurfaceTrainer | NetworkTrainer) -> dict[str, Any]:
    """What the record says of a problem beside its results."""
    facts: dict[str, Any] = {}
    if accounts := getattr(getattr(problem, "data", None), "accounts", None):
        facts["pictures"] = accounts
    if outputs := getattr(problem, "n_outputs", None):
        facts["n_outputs"] = outputs  # so that the network is built again where the data have moved
    if names := problem.class_names:
        facts["class_names"] = list(names)  # so that predictions have names where the data have moved
    if isinstance(trainer, NetworkTrainer) and trainer.accumulate > 1:
        facts["accumulation"] = {
            "images_per_mini_batch": getattr(problem, "mini_batch", None),
            "images_per_step": getattr(problem, "batch_size", None),
            "step": f"one update by the mean gradient of up to {trainer.accumulate} mini-batches",
            "evaluation": "the gradient of all of them",
            "epoch": "all training images once",
        }
    if isinstance(trainer, NetworkTrainer) and trainer.precision != "fp32":
        facts["precision"] = f"{trainer.precision} in the passes of the training; weights, loss, evaluations in fp32"
    if isinstance(trainer, NetworkTrainer) and next(problem.module.parameters()).device.type == "cuda":
        facts["tf32"] = "in convolutions and products" if trainer.precision == "tf32" else "in convolutions alone"
    if isinstance(trainer, NetworkTrainer) and trainer.compile:
        how = " and repeated as CUDA graphs" if trainer.compile == "graphs" else ""
        facts["compiled"] = f"the passes of the training, by torch.compile{how}; evaluations are not"
    if isinstance(trainer, NetworkTrainer) and trainer.ema is not None:
        facts["evaluated"] = "the moving average of the weights, `model` in the checkpoints; `trained` is without it"
    return facts


def _done(planned: Planned, force: bool) -> Run | None:
    found = None if force else planned.recorded()
    return found if found is not None and found.status.final else None


def _build_loop(
    config: Mapping[str, Any],
    trainer: SurfaceTrainer | NetworkTrainer,
    device: torch.device,
    observer: Observer,
    display: Display | None,
    stop: Stop,
    parallel: Parallel | None = None,
) -> Loop:
    """The loop that a configuration describes; whatever its parts raise becomes an OptbenchError."""
    from optbench.loop import Loop, total_steps
    from optbench.problem import NetworkProblem

    try:
        problem = build_problem(config, device, display, stop, parallel)
        if isinstance(problem, NetworkProblem):
            _ = problem.validation  # what is wrong with it is said before the run begins
        optimizer = optimizer_of(config, problem)
        scheduler = build_scheduler(config, optimizer, total_steps(problem, trainer), problem.module)
    except OptbenchError:
        raise
    except Exception as error:  # parts are anyone's code
        log.debug("a part could not be built", exc_info=True)
        raise RunFailure(f"the run could not be built: {in_a_line(error)}") from error
    check_loaded(config)
    curvature: Callable[[], Mapping[str, float]] | None = None
    if trainer.curvature_every is not None and parallel is not None and not parallel.is_first:
        curvature = dict  # the first process measures it
    elif trainer.curvature_every is not None:
        from optbench.curvature.along import curvature_of

        curvature = curvature_of(problem, trainer)
    return Loop(problem, optimizer, scheduler, trainer, observer, curvature, protocol=protocol_of(config))


def _recorded(planned: Planned, loop: Loop, recorder: Recorder, facts: Mapping[str, Any], force: bool) -> Run:
    folder, problem = planned.folder, loop.problem
    if force:
        _clear(folder)
    resumed = _restored(loop, folder)
    send_state(problem.parallel, resumed)
    if resumed is not None and (words := other_size(planned.recorded(), problem.parallel)) is not None:
        recorder.note(words)
    for words in unmatched(planned.config["optimizer"], problem.module):
        recorder.note(words)
    if getattr(loop.trainer, "compile", False):
        recorder.note("the passes of the network are compiled first; that is no part of the seconds of training")
    for seen in loop.driven.spoken.noted:
        recorder.note(f"{planned.choices['optimizer']}: {seen}")
    loop.compile()
    _begin(planned, facts, _LOOP)
    x = problem.coordinates()
    columns = curve_columns(
        None if x is None else len(x),
        problem.steps_per_epoch is not None,
        curvature=loop.trainer.curvature_every is not None,
        rates=loop.rates,
        backward=loop.driven.protocol.backward != "plain",
        metrics=names_of(planned.config["trainer"]),
    )
    names = [column.name for column in columns]
    if resumed is None:
        recorder.open(names)
    else:
        recorder.open(names, loop.progress.step, resumed.get("best"))
        recorder.note(_from_where(loop))
    recorder.begin(planned_start(planned, None if resumed is None else loop.progress.step, loop))
    from optbench.loop.rules import leaves_out

    summary, sums = make(loop, recorder, folder)
    facts = {**facts, **loop.facts()}
    if leaves_out(loop.trainer):
        facts = {**facts, "updates_left_out": loop.progress.left_out}
    if (pseudo := getattr(problem, "pseudo", None)) is not None:
        facts = {**facts, "pseudo_labels": pseudo.account()}
    arrival = arrival_of(planned.config, problem, summary.status)
    held = out_of_fold(planned.config, problem, recorder.best) if sums else None
    if held is not None:
        sums = {**sums, OUT_OF_FOLD: sum_of_bytes(held)}
    run = _end(planned, summary, facts, arrival, _LOOP, sums)
    recorder.let_go()
    if held is not None:
        write_bytes(folder / OUT_OF_FOLD, held)
    return recorder.ended(run)


def _from_where(loop: Loop) -> str:
    """Where a restored loop goes on."""
    step, per_epoch = loop.progress.step, loop.problem.steps_per_epoch
    epoch = f", epoch {step / per_epoch:.4g}" if per_epoch else ""
    return f"goes on from step {step} of {loop.total}{epoch} ({_LAST})"


def make(loop: Loop, recorder: Recorder, folder: Path) -> tuple[Summary, Mapping[str, str]]:
    """Makes a run from where the loop stands until its curve is closed.

    Args:
        loop: the run.
        recorder: the one that the loop reports to, opened.
        folder: the recorder's.

    Returns:
        The summary, however the run ended, and the checksums of files that `recorder.let_go` will write.

    Raises:
        OutputError: its files cannot be written.
    """
    problem, sums = loop.problem, {}
    try:
        summary = _run(loop, folder)
        if summary.status is not Status.INTERRUPTED and problem.steps_per_epoch is not None:
            # the run will not go on: its weights are worth keeping, the optimizer's state is not
            sums = recorder.end({**loop.weights(), "step": summary.steps})
    finally:
        recorder.close()
    return summary, sums


def _end(
    planned: Planned,
    summary: Summary,
    facts: Mapping[str, Any],
    arrival: Mapping[str, Any],
    engine: str,
    sums: Mapping[str, str] = MappingProxyType({}),
) -> Run:
    """Records how a run ended, with the checksums of its files, and `sums` of those that are not written yet; one
    whose files were taken away has not."""
    files = {**part_sums(planned.folder), **sums}
    if gone := [name for name in ("config.yaml", CURVE) if name not in files]:
        reason = f"{' and '.join(gone)} went missing while it ran: {summary.status}, but not recorded as a whole"
        write_yaml(planned.folder / "config.yaml", planned.config)
        interrupted = replace(summary, status=Status.INTERRUPTED, reason=reason)
        return write_record(planned, interrupted, facts, arrival, engine)
    return write_record(planned, summary, {**facts, "files": files}, arrival, engine)


def _run(loop: Loop | TracedRun, folder: Path | None) -> Summary:
    """The loop's summary; an exception becomes `failed`, its traceback goes to the run's log, if it has a folder."""
    try:
        parallel = None if isinstance(loop, TracedRun) else loop.problem.parallel
        return loop.run() if parallel is None else parallel.guarded(loop.run)
    except (OutputError, TooFarError):
        raise
    except StoppedError as error:
        return loop.summary(Status.INTERRUPTED, error.message)
    except OptbenchError as error:  # in our own words already
        if folder is not None and (left := getattr(error, "log", "")):  # by another process
            write_bytes(folder / "log.txt", left.encode())
        return loop.summary(Status.FAILED, f"{error.message}; {error.hint}" if error.hint else error.message)
    except Exception as error:
        if folder is not None:
            write_bytes(folder / "log.txt", traceback.format_exc().encode())
        reason = f"{in_a_line(error)} (at step {loop.progress.step}; traceback in log.txt)"
        return loop.summary(Status.FAILED, reason)


def write_whole(
    planned: Planned,
    summary: Summary,
    facts: Mapping[str, Any],
    curve: Iterable[Mapping[str, Any]],
    checkpoints: Mapping[str, Mapping[str, Any] | None],
    engine: str,
    force: bool = False,
    rates: int = 1,
) -> Run:
    """Records a network that was trained among others, in one go: what it leaves by itself it leaves so.

    Args:
        planned: the run.
        summary: how it ended; its seconds are its batch's.
        facts: provenance, with that of the batch.
        curve: its rows.
        checkpoints: name without suffix to what it holds; None: there is none.
        engine: what executed it.
        force: whether what an earlier run left is replaced; else the record of another process that was first stays.
        rates: learning rates that the curve has, see `curve_columns`.

    Raises:
        OutputError: it cannot be written.
    """
    folder = planned.folder
    with locked(folder, _WAIT_SECONDS):
        if (found := _done(planned, force)) is not None:
            return found
        _clear(folder)
        with writing(folder):
            for left_over in (*folder.rglob(".*.tmp"), folder / "best.pt", folder / "run.json"):
                left_over.unlink(missing_ok=True)
        write_yaml(folder / "config.yaml", planned.config)
        columns = curve_columns(None, network=True, rates=rates, metrics=names_of(planned.config["trainer"]))
        write_curve(folder / CURVE, [column.name for column in columns], curve)
        files = {folder / f"{name}.pt": saved(state) for name, state in checkpoints.items() if state is not None}
        write_together(files)
        sums = {**part_sums(folder), **{path.name: sum_of_bytes(data) for path, data in files.items()}}
        return write_record(planned, summary, {**facts, "files": sums}, engine=engine, clock="batch")


def write_record(
    planned: Planned,
    summary: Summary,
    facts: Mapping[str, Any],
    arrival: Mapping[str, Any] = MappingProxyType({}),
    engine: str = _LOOP,
    wait: bool = True,
    clock: str = "run",
) -> Run:
    """Writes run.json: the row of the `runs` table; `arrival`: the columns of where it stopped; `wait`: until the disk
    has it, as must be of what is done, and need not be of what is only begun; `clock`: whose the seconds are, "run" or
    "batch", of which a run has none of its own."""
    choices = planned.choices
    known: dict[str, Any] = {
        "run_id": planned.run_id,
        "sweep": planned.sweep,
        "model": choices["model"],
        "data": choices["data"],
        "loss_name": choices["loss"],
        "optimizer": choices["optimizer"],
        "scheduler": choices["scheduler"],
        "seed": planned.config["seed"],
        "engine": engine,
        "device": device_column(facts),
        "data_fingerprint": planned.data_fingerprint,
        "numerics": NUMERICS,
        "seconds_of": clock,
        **summary.columns(),
        **({"seconds": None} if clock == "batch" else {}),
        **arrival,
    }
    if "wrap" in choices:
        known["wrap"] = choices["wrap"]
    if differs := against_the_book(choices["optimizer"], str(planned.config["optimizer"]["_target_"])):
        known["book"] = differs
    if given := planned.config["trainer"].get("metrics"):
        known[COLUMN] = written({name_of(one): node_of(one)["direction"] for one in given})
    row = {column: known.pop(column, None) for column in RUN_COLUMNS} | known
    row |= {k: v for k, v in planned.swept.items() if k not in row and k != "wrap"}  # none is nothing
    row["provenance"] = dict(facts)
    row["provenance"][KEY] = write_sealed(planned.folder / "run.json", row, wait)
    return Run(row, planned.folder)


def _restored(loop: Loop, folder: Path) -> Mapping[str, Any] | None:
    """Goes on from the checkpoint of an interrupted run where there is a whole one, and gives it; None where not.

    Raises:
        RecordError: the checkpoint is whole and is not this run's.
    """
    path = folder / _LAST
    if not path.exists():
        return None
    try:
        state = load_checkpoint(path)
    except Exception as error:  # torch raises pickle's, zipfile's and its own errors: all mean "not usable"
        log.warning("%s cannot be read (%s); the run starts again", path, type(error).__name__)
        return None
    if not isinstance(state, dict) or "progress" not in state:
        return None
    if not begins_with(folder / CURVE, state.pop("curve", None)):
        log.warning("%s is not what it was at the checkpoint; the run starts again", folder / CURVE)
        return None
    try:
        loop.restore(state)
    except Exception as error:  # torch and the optimizers raise whatever they trip over
        hint = "remove it, or run with --force"
        raise RecordError(f"{path} is not a checkpoint of this run ({in_a_line(error)})", hint) from error
    return state


def skipped(planned: Planned, status: Status, error: OptbenchError, here: bool = True) -> Run:
    """Records a run that did not start: `skipped` when its parts do not fit, `interrupted` where the user stopped it,
    `failed` otherwise.

    Args:
        planned: the run.
        status: one of the three.
        error: why.
        here: whether it was tried in this process, whose host the record then names.
    """
    from optbench.loop import Summary

    write_yaml(planned.folder / "config.yaml", planned.config)
    files = {"config.yaml": part_sums(planned.folder)["config.yaml"]}
    facts = {**(place() if here else {}), "files": files}
    return write_record(planned, Summary(status=status, reason=error.message), facts)


def explained(run: Run, reason: str) -> Run:
    """Records why a run was interrupted, where its own process could not know."""
    assert run.path is not None
    facts = {key: value for key, value in run.provenance.items() if key != KEY}
    row = {**run.summary, "reason": reason, "provenance": facts}
    facts[KEY] = write_sealed(run.path / "run.json", row)
    return Run(row, run.path)


def run_and_record(
    planned: Planned, stop: Stop, display: Display | None = None, force: bool = False, threads: int | None = None
) -> Run:
    """Executes one planned run and records it whatever happens; arguments as in execute.

    A run that cannot start is a row with a reason, not an exception: `skipped` if its parts do not fit together,
    `failed` otherwise.

    Raises:
        OutputError: its records cannot be written.
    """
    try:
        return execute(planned, stop, display, force, threads, _WAIT_SECONDS)
    except OutputError:
        raise
    except IncompatibleError as error:
        return skipped(planned, Status.SKIPPED, error)
    except OptbenchError as error:
        return skipped(planned, Status.FAILED, error)
