"""Which networks train as one program, and their runs recorded one by one: each has the folder that it would have
alone.

Runs go together whose configurations are equal but for the seed and the numbers of optimizer and schedule, whose
model is a chain of layers (`stacked.chain`), and whose optimizer and schedule have a form for rows. What a run alone
can do and a row not (a limit of seconds, checkpoints on the way, augmentation ...) goes by the loop, and the plan
says why. What computes is believed after a trial: some rows make some updates beside the loop's own objects
(`stacked.trial`).

Whether it is quicker follows from the sizes (`pays`), by what `benchmarks/stacked.py` measured, and not from a
probe: the same sweep is the same numbers on a busy machine.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optbench.errors import OptbenchError, unexpected
from optbench.experiment import Planned, Stop
from optbench.experiment.assemble import build_problem, optimizer_of, seeded_model, set_up, with_mup
from optbench.experiment.execute import facts_of, write_whole
from optbench.experiment.kept_data import keeping_data
from optbench.launch import stacks_kept
from optbench.launch.batches import ALONE, FEW, Rows, Shapes, node_of, plain_node, telling, varying_keys
from optbench.records import Run
from optbench.settings import NetworkTrainer, trainer_from

if TYPE_CHECKING:
    import torch

    from optbench.problem import NetworkProblem
    from optbench.stacked.assembled import Rows as StackedRows
    from optbench.stacked.train import Ended, Stack

log = logging.getLogger(__name__)

ENGINE = "stacked"

LEAST_STACK = 8
"""Runs of a stack, unless fewer are asked for. Three mlps on digits of 20 epochs take 2.6 s of CPU in a stack, putting
it together included, and 4.4 in the loop; nine 3.0 and 7.5."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "seconds": (None,), "curvature_every": (None,), "nan": ("stop",),
    "precision": ("fp32",), "compile": (False,), "stochastic_depth": (None, 0), "unlabelled": (None,),
    "checkpoint_every": (None,), "keep_every": (None,), "threads": (None,),
}  # fmt: skip
"""What each setting of the trainer is where a run can be one of a stack."""

_LOOP_STEP, _LOOP_FLOP, _LOOP_WEIGHT = 5.1e-4, 5.1e-11, 5.3e-10
_STACK_ROW, _STACK_FLOP, _STACK_WEIGHT = 1.3e-4, 3.5e-11, 1.2e-9
_LOOP_WINDOWS, _LOOP_WINDOW_FLOP, _STACK_TOUCHED = 5e-4, 2e-11, 1.4e-8
"""Of a layer with windows, of an operation in it, and of a number that is pooled or normalised in a stack: so chosen
that of the networks with convolutions in benchmarks/results/stacked.md those are stacked that gained 1.25 or more."""
_BESIDE_STEP, _BESIDE_FLOP, _BESIDE_WEIGHT = 3.1e-4, 1.4e-11, 0.0
_COMPILED_ROW, _COMPILED_FLOP, _COMPILED_WEIGHT = 1.2e-5, 1.1e-11, 7.5e-11
_BETWEEN_ROW, _BETWEEN_WEIGHT = 7.8e-7, 1.3e-9
"""The loop and compiled stacks, on another machine than the two above (2 quiet cores of an AMD EPYC), and what the
latter take longer where a call is one gradient: at most 49 % off. `benchmarks/stacked.py --fit` prints these lines."""
_PAYS = 1.25
_PAUSE = 0.25


@dataclass(frozen=True)
class Stacked:
    """Planned runs that train as one program.

    Attributes:
        planned: the runs.
        rows: the same, ready to train.
        problem: of the first of them.
        why: why the sizes speak for it, in a sentence.
    """

    planned: Sequence[Planned]
    rows: StackedRows = field(repr=False)
    problem: NetworkProblem = field(repr=False)
    why: str

    @property
    def label(self) -> str:
        """In a few words."""
        first = self.planned[0].choices
        return f"{first['model']} {first['optimizer']}"


def apart_from_stacks(config: Mapping[str, Any]) -> str | None:
    """Why a network can only train by itself, by its settings alone; None where it may be one of a stack."""
    trainer = config["trainer"]
    for key, neutral in _NEUTRAL.items():
        if trainer.get(key) not in neutral:
            return f"{ALONE}trainer.{key}={trainer[key]} is for a run by itself"
    if config["augment"].get("_target_") is not None:
        return f"{ALONE}augmentation draws for one run at a time"
    if "collate" in config:
        return f"{ALONE}a collate makes the batches of one run at a time"
    if config["data"].get("folds") is not None:
        return f"{ALONE}a run on a fold predicts what it was not trained on"
    return None


def stacks(
    planned: Sequence[Planned], least: int = LEAST_STACK, force: bool = False, always: bool = False
) -> tuple[list[Stacked], dict[str, str]]:
    """The networks among runs that train as one program, and of the others why they do not, by run_id.

    Args:
        planned: runs to do.
        least: smallest stack.
        force: whether what was begun is begun anew.
        always: whether the sizes have no say.
    """
    groups: dict[Any, list[Planned]] = defaultdict(list)
    why: dict[str, str] = {}
    shape = Shapes()
    for item in planned:
        if "batch_size" not in item.config["trainer"]:
            continue
        apart = apart_from_stacks(item.config)
        # a run that goes on has had a record from its first moment; a row whose recording was cut short has none
        if apart is None and not force and all((item.folder / name).exists() for name in ("last.pt", "run.json")):
            apart = f"{ALONE}it goes on from its checkpoint"
        if apart is None:
            groups[shape(item.config)].append(item)
        else:
            why[item.run_id] = apart
    found: list[Stacked] = []
    known: dict[str, str | None] = {}
    for members in groups.values():
        begun = not force and stacks_kept.are_there(members[0].folder.parent)
        if len(members) < (1 if begun else least):
            made: Stacked | str = ALONE + FEW.format(least).replace("rows", "a stack")
        else:
            made = _assembled(Rows(members, varying_keys([m.config for m in members])), known, always or begun)
        if isinstance(made, str):
            why |= dict.fromkeys((m.run_id for m in members), made)
        else:
            found.append(made)
    return found, why


def _assembled(rows: Rows, known: dict[str, str | None], always: bool) -> Stacked | str:
    """The stack, or why it is none."""
    from optbench.descend import unsupported
    from optbench.descend.rule import UnsupportedError
    from optbench.stacked.chain import UnstackedError

    first = rows.planned[0]
    reason = _in_parts(first.config["optimizer"]) or unsupported(
        _bare(first.config["optimizer"]), first.config["scheduler"]
    )
    if reason is not None:
        return f"{ALONE}{reason}"
    try:
        with keeping_data(first):
            return _built(rows, known, always)
    except (UnstackedError, UnsupportedError) as error:
        return f"{ALONE}{error}"
    except OptbenchError as error:  # it cannot start: each run says so in its record
        return f"{ALONE}{error.message}"
    except Exception as error:  # a fault, of optbench or of a part: the runs may do without a stack, not without a word
        words, count = f"putting them together raised {unexpected(error)}", len(rows.planned)
        label = f"{first.choices['model']} {first.choices['optimizer']}"
        log.debug("%s", label, exc_info=True)
        log.warning("%s: its %d runs go one by one: %s", label, count, words)
        return f"{ALONE}{words}"


def _in_parts(node: Mapping[str, Any]) -> str | None:
    """Why an optimizer has a form for rows of coordinates and none for networks."""
    from optbench.config.group_schedules import KEY as SCHEDULER
    from optbench.config.groups import KEYS
    from optbench.descend.rule import find

    if (key := next((key for key in KEYS if node.get(key) and key not in _OF_GROUPS), None)) is not None:
        return f"optimizer.{key} is how its class is built and driven, and not its rule"
    if any("_target_" in group for group in node.get("groups") or ()):
        return "optimizer.groups has another optimizer for some parameters"
    if any(group.get(SCHEDULER) is not None for group in node.get("groups") or ()):
        return "optimizer.groups has another schedule for some parameters"
    made = find(str(node["_target_"]))
    if isinstance(made, type) and any("on_vectors" in vars(base) for base in made.__mro__):
        return f"{made.__name__} treats a matrix as more than its numbers"
    return None


_OF_GROUPS = ("groups", "roles", "options")


def _bare(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node without what divides parameters into groups."""
    return {key: value for key, value in node.items() if key not in _OF_GROUPS}


def _of_groups(rows: Rows, problem: NetworkProblem) -> list[tuple[dict[str, Any], list[str]]]:
    """The optimizer's node of each group of parameters, and their names; one of all where there are no groups."""
    from optbench.config.groups import divided

    first = rows.planned[0].config
    node = with_mup({**first, "optimizer": node_of(rows, "optimizer")}, problem)
    names = [name for name, _ in problem.module.named_parameters()]
    if not node.get("groups"):
        return [(_bare(node), names)]
    found = divided(node, problem.module)
    return [({**_bare(node), **group.options}, [one.names[0] for one in group.members]) for group in found]


def _built(rows: Rows, known: dict[str, str | None], always: bool) -> Stacked | str:
    from optbench.descend.rules import rule_for
    from optbench.loop import total_steps
    from optbench.problem import NetworkProblem
    from optbench.protocol import wrappers
    from optbench.stacked.assembled import Rows as StackedRows
    from optbench.stacked.assembled import networks_of, plan_of
    from optbench.stacked.groups import Grouped

    config = rows.planned[0].config
    trainer = trainer_from(config)
    assert isinstance(trainer, NetworkTrainer)
    device = _device_of(trainer)
    rule_for(_bare(node_of(rows, "optimizer")))
    problem = build_problem(config, device)
    assert isinstance(problem, NetworkProblem)
    steps = total_steps(problem, trainer)
    if (reason := _against(rows, problem, steps, known)) is not None:
        return reason
    scheduler, groups = node_of(rows, "scheduler"), _of_groups(rows, problem)
    plans = [plan_of(node, scheduler, len(rows.planned), steps) for node, _ in groups]
    plan = plans[0] if len(plans) == 1 else Grouped(plans, [names for _, names in groups])
    networks = networks_of(problem, trainer, plan, wrappers(config))
    width, whole = networks.form.width, sum(p.numel() for p in problem.module.parameters())
    compiled, between = networks.passes is not None, networks.between or isinstance(plan, Grouped)
    quick, words = pays(len(rows.planned), width, whole, problem.batch_size, networks.chain.windowed, compiled, between)
    if not quick and not always and device.type == "cpu":
        return f"{ALONE}{words}"
    seeds, start = [item.config["seed"] for item in rows.planned], functools.cache(_starts(rows.planned, problem))
    begun = problem.module.state_dict()
    if not all(value.equal(begun[name].cpu()) for name, value in start(seeds[0]).items()):
        return f"{ALONE}the initial weights are not those that its seed draws"
    return Stacked(rows.planned, StackedRows(networks, plan, seeds, start), problem, words)


def _device_of(trainer: NetworkTrainer) -> torch.device:
    from optbench.device import pick_device

    return pick_device(trainer.device)


def _against(rows: Rows, problem: NetworkProblem, steps: int, known: dict[str, str | None]) -> str | None:
    """Why rule or schedule are not the optimizer's or the scheduler's own; as for the rows of a surface."""
    from optbench.descend.agreement import rule_disagreement, schedule_disagreement

    some = telling(rows)
    scheduler, n = node_of(some, "scheduler"), len(some.planned)
    for optimizer, _ in _of_groups(some, problem):
        key = repr([plain_node(optimizer), plain_node(scheduler), steps])
        if key not in known:
            found = rule_disagreement(optimizer, n) or schedule_disagreement(optimizer, scheduler, n, steps)
            known[key] = None if found is None else f"{ALONE}{found}"
        if known[key] is not None:
            return known[key]
    return None


def _starts(planned: Sequence[Planned], problem: NetworkProblem) -> Callable[[int], Mapping[str, torch.Tensor]]:
    """The state before the first update of a run with a seed."""
    by_seed = {item.config["seed"]: item for item in planned}
    shared = {name: value.cpu().clone() for name, value in problem.module.state_dict().items()}

    def start(seed: int) -> Mapping[str, torch.Tensor]:
        item = by_seed[seed]
        with keeping_data(item):
            own = seeded_model(item.config).state_dict()
        return {**shared, **{name: value.detach() for name, value in own.items()}}

    return start


def pays(
    rows: int,
    width: int,
    weights: int,
    batch: int,
    windowed: tuple[int, int, int] = (0, 0, 0),
    compiled: bool = False,
    between: bool = False,
) -> tuple[bool, str]:
    """Whether a stack is quicker than the loop on a CPU, and why, in words.

    Args:
        rows: runs.
        width: numbers that are trained of a run.
        weights: its weights; more, where some inputs are equal.
        batch: examples of an update.
        windowed: of layers that look through windows, see `Chain.windowed`.
        compiled: whether the passes are (`stacked.passes`).
        between: whether something stands between a gradient and the next one there (`Networks.between`).

    The seconds of an update of one run are, by a fit to `benchmarks/stacked.py`: in the loop those of its calls and of
    6 operations a weight and example; in a stack those of a row, of as many operations on what is trained, and of the
    memory that it goes through.
    """
    if compiled:
        operations = 6 * batch
        alone = _BESIDE_STEP + _BESIDE_FLOP * operations * weights + _BESIDE_WEIGHT * weights
        together = _COMPILED_ROW + _COMPILED_FLOP * operations * width + _COMPILED_WEIGHT * width
        together += (_BETWEEN_ROW + _BETWEEN_WEIGHT * width) if between else 0.0
        return _said(rows, width, weights, batch, alone / together)
    layers, more, touched = windowed
    alone = _LOOP_STEP + _LOOP_FLOP * 6 * weights * batch + _LOOP_WEIGHT * weights
    alone += _LOOP_WINDOWS * layers + _LOOP_WINDOW_FLOP * 6 * more * batch
    together = _STACK_ROW + _STACK_FLOP * 6 * (width + more) * batch + _STACK_WEIGHT * width
    together += _STACK_TOUCHED * touched * batch
    return _said(rows, width, weights, batch, alone / together)


def _said(rows: int, width: int, weights: int, batch: int, times: float) -> tuple[bool, str]:
    sizes = f"{rows} networks of {weights} weights" + (f" ({width} that differ)" if width < weights else "")
    words = f"{sizes}, {batch} examples an update: about {times:.2g} times as quick as the loop"
    return times >= _PAYS, words


# the run --------------------------------------------------------------------------------------------------------------


def run_stack(
    stack: Stacked,
    stop: Stop,
    threads: int,
    on_rows: Callable[[int], None],
    on_stage: Callable[[str, float], None],
    note: Callable[[str], None],
    force: bool = False,
) -> tuple[list[Run], Sequence[Planned]]:
    """Trains a stack and records its runs; gives the records of those that ended, and the runs that must go alone.

    Rows that `stop` found under way have no record, and are left to do; the next call goes on where they stood
    (`stacks_kept`).

    Args:
        stack: the runs.
        stop: see experiment.interruptible.
        threads: cores to use.
        on_rows: told how many runs have ended since it was told last.
        on_stage: told now and then what is being done, and which share of it lies behind.
        note: told in a sentence of rows that go on.
        force: whether what lies in the runs' folders is replaced.

    Raises:
        OutputError: records cannot be written.
    """
    from optbench.stacked.passes import one_thread

    trainer = stack.rows.networks.trainer
    device = set_up(trainer, 1)
    with one_thread():
        if (words := _trial(stack)) is not None:
            log.warning("%s: its %d runs go one by one: %s", stack.label, len(stack.planned), words)
            return [], stack.planned
        work = _Work(stack, stop, threads if device.type == "cpu" else 1, on_rows, on_stage, note, force)
        return work.run(), []


def _trial(stack: Stacked) -> str | None:
    """What a stack computes otherwise than the loop; see `stacked.trial`."""
    from optbench.config import build_scheduler
    from optbench.stacked.trial import disagreement

    def alone(i: int) -> tuple[NetworkProblem, Any, Any]:
        config = stack.planned[i].config
        with keeping_data(stack.planned[i]):
            problem: Any = build_problem(config, stack.rows.networks.device)
        optimizer = optimizer_of(config, problem)
        return problem, optimizer, build_scheduler(config, optimizer, stack.rows.networks.steps, problem.module)

    try:
        return disagreement(stack.rows, alone)
    except Exception as error:  # parts are anyone's code
        log.debug("%s", stack.label, exc_info=True)
        return f"some updates for a look raised {unexpected(error)}"


class _Work:
    """A stack under way: chunks on threads, records on one more."""

    def __init__(
        self,
        stack: Stacked,
        stop: Stop,
        threads: int,
        on_rows: Callable[[int], None],
        on_stage: Callable[[str, float], None],
        note: Callable[[str], None],
        force: bool,
    ) -> None:
        self._note = note
        self._stack, self._stop, self._threads, self._force = stack, stop, threads, force
        self._on_rows, self._on_stage = on_rows, on_stage
        self._facts = _facts(stack, threads)
        self._began = self._said = time.perf_counter()
        self._done, self._all = 0, len(stack.planned) * stack.rows.networks.steps
        self._folder, self._before = stack.planned[0].folder.parent, 0.0
        self._broken = False

    def run(self) -> list[Run]:
        """Trains all chunks; gives the records."""
        from optbench.config.groups import unmatched

        for words in unmatched(self._stack.planned[0].config["optimizer"], self._stack.problem.module):
            self._note(f"{self._stack.label}: {words}")
        for seed in dict.fromkeys(item.config["seed"] for item in self._stack.planned):
            self._stack.rows.start(seed)  # draws from the process's generator, which the threads share
        records: list[Run] = []
        with ThreadPoolExecutor(2) as writers, ThreadPoolExecutor(self._threads) as pool:
            flying = [pool.submit(self._chunk, rows, kept, writers) for rows, kept in self._chunks()]
            try:
                for chunk in flying:
                    ended, keeper = chunk.result()
                    records += [record.result() for record in ended]
                    if not self._over():
                        keeper.done()
            except BaseException:
                self._broken = True
                raise
        return records

    def _chunks(self) -> Iterator[tuple[Sequence[int], stacks_kept.Kept | None]]:
        """The rows in chunks: those that were under way before with where they stood, then all others."""
        numbers = {item.run_id: number for number, item in enumerate(self._stack.planned)}
        for kept in [] if self._force else stacks_kept.find(self._folder, list(numbers)):
            step, count = kept.state["step"], len(kept.run_ids)
            self._note(f"{self._stack.label}: {count} go on from update {step} of {self._stack.rows.networks.steps}")
            self._before, self._done = max(self._before, kept.seconds), self._done + step * count
            yield [numbers.pop(run_id) for run_id in kept.run_ids], kept
        if numbers:
            yield from ((rows, None) for rows in self._stack.rows.chunks(self._threads, list(numbers.values())))

    def _chunk(
        self, rows: Sequence[int], kept: stacks_kept.Kept | None, writers: ThreadPoolExecutor
    ) -> tuple[list[Future[Run]], stacks_kept.Keeper]:
        import torch

        torch.set_num_threads(1)  # of this thread
        keeper = stacks_kept.Keeper(self._folder, {i: self._stack.planned[i].run_id for i in rows}, kept)
        if self._over():
            return [], keeper
        stack = self._stack.rows.stack(rows)
        if kept is not None:
            stack = self._restored(stack, kept, rows)

        def count(updates: int) -> None:
            self._count(updates)
            if keeper.due:
                keeper.keep(stack.state())

        ended = [writers.submit(self._record, one) for one in stack.run(self._over, count)]
        if len(ended) < len(rows):
            keeper.keep(stack.state())
        return ended, keeper

    def _restored(self, stack: Stack, kept: stacks_kept.Kept, rows: Sequence[int]) -> Stack:
        try:
            stack.restore(kept.state, kept.places)
        except Exception as error:  # written by another version
            log.warning("%s is of other networks (%s); its runs start again", kept.path, unexpected(error))
            return self._stack.rows.stack(rows)
        return stack

    def _over(self) -> bool:
        return self._stop.requested or self._broken

    def _count(self, updates: int) -> None:
        self._done += updates
        now = time.perf_counter()
        if now - self._said >= _PAUSE:
            self._said = now
            share = min(1.0, self._done / self._all)
            self._on_stage(f"{self._done / (now - self._began):.3g} updates/s, stacked", share)

    def _record(self, ended: Ended) -> Run:
        from optbench.config.groups import account

        clock = {**self._facts["batch"], "seconds": self._before + time.perf_counter() - self._began}
        facts = {**self._facts, "batch": clock}
        beside = {name: ended.beside.get(name, {}) for name in ("best", "last")}
        best = None if ended.best is None else {"model": ended.best[0], "step": ended.best[1], **beside["best"]}
        last = {"model": ended.last, "step": ended.summary.steps, **beside["last"]}
        planned = self._stack.planned[ended.row]
        if (node := planned.config["optimizer"]).get("groups"):
            facts["parameter_groups"] = account(node, self._stack.problem.module)
        rates = sum(name.startswith("lr") for name in ended.curve[0])
        states = {"best": best, "last": last}
        run = write_whole(planned, ended.summary, facts, ended.curve, states, ENGINE, self._force, rates)
        self._on_rows(1)
        return run


def _facts(stack: Stacked, threads: int) -> dict[str, Any]:
    """The provenance of every run of a stack."""
    from optbench.device import name_of
    from optbench.experiment.assemble import deterministic, dtype_of
    from optbench.experiment.provenance import provenance
    from optbench.loop.driven import spoken
    from optbench.protocol import protocol_of

    networks = stack.rows.networks
    device = networks.device
    facts = provenance(str(device), threads, dtype_of(stack.problem), deterministic(device), name_of(device))
    uncompiled = ("the update is not compiled", stack.rows.why), ("the passes are not compiled", networks.why)
    clock = {
        "rows": len(stack.planned),
        "seconds": None,
        "compile_seconds": None,  # the update is compiled as the stack is put together, and nobody timed it
        "why": "; ".join([stack.why, *(f"{what}: {words}" for what, words in uncompiled if words)]),
        "trained": networks.form.width,
    }
    config, said = stack.planned[0].config, dict[str, Any]()
    if "wrap" in config and (protocol := spoken(optimizer_of(config, stack.problem), protocol_of(config)).facts()):
        said["protocol"] = protocol
    return {**facts, **facts_of(stack.problem, networks.trainer), **said, "batch": clock}


def seconds_of(stack: Stacked, threads: int) -> float:
    """Seconds that a stack takes on one core, from a few updates of its first chunk."""
    rows, updates = next(iter(stack.rows.chunks(threads))), min(_PROBED, stack.rows.networks.steps)
    made = 0

    def count(n: int) -> None:
        nonlocal made
        made += n

    began = time.perf_counter()
    for _ in stack.rows.stack(rows).run(lambda: made >= updates * len(rows), count):
        pass
    a_step = (time.perf_counter() - began) / max(made, 1)
    return len(stack.planned) * (stack.rows.networks.steps * a_step + _RECORD_SECONDS)


_PROBED, _RECORD_SECONDS = 12, 0.02
