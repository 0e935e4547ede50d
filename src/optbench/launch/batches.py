"""Which runs on one surface are the rows of one array program, and the engine's form of them.

Which runs belong together: those whose configurations are equal but for the seed, the start, the gradient noise and the
numeric keywords of optimizer and scheduler, and whose optimizer and schedule the engine knows (`descend.unsupported`)
and computes as the loop does (`descend.disagreement`, asked while the sweep is planned, of some runs of each batch).
A handful of runs is not worth a table: they keep a folder each.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optbench.descend.portable import is_portable
from optbench.errors import IncompatibleError, UserError
from optbench.experiment import Planned, Stop
from optbench.experiment.assemble import build_problem
from optbench.experiment.programs import Later, is_shelved, known_batch
from optbench.experiment.sources import check_loaded
from optbench.problem.streams import start_table
from optbench.records import flatten
from optbench.records.shared import PerObject
from optbench.records.tables import setting
from optbench.records.vocabulary import MAX_COORDINATES
from optbench.settings import SurfaceTrainer, trainer_from

if TYPE_CHECKING:
    from optbench.descend import Batch
    from optbench.descend.known import Known
    from optbench.problem import SurfaceProblem

LEAST_ROWS = 16
"""Fewer runs than this keep a folder each, with figures and curves of their own."""

ALONE = "networks train one by one: "
"""How every reason begins for which networks are no stack."""
_NETWORK = f"{ALONE}they are no rows of a surface"
_APART = {
    "data._target_": _NETWORK,
    "trainer.seconds": "trainer.seconds is a limit that each run has for itself; trainer.steps makes them rows",
    "trainer.curvature_every": "trainer.curvature_every measures along one run at a time; without it they are rows",
}
"""Settings that only the loop can serve, and what to say of them."""
_DEVICE = "rows are computed on the CPU; trainer.device=cpu makes them rows"


FEW = "fewer than {0} that differ in numbers alone; {0} or more (seeds={0}) are rows"
LOOP = "asked for, by --engine loop"
_PORTABLE = "trainer.engine=portable has rows of optimizers alone whose settings optbench knows the ranges of"
_NOISY = "trainer.engine=portable draws gradient noise one run at a time"


def is_usual(reason: str) -> bool:
    """Whether a plan names the reason, and where nobody asked for rows it needs no word otherwise."""
    usual = reason in (*_APART.values(), _DEVICE, LOOP)
    return usual or reason.startswith((FEW.partition(" {")[0], ALONE))


_FREE = ("trainer.start", "trainer.grad_noise", "seed")


@dataclass(frozen=True)
class Rows:
    """Planned runs that are the rows of one batch.

    Attributes:
        planned: the runs.
        varying: dotted keys of the numbers that differ from row to row.
        starts: where each begins, if that is known already: (rows, dim) float64.
        shared: the problem that they share, if it was built already.
        known: their step as a program, where they have one; then nothing is built.
        surface: beside it, the facts of their surface: `name`, `domain`, `start` (see experiment.programs.Shelved).
    """

    planned: Sequence[Planned]
    varying: tuple[str, ...]
    starts: NDArray[np.float64] | None = None
    shared: SurfaceProblem | None = field(default=None, repr=False, compare=False)
    known: Known | None = field(default=None, repr=False, compare=False)
    surface: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.surface["domain"]) if self.known is not None else problem_of(self).surface.dim

    def some(self, which: Sequence[int]) -> Rows:
        """Some rows of it."""
        starts = None if self.starts is None else self.starts[np.asarray(which, dtype=np.int64)]
        return replace(self, planned=[self.planned[i] for i in which], starts=starts)


class Batches(NamedTuple):
    """Runs by who executes them.

    Attributes:
        rows: batches.
        single: the runs that go one by one.
        why: run_id of each of them to the reason.
    """

    rows: list[Rows]
    single: list[Planned]
    why: dict[str, str]


def batches(planned: Sequence[Planned], least: int = LEAST_ROWS, programs: bool = True) -> Batches:
    """The runs that execute as rows, batch by batch, and the others.

    Args:
        planned: the runs to do.
        least: smallest batch.
        programs: whether they may be executed as programs that are kept, and not by torch.
    """
    groups: dict[Any, list[Planned]] = defaultdict(list)
    shape = Shapes()
    why: dict[str, str] = {}
    for item in planned:
        apart = apart_from_rows(item.config)
        if apart is None:
            groups[shape(item.config)].append(item)
        else:
            why[item.run_id] = apart
    alike = Counter(why.values())
    few = {words: f"{FEW.format(least)}, but not these: {words}" for words, n in alike.items() if n < least}
    why = {key: few[words] if words in few and not is_usual(words) else words for key, words in why.items()}
    chosen: list[Rows] = []
    known: dict[str, str | None] = {}
    problems: dict[str, SurfaceProblem] = {}
    for members in groups.values():
        rows = Rows(members, varying_keys([m.config for m in members]))
        if programs and len(members) >= least and (by_program := _known(rows)) is not None:
            chosen.append(by_program)
            continue
        if is_portable(members[0].config["trainer"]):  # one by one, where a run without a program says why
            noisy = any(m.config["trainer"]["grad_noise"] for m in members)
            words = FEW.format(least) if len(members) < least else _NOISY if noisy else _PORTABLE
            why |= dict.fromkeys((m.run_id for m in members), words)
            continue
        is_few = len(members) < least
        reason = None if is_few and programs and is_shelved(members[0].config) else _without_form(rows)
        if is_few:
            words = FEW.format(least) + (f", but not these: {reason}" if reason else "")
            why |= dict.fromkeys((m.run_id for m in members), words)
            continue
        if reason is None:
            rows = _with_problem(rows, problems)
            reason = _against(rows, known)
        if reason is None:
            chosen.append(rows)
        else:
            why |= dict.fromkeys((m.run_id for m in members), reason)
    taken = {m.run_id for rows in chosen for m in rows.planned}
    return Batches(chosen, [item for item in planned if item.run_id not in taken], why)


def apart_from_rows(config: Mapping[str, Any]) -> str | None:
    """Why a run can only be one by itself, by its settings alone; None where it may be a row."""
    trainer = config["trainer"]
    if "wrap" in config and config["data"].get("_target_") is None:
        return f"wrap={config['choices']['wrap']} is around the steps of the training loop; without it they are rows"
    for key, words in _APART.items():
        part, _, name = key.partition(".")
        if config[part].get(name) is not None:
            return words
    return None if trainer["device"] in ("auto", "cpu") else _DEVICE


class Shapes:
    """Everything that rows of one batch share, as something to compare."""

    def __init__(self) -> None:
        self._parts: dict[str, PerObject[str]] = {}

    def __call__(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(self._text(part, config[part]) for part in sorted(config) if part not in _FREE)

    def _text(self, part: str, node: Any) -> str:
        if not isinstance(node, Mapping):
            return json.dumps([part, node])
        if part not in self._parts:
            self._parts[part] = PerObject(functools.partial(_shape, part))
        return self._parts[part](node)


def _shape(part: str, node: Mapping[str, Any]) -> str:
    flat = flatten({part: node})
    kept = {k: v for k, v in flat.items() if k not in _FREE and not _is_row_number(k, v)}
    numbers = {k: [len(v) if isinstance(v, list) else 0] for k, v in flat.items() if _is_row_number(k, v)}
    return json.dumps([kept, numbers], sort_keys=True)


def _is_row_number(key: str, value: Any) -> bool:
    if not key.startswith(("optimizer.", "scheduler.")):
        return False
    if isinstance(value, list):
        return bool(value) and all(isinstance(v, float) for v in value)
    return isinstance(value, float)


def _known(rows: Rows) -> Rows | None:
    """The rows with the program of their step; None where they have none, and are to be looked at by torch."""
    trainer = rows.planned[0].config["trainer"]
    if "trainer.grad_noise" in rows.varying or trainer["grad_noise"]:  # then some have noise
        return None
    try:
        found = known_batch(rows.planned[0].config, node_of(rows, "optimizer"), node_of(rows, "scheduler"))
    except IncompatibleError:  # each run by itself says why
        return None
    return None if found is None else replace(rows, known=found[0], surface=found[1].program)


def _without_form(rows: Rows) -> str | None:
    """Why no run like these can be a row: its optimizer or its schedule has no form for rows."""
    from optbench.descend import unsupported

    first = rows.planned[0].config
    return unsupported(first["optimizer"], first["scheduler"])


def _with_problem(rows: Rows, problems: dict[str, SurfaceProblem]) -> Rows:
    """The rows with their problem, built once for all batches on it; where that fails it is said later."""
    first = rows.planned[0].config
    key = repr([first["model"], first["loss"]])
    if key not in problems:
        try:
            problems[key] = problem_of(rows)
        except Exception:  # parts are anyone's code
            return rows
    return replace(rows, shared=problems[key])


def _against(rows: Rows, known: dict[str, str | None]) -> str | None:
    """Why these runs cannot be rows; `known` keeps the answers that several batches share."""
    from optbench.descend.agreement import rule_disagreement, schedule_disagreement

    first = rows.planned[0].config
    some = telling(rows)
    optimizer, scheduler, steps = node_of(some, "optimizer"), node_of(some, "scheduler"), first["trainer"]["steps"]
    n = len(some.planned)

    def remembered(question: Callable[[], str | None], *about: Any) -> str | None:
        key = repr(about)
        if key not in known:
            known[key] = question()
        return known[key]

    lr = optimizer.get("lr")
    return (
        remembered(lambda: rule_disagreement(optimizer, n), plain_node(optimizer))
        or remembered(
            lambda: schedule_disagreement(optimizer, scheduler, n, steps),
            plain_node(scheduler),
            plain_node({"lr": lr}),
            steps,
        )
        or remembered(lambda: _surface_against(some), first["model"], first["loss"], first["trainer"]["start"])
    )


def plain_node(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node with lists in the place of arrays."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in node.items()}


def telling(rows: Rows) -> Rows:
    """Some of the rows, the ends of every varied number among them."""
    from optbench.descend.agreement import telling_rows

    keys = [key for key in rows.varying if key not in _FREE]
    columns = [np.array([setting(item.config, key) for item in rows.planned], dtype=np.float64) for key in keys]
    chosen = telling_rows(columns, len(rows.planned))
    return rows.some([int(i) for i in chosen])


def _surface_against(rows: Rows) -> str | None:
    from optbench.descend.agreement import surface_disagreement

    try:
        able, _ = startable(rows)
        problem = problem_of(rows)
    except (UserError, IncompatibleError):
        return None  # said where they start
    starts = able.starts if able.planned else np.array([problem.surface.start], dtype=np.float64)
    assert starts is not None
    return surface_disagreement(problem.field, starts)


def varying_keys(configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Dotted keys of the settings in which configurations of one shape differ."""
    first = configs[0]
    found: list[str] = []
    for part in first:
        others = {id(config[part]): config[part] for config in configs}
        flats = [flatten({part: node}) for node in others.values()] if len(others) > 1 else []
        own = flatten({part: first[part]})
        found += [key for key in own if any(flat[key] != own[key] for flat in flats)]
    return tuple(found)


def startable(rows: Rows) -> tuple[Rows, list[Planned]]:
    """The rows that can start, and the runs that cannot: the loop gives each of them its reason.

    A start may be outside the domain or of the wrong dimension; an optimizer or a schedule may refuse its numbers.

    Raises:
        IncompatibleError: the parts that all rows share do not fit together.
    """
    if rows.known is None:
        rows = replace(rows, shared=problem_of(rows))
    check_loaded(rows.planned[0].config)
    starts, fits = _starts(rows)
    able = np.flatnonzero(fits).tolist()
    unable = [rows.planned[i] for i in np.flatnonzero(~fits).tolist()]
    found = replace(rows if fits.all() else rows.some(able), starts=starts[fits])
    if not able or rows.known is not None:  # what is known was held to the ranges of its numbers
        return found, unable
    from optbench.descend import refused

    no = refused(batch_of(found, Stop()))
    if not no:
        return found, unable
    return found.some([i for i in range(len(able)) if i not in no]), [*unable, *(found.planned[i] for i in no)]


def problem_of(rows: Rows) -> SurfaceProblem:
    """The problem that all rows share. Raises IncompatibleError where it is not a surface."""
    if rows.shared is not None:
        return rows.shared
    import torch

    from optbench.problem import SurfaceProblem

    config = rows.planned[0].config
    usual = {**config, "trainer": {**config["trainer"], "start": "usual"}}  # a start of one row is not that of others
    problem = build_problem(usual, torch.device("cpu"))
    if not isinstance(problem, SurfaceProblem):
        raise IncompatibleError(f"{rows.planned[0].choices['model']} is not a surface")
    return problem


def _starts(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where the rows start, (rows, dim), and which of them can: a given start may not fit the surface."""
    facts = rows.surface
    if rows.known is None:
        surface = problem_of(rows).surface
        facts = {"name": type(surface).__name__, "domain": surface.domain, "start": surface.start}
    domain = tuple((low, high) for low, high in facts["domain"])
    seeds = np.array([item.config["seed"] for item in rows.planned], dtype=np.uint64)
    alike: dict[int, list[int]] = defaultdict(list)
    for i, item in enumerate(rows.planned):
        alike[id(item.config["trainer"])].append(i)
    starts, fits = np.empty((len(seeds), len(domain))), np.zeros(len(seeds), dtype=bool)
    for which in alike.values():
        trainer = trainer_from(rows.planned[which[0]].config)
        assert isinstance(trainer, SurfaceTrainer)
        with contextlib.suppress(UserError, IncompatibleError):
            starts[which] = start_table(facts["name"], domain, facts["start"], trainer, seeds[which])
            fits[which] = True
    return starts, fits


def batch_of(
    rows: Rows,
    stop: Stop,
    on_rows: Callable[[int], None] = lambda n: None,
    threads: int = 1,
    backend: str = "auto",
    recorded: int = 0,
    on_stage: Callable[[str, float], None] = lambda words, share: None,
) -> Batch:
    """The engine's form of a batch; arguments as in run_rows."""
    from optbench.descend import Batch

    configs = [item.config for item in rows.planned]
    trainer = trainer_from(configs[0])
    assert isinstance(trainer, SurfaceTrainer)
    starts = rows.starts if rows.starts is not None else _starts(rows)[0]
    return Batch(
        objective=problem_of(rows).field if rows.known is None else Later(configs[0]),
        starts=starts,
        optimizer=node_of(rows, "optimizer"),
        scheduler=node_of(rows, "scheduler"),
        trainer=trainer,
        grad_noise=np.array([c["trainer"]["grad_noise"] for c in configs], dtype=np.float64),
        seeds=np.array([c["seed"] for c in configs], dtype=np.int64),
        record=np.arange(min(recorded, len(configs))),
        backend=backend,
        threads=threads,
        stop_requested=lambda: stop.requested,
        on_rows=on_rows,
        on_stage=on_stage,
        paths=rows.dim <= MAX_COORDINATES,
        known=rows.known,
    )


def node_of(rows: Rows, part: str) -> dict[str, Any]:
    """The configuration node of the batch: what varies becomes an array."""
    node = dict(rows.planned[0].config[part])
    for key in node:
        if f"{part}.{key}" in rows.varying:
            node[key] = np.array([item.config[part][key] for item in rows.planned], dtype=np.float64)
    return node
