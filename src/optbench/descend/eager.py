"""Rows in step, by torch: one batched gradient and one batched update a step for all of them.

Coordinates come first, (dim, rows), so that an operation on one coordinate runs over contiguous memory; from 32
dimensions on it is the other way round in memory, since a surface then reduces over a long axis. Rows are filled up to
a multiple of 64: torch then uses the same instructions for every row, and a row alone gets the bits that it gets in
company. Ended rows are written out at once; what is computed for them afterwards is never looked at, and they leave the
working set when they are half of it.

Measured: 64k rows are the best piece (memory bound above, dispatch bound below), one thread is better than two.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.descend.batch import (
    COMPLETED,
    DIVERGED,
    PLATEAU,
    REST,
    RUNNING,
    TARGET,
    TIMED_OUT,
    Batch,
    Floats,
    Ints,
)
from optbench.descend.memory import LANES, rows_in_flight
from optbench.descend.plan import Plan
from optbench.descend.store import Store
from optbench.problem import stream

_ROWS_FIRST = 32
"""From this dimension on a row is contiguous in memory."""
_PAUSE = 0.25
"""Seconds between two words on how far it is."""
_AHEAD = 256
"""Steps whose shared coefficients are made into tensors at once."""


def run_eager(batch: Batch, plan: Plan, store: Store, rows: Ints | None = None) -> None:
    """Runs the batch into the store; of some rows, where they are given, it is taken as told that they ended."""
    chosen = np.arange(batch.rows) if rows is None else rows
    with _one_thread(), np.errstate(over="ignore", invalid="ignore"):  # rows that diverge overflow
        size = rows_in_flight(batch, len(plan.rule.memories))
        for first in range(0, len(chosen), size):
            if batch.stop_requested():
                return
            piece = chosen[first : first + size]
            _Piece(batch, plan, store, piece, (first / len(chosen), len(piece) / len(chosen))).run()
            batch.on_rows(len(piece) if rows is None else 0)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _filled(n: int) -> int:
    return -(-n // LANES) * LANES


class _Piece:
    """Some rows of a batch on their way down; arrays have one column for each, in the order of `rows`."""

    def __init__(
        self, batch: Batch, plan: Plan, store: Store, rows: Ints, share: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        self.batch, self.plan, self.store, self.share = batch, plan, store, share
        self.told = time.perf_counter()
        self.dtype = getattr(torch, batch.dtype)
        n = _filled(len(rows))
        self.rows: Ints = np.concatenate([rows, np.full(n - len(rows), rows[-1])])
        self.alive: NDArray[np.bool_] = np.arange(n) < len(rows)
        self.x = self._laid_out(torch.from_numpy(batch.starts[self.rows].T).to(self.dtype))
        self.memory = {name: torch.zeros_like(self.x) for name in plan.rule.memories}
        self.best, self.best_step = np.full(n, np.inf), np.full(n, -1, dtype=np.int64)
        self.plateau, self.plateau_step = np.full(n, np.inf), np.zeros(n, dtype=np.int64)
        self.reached = np.full((len(batch.targets), n), -1, dtype=np.int64)
        self.start_loss, self.bound = np.full(n, np.nan), np.full(n, np.inf)
        self.tolerance = batch.grad_tol_of()[self.rows]
        self.noise = batch.noise_of()[self.rows]
        self.clock, self.ahead = torch.zeros((), dtype=self.dtype), dict[int, list[tuple[Tensor, ...]]]()
        self._set_numbers()

    # one step --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """To the end of every row."""
        batch, began = self.batch, time.perf_counter()
        for k in range(batch.steps + 1):
            loss, gradient = self._value_and_gradient()
            slope = gradient.numpy()
            norm = np.sqrt((slope * slope).sum(axis=0))
            value = loss.numpy().astype(np.float64, copy=False)
            self._judge(k, value, norm)
            self._record(k, value, norm)
            late = k > 0 and batch.trainer.seconds is not None and time.perf_counter() - began >= batch.trainer.seconds
            self._end(k, value, norm, late)
            if not self.alive.any():
                return
            self._tell(k)
            self._step(k, gradient)

    def _tell(self, k: int) -> None:
        now = time.perf_counter()
        if now - self.told >= _PAUSE:
            self.told = now
            before, own = self.share
            self.batch.on_stage(f"update {k} of {self.batch.steps}", before + own * k / max(1, self.batch.steps))

    def _value_and_gradient(self) -> tuple[Tensor, Tensor]:
        x = self.x.requires_grad_(True)
        loss = self.batch.objective(x.movedim(0, -1))
        (gradient,) = torch.autograd.grad(loss.sum(), x)  # with weights of its own, autograd would import sympy
        self.x = x.detach()
        return loss.detach(), gradient

    def _judge(self, k: int, value: Floats, norm: Floats) -> None:
        trainer = self.batch.trainer
        if k == 0:
            self.start_loss = value
            scale = trainer.divergence_factor * np.maximum(1.0, np.abs(value))
            self.bound = np.minimum(scale, np.finfo(np.float64).max)
        better = value < self.best
        np.copyto(self.best, value, where=better)
        np.copyto(self.best_step, k, where=better)
        if trainer.plateau_steps is not None:
            known = np.isfinite(self.plateau)
            enough = np.where(known, trainer.plateau_delta * np.abs(np.where(known, self.plateau, 0.0)), 0.0)
            lower = value < self.plateau - enough
            np.copyto(self.plateau, value, where=lower)
            np.copyto(self.plateau_step, k, where=lower)

    def _end(self, k: int, value: Floats, norm: Floats, late: bool) -> None:
        """Writes out the rows that a rule ends at this iterate."""
        trainer = self.batch.trainer
        bad = ~((np.abs(value) <= self.bound) & (norm < np.inf))
        for line, target in zip(self.reached, self.batch.targets, strict=True):
            np.copyto(line, k, where=(line < 0) & (value <= target) & ~bad)
        rules = [(DIVERGED, bad), (REST, norm <= self.tolerance)]
        if trainer.target is not None:
            rules.insert(1, (TARGET, value <= trainer.target))
        if trainer.plateau_steps is not None:
            rules.append((PLATEAU, k - self.plateau_step >= trainer.plateau_steps))
        outside = [(TIMED_OUT, late), (COMPLETED, k == self.batch.steps), (RUNNING, self.batch.stop_requested())]
        rules += [(code, self.alive) for code, holds in outside if holds]
        if not (np.logical_or.reduce([holds for _, holds in rules]) & self.alive).any():
            return
        for code, holds in rules:
            self._write(k, code, holds & self.alive, value, norm)
        if _filled(int(self.alive.sum())) <= len(self.alive) // 2:
            self._compact()

    def _write(self, k: int, code: int, ended: NDArray[np.bool_], value: Floats, norm: Floats) -> None:
        if not ended.any():
            return
        store, rows = self.store, self.rows[ended]
        store.code[rows], store.steps[rows] = code, k
        store.start_loss[rows], store.final_loss[rows] = self.start_loss[ended], value[ended]
        store.final_grad_norm[rows] = norm[ended]
        store.best_loss[rows], store.best_step[rows] = self.best[ended], self.best_step[ended]
        store.reached[rows] = self.reached[:, ended].T
        store.x[rows] = self.x.numpy()[:, ended].T
        self.alive &= ~ended

    def _record(self, k: int, value: Floats, norm: Floats) -> None:
        store, every = self.store, self.batch.trainer.record_every
        if k % every or not len(store.recorded):
            return
        columns = np.flatnonzero(self.alive & (store.place[self.rows] >= 0))
        places, point = store.place[self.rows[columns]], k // every
        store.loss[places, point], store.grad_norm[places, point] = value[columns], norm[columns]
        store.path[places, point] = self.x.numpy()[: store.path.shape[2], columns].T

    def _step(self, k: int, gradient: Tensor) -> None:
        keep = self._kept
        if keep is not None:
            gradient, self._kept = self._laid_out(gradient[:, keep]), None
        if self.batch.noisy:
            gradient = gradient + self._noise_at(k)
        flat = self.numbers | self._coefficients(k)
        factor, lr = flat.pop("factor"), flat["lr"]
        flat["lr"] = lr * factor if self.floor is None else self.floor + (lr - self.floor) * factor
        t = self.clock.fill_(k)
        with torch.no_grad():
            self.x, self.memory = self.plan.rule.update(self.x, gradient, self.memory, self.plan.structured(flat), t)

    def _coefficients(self, k: int) -> dict[str, Tensor]:
        """What the tables say for step k; those that all rows share are taken apart some hundred steps at a time."""
        found: dict[str, Tensor] = {}
        for i, (names, values, column) in enumerate(self.tables):
            if column is not None:
                found |= dict(zip(names, values[:, column, k], strict=True))
                continue
            if k % _AHEAD == 0 or i not in self.ahead:
                part = values[:, 0, k - k % _AHEAD :][:, :_AHEAD]
                self.ahead[i] = [line.unbind(0) for line in part]
            found |= {name: line[k % _AHEAD] for name, line in zip(names, self.ahead[i], strict=True)}
        return found

    # numbers ---------------------------------------------------------------------------------------------------------

    _kept: Tensor | None = None

    def _laid_out(self, values: Tensor) -> Tensor:
        if self.batch.dim >= _ROWS_FIRST:
            return values.T.contiguous().T
        return values.clone(memory_format=torch.contiguous_format)

    def _tensor(self, value: float | Floats) -> Tensor:
        """0-dimensional for all rows, (1, columns) for one a row."""
        found = torch.as_tensor(value if isinstance(value, float) else value[self.rows][None], dtype=torch.float64)
        return found.to(self.dtype)

    def _set_numbers(self) -> None:
        self.numbers = {name: self._tensor(value) for name, value in self.plan.hyper.items()}
        self.floor = None if self.plan.floor is None else self._tensor(self.plan.floor)
        self.tables = [
            (
                table.names,
                torch.from_numpy(table.values).to(self.dtype),
                None if table.index is None else torch.from_numpy(table.index[self.rows][None]),
            )
            for table in self.plan.tables
        ]

    def _noise_at(self, k: int) -> Tensor:
        """The same draws as the training loop's, one a distinct seed: (dim, columns)."""
        assert self.batch.seeds is not None
        seeds, which = np.unique(self.batch.seeds[self.rows], return_inverse=True)
        draws = [torch.randn(self.batch.dim, generator=stream(int(s), "noise", k), dtype=torch.float64) for s in seeds]
        noise = torch.stack(draws, dim=1)[:, torch.from_numpy(which.reshape(-1))]
        return (noise * torch.from_numpy(self.noise)).to(self.dtype)

    def _compact(self) -> None:
        """Lets the ended rows go."""
        keep = np.flatnonzero(self.alive)
        if not len(keep):
            return
        n = _filled(len(keep))
        alive = np.arange(n) < len(keep)
        keep = np.concatenate([keep, np.full(n - len(keep), keep[-1])])
        columns = torch.from_numpy(keep)
        self.rows, self.alive, self._kept = self.rows[keep], alive, columns
        self.x = self._laid_out(self.x[:, columns])
        self.memory = {name: self._laid_out(value[:, columns]) for name, value in self.memory.items()}
        for name in ("best", "best_step", "plateau", "plateau_step", "start_loss", "bound", "tolerance", "noise"):
            setattr(self, name, getattr(self, name)[keep])
        self.reached = self.reached[:, keep]
        self._set_numbers()
