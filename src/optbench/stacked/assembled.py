"""A problem to what the rows of a stack share, and rows to chunks that the caches hold."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optbench.descend import Batch
from optbench.descend.plan import Plan, make_plan
from optbench.loop import total_steps
from optbench.problem import NetworkProblem, Split, row_losses
from optbench.problem.measures import in_rows
from optbench.problem.network import label_rule, to_inputs
from optbench.settings import NetworkTrainer, SurfaceTrainer
from optbench.stacked.average import around_of
from optbench.stacked.chain import Chain, UnstackedError, chain_of, table_of
from optbench.stacked.columns import columns_of
from optbench.stacked.groups import Grouped, alike, forgets, in_groups
from optbench.stacked.passes import Passes, passes_of
from optbench.stacked.train import Examples, Networks, Stack
from optbench.stacked.updates import (
    Apply,
    Compiled,
    Norms,
    Numbers,
    by_operations,
    compiled_norms,
    norms_by_operations,
)
from optbench.stacked.weights import Form

_TOGETHER, _WATCHED = 512, 4
_CHUNK_BYTES = 12 << 20
"""Weights, gradients and memories of the rows that step together: what a second-level cache and a bit more hold."""
_LEAST, _MOST = 8, 64


def plan_of(optimizer: Mapping[str, Any], scheduler: Mapping[str, Any], rows: int, steps: int) -> Plan:
    """The rule, numbers and tables of rows whose nodes have arrays where they differ.

    Raises:
        UnsupportedError: the optimizer or the schedule has no form for rows.
    """
    trainer = SurfaceTrainer(steps=steps)
    return make_plan(
        Batch(
            objective=_no_objective,
            starts=np.zeros((rows, 1)),
            optimizer=optimizer,
            scheduler=scheduler,
            trainer=trainer,
        )
    )


def _no_objective(x: Tensor) -> Tensor:
    raise AssertionError("the objective of a stack is its networks'")


def networks_of(
    problem: NetworkProblem,
    trainer: NetworkTrainer,
    plan: Plan | Grouped | None = None,
    wrap: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Networks:
    """What rows on a problem share.

    Args:
        problem: of any of them.
        trainer: their settings.
        plan: of their optimizer: where it allows, inputs that are equal are trained as one. None: all as they are.
        wrap: what is around the optimizer, name of a wrapper to its node, the innermost first.

    Raises:
        UnstackedError: its model is no chain of layers, or a wrapper has no form for rows.
    """
    device = next(problem.module.parameters()).device
    if not isinstance(problem.train.inputs, Tensor):
        raise UnstackedError("the inputs are more than one tensor")
    watched = to_inputs(problem.train.inputs[:_WATCHED], device, False)
    chain = chain_of(problem.module, watched)
    for split in (problem.train, problem.validation):
        _check_split(split)
    tables = [_table(problem, chain, split, device) for split in (problem.train, problem.validation)]
    columns = None
    is_linear = isinstance(chain.layers[0][1], nn.Linear)
    if is_linear and plan is not None and alike(plan, f"{chain.layers[0][0]}.weight") is not None:
        columns = columns_of(*tables)
    if columns is not None:
        tables = [table.index_select(1, columns.first) for table in tables]
    form = Form(problem.module, chain, columns)
    mini_batch = problem.mini_batch if chain.normalises or chain.drawing else problem.batch_size
    splits = zip(tables, (problem.train, problem.validation), strict=True)
    train, validation = (Examples(table.contiguous(), _targets(split, device)) for table, split in splits)
    return Networks(
        problem.module, chain, form, train, validation,
        functools.partial(row_losses, problem.loss), label_rule(problem.loss) if problem.data.n_classes > 0 else None,
        _judged(problem), problem.ranked_by,
        problem.batch_size, problem.steps_per_epoch, problem.exact_gradient and not chain.drawing, trainer,
        total_steps(problem, trainer), mini_batch, around_of(trainer, wrap, chain.normalises),
        *_passes(problem, chain, form, train),
    )  # fmt: skip


def _passes(problem: NetworkProblem, chain: Chain, form: Form, train: Examples) -> tuple[Passes | None, str]:
    """The compiled passes, or None and why there are none."""
    if train.inputs.device.type != "cpu":
        return None, "on a GPU they are torch's operations"
    try:
        return passes_of(chain, form, problem.loss, train.labels, problem.data.n_classes), ""
    except NotImplementedError as error:
        return None, str(error)


def _judged(problem: NetworkProblem) -> Callable[[Tensor, Tensor], dict[str, float]] | None:
    """What a problem computes of predictions beside loss and accuracy."""
    return (lambda outputs, labels: problem.judged(*in_rows(outputs, labels))) if problem.metrics else None


def _table(problem: NetworkProblem, chain: Chain, split: Split, device: torch.device) -> Tensor:
    parts = (to_inputs(part, device, False) for part in split.inputs.split(_TOGETHER))
    return table_of(problem.module, chain, parts)


def _check_split(split: Split) -> None:
    """Raises UnstackedError for examples with weights, or more than one target each."""
    if split.weights is not None:
        raise UnstackedError("the examples have weights")
    if not isinstance(split.targets, Tensor) or split.targets.ndim != 1:
        raise UnstackedError("an example has more than one target")


def _targets(split: Split, device: torch.device) -> Tensor:
    assert isinstance(split.targets, Tensor)
    return split.targets.to(device)


def chunks(width: int, memories: int, rows: int, threads: int) -> list[range]:
    """Rows that step together, so that the threads have as much to do as each other."""
    fits = max(_LEAST, min(_MOST, _CHUNK_BYTES // (4 * width * (2 + memories))))
    count = max(-(-rows // fits), min(threads, rows // _LEAST))
    count = -(-count // threads) * threads if count > 1 else 1
    bounds = [round(i * rows / count) for i in range(count + 1)]
    return [range(a, b) for a, b in itertools.pairwise(bounds) if a < b]


def _forms(networks: Networks, plan: Plan | Grouped) -> tuple[Apply, Norms, str]:
    """The update and the norms, compiled where that can be, and why they are not where it cannot."""
    form, on_cpu, whys = networks.form, networks.device.type == "cpu", list[str]()

    def update(one: Plan, counts: Tensor | None) -> Apply:
        names = Numbers(one, np.zeros(1, dtype=np.int64)).names
        try:
            if on_cpu:
                return Compiled(one, names, counts)
            whys.append("on a GPU it is operations")
        except NotImplementedError as error:
            whys.append(str(error))
        return by_operations(one, names, counts)

    made = in_groups(plan, form, update) if isinstance(plan, Grouped) else update(plan, form.counts)
    norms = compiled_norms(form.counts) if on_cpu else norms_by_operations(form.counts)
    return made, norms, whys[0] if whys else ""


class Rows:
    """The rows of a stack, to be trained chunk by chunk.

    Args:
        networks: what they share.
        plan: of their optimizers and schedules.
        seeds: of each row.
        start: of a seed, the state_dict before the first update.

    Attributes:
        seeds, start: the same.
        count: number of rows.
        why: why the update is not compiled; empty where it is.
    """

    def __init__(
        self,
        networks: Networks,
        plan: Plan | Grouped,
        seeds: Sequence[int],
        start: Callable[[int], Mapping[str, Tensor]],
    ) -> None:
        together = networks.form.counts is not None
        if together and isinstance(plan, Grouped):
            plan = replace(plan, leading=plan.at(networks.form.first))
        self.networks, self.plan, self.seeds, self.start = networks, plan, seeds, start
        self.count = len(seeds)
        self._update, self._norms, self.why = _forms(networks, plan)
        self._decays = together and alike(plan, networks.form.first) == "decays"
        self._forgets = forgets(plan)

    def stack(self, rows: Sequence[int]) -> Stack:
        """Some of the rows before their first update."""
        seeds, starts = [self.seeds[i] for i in rows], [self.start(self.seeds[i]) for i in rows]
        return Stack(
            self.networks, self.plan, rows, seeds, starts, self._update, self._norms, self._decays, self._forgets
        )

    def chunks(self, threads: int, among: Sequence[int] | None = None) -> Iterator[Sequence[int]]:
        """The rows, or some of them, in chunks; see `chunks`."""
        rows = range(self.count) if among is None else among
        for part in chunks(self.networks.form.width, len(self.plan.rule.memories), len(rows), threads):
            yield rows[part.start : part.stop]
