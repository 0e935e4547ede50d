"""Batches of rows beside the training loop: the same runs, described once."""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import members
import numpy as np
import pytest
import torch

from optbench.descend import Batch, BatchResult, unsupported, vector_math
from optbench.descend.kernel import kernel_name
from optbench.loop import Loop, Summary
from optbench.problem import AbstractSurface, SurfaceProblem, surface_objective
from optbench.settings import SurfaceTrainer


def node(group: str, name: str, **changes: Any) -> dict[str, Any]:
    """A member as it stands in a resolved configuration."""
    return {"_target_": members.read(group, name)["_target_"], **members.keywords(group, name), **changes}


_PLAIN = node("optimizer", "sgd"), node("scheduler", "constant")
SUPPORTED_OPTIMIZERS = [n for n in members.names("optimizer") if unsupported(node("optimizer", n), _PLAIN[1]) is None]
SUPPORTED_SCHEDULERS = [n for n in members.names("scheduler") if unsupported(_PLAIN[0], node("scheduler", n)) is None]
"""What the engine says that it can do; test_descend_rules holds that it refuses nothing else than it must."""


@dataclass
class Rows:
    """Runs on a surface; `changes` maps a keyword of the optimizer to one value a row."""

    surface: str = "rosenbrock"
    optimizer: str = "adam"
    scheduler: str = "constant"
    changes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    starts: Sequence[Sequence[float]] | None = None
    trainer: SurfaceTrainer = field(default_factory=lambda: SurfaceTrainer(steps=100, grad_tol=1e-12))
    loss: str = "surface"
    noise: float = 0.0
    seeds: Sequence[int] = ()
    _loops: dict[tuple[int, float], tuple[Summary, dict[str, np.ndarray]]] = field(default_factory=dict, init=False)

    @property
    def shape(self) -> AbstractSurface:
        made: AbstractSurface = members.make("model", self.surface)
        return made

    @property
    def n(self) -> int:
        return len(self.starts) if self.starts is not None else len(next(iter(self.changes.values())))

    def start(self, row: int) -> list[float]:
        return list(self.starts[row] if self.starts is not None else self.shape.start)

    def batch(self, backend: str, **more: Any) -> Batch:
        """All runs as one batch, every row recorded."""
        fixed: dict[str, Any] = {"record": range(self.n), "backend": backend}
        return Batch(
            objective=surface_objective(self.shape, members.make("loss", self.loss)),
            starts=np.array([self.start(i) for i in range(self.n)]),
            optimizer=node("optimizer", self.optimizer, **{k: np.array(v) for k, v in self.changes.items()}),
            scheduler=node("scheduler", self.scheduler),
            trainer=self.trainer,
            grad_noise=self.noise,
            seeds=np.array(self.seeds) if self.seeds else None,
            **{**fixed, **more},
        )

    def loop(self, row: int, nudge: float = 0.0) -> tuple[Summary, dict[str, np.ndarray]]:
        """One run by the training loop, made once: its summary and its curve; the start is `nudge` off, relatively."""
        if (row, nudge) not in self._loops:
            self._loops[row, nudge] = self._by_loop(row, nudge)
        return self._loops[row, nudge]

    def _by_loop(self, row: int, nudge: float) -> tuple[Summary, dict[str, np.ndarray]]:
        start = [v * (1 + nudge) for v in self.start(row)]
        trainer = replace(self.trainer, start=start, start_anywhere=True, grad_noise=self.noise)
        seed = self.seeds[row] if self.seeds else 0
        problem = SurfaceProblem(self.shape, members.make("loss", self.loss), trainer, seed, torch.device("cpu"))
        keywords = {k: v[row] for k, v in self.changes.items()}
        optimizer = members.make("optimizer", self.optimizer, list(problem.module.parameters()), **keywords)
        filled = {k: trainer.steps for k, v in members.keywords("scheduler", self.scheduler).items() if v is None}
        scheduler = members.make("scheduler", self.scheduler, optimizer, **filled)
        seen = _Seen()
        summary = Loop(problem, optimizer, scheduler, trainer, seen).run()
        names = ["step", "lr", "loss", "grad_norm", *(f"x{i}" for i in range(self.shape.dim))]
        return summary, {name: np.array([row[name] for row in seen.rows]) for name in names}


class _Seen:
    """An observer that keeps the rows."""

    stop_requested = False

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def row(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def step(self, step: int, total: int, row: Any) -> None:
        """Not looked at."""

    def checkpoint(self, name: str, state: Any) -> None:
        """Not looked at."""


def assert_as_loop(rows: Rows, result: BatchResult, tolerance: float = 1e-12) -> None:
    """Every row ends as the loop's run does, and its curve is the loop's, relative to a column's largest number."""
    for i in range(rows.n):
        summary, curve = rows.loop(i)
        assert (result.status(i), int(result.steps[i])) == (summary.status, summary.steps)
        assert result.reason(i) == summary.reason
        found = result.curve(i)
        assert found["step"].tolist() == curve["step"].tolist()
        drift = 0.0
        for name, values in curve.items():
            finite = np.isfinite(values)
            assert np.array_equal(finite, np.isfinite(found[name]))
            scale = np.abs(values[finite]).max(initial=1e-300)
            close = np.abs(found[name][finite] - values[finite]) <= tolerance * scale
            if (
                not close.all()
            ):  # rounding that the dynamics amplify is no error of the engine: measure how much they do
                room = _amplified_rounding(rows, i, name, values)[finite]
                drift = max(drift, float(room.max()))
                np.testing.assert_array_less(
                    np.abs(found[name][finite] - values[finite]), tolerance * scale + room, err_msg=name
                )
        expected = (summary.final_loss, summary.best_loss, summary.final_grad_norm)
        mine = (result.final_loss[i], result.best_loss[i], result.final_grad_norm[i])
        for name, want, got in zip(("loss", "loss", "grad_norm"), expected, mine, strict=True):
            if want is not None and np.isfinite(want):
                largest = np.abs(curve[name][np.isfinite(curve[name])]).max(initial=0.0)
                assert got == pytest.approx(want, rel=1e-9, abs=tolerance * float(largest) + drift)
        assert result.best_step[i] == (-1 if summary.best_step is None else summary.best_step)


def _amplified_rounding(rows: Rows, row: int, name: str, values: np.ndarray) -> np.ndarray:
    """How far two runs of the loop itself drift apart whose starts differ by one unit in the last place, so far.

    Each step rounds a few times, so a hundred steps may drift some hundred times as far.
    """
    drift = np.zeros(len(values))
    for nudge in (2.0**-52, -(2.0**-52)):
        _, nudged = rows.loop(row, nudge)
        other = nudged[name][: len(values)]
        apart = np.abs(np.pad(other, (0, len(values) - len(other)), constant_values=np.nan) - values)
        drift = np.fmax(drift, np.nan_to_num(apart, posinf=0.0))
    return 300 * np.maximum.accumulate(drift)


def interpreted(source: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kernel as plain Python: slow, and without a compiler between the text and its meaning."""
    fake = types.ModuleType("numba")

    class Kind:
        def __getitem__(self, key: Any) -> None:
            return None

    def njit(*args: Any, **options: Any) -> Any:
        return (lambda function: function) if options else args[0]

    for name, value in {
        "float64": Kind(),
        "float32": Kind(),
        "int64": Kind(),
        "void": lambda *a: None,
        "njit": njit,
    }.items():
        setattr(fake, name, value)
    extending = types.ModuleType("numba.extending")
    extending.intrinsic = lambda function: vector_math._fma  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numba", fake)
    monkeypatch.setitem(sys.modules, "numba.extending", extending)
    scope: dict[str, Any] = {"__name__": kernel_name(source)}
    exec(compile(source, "kernel", "exec"), scope)
    scope["math"] = _CompiledMath()
    return scope["run"]


class _CompiledMath:
    """Python's math, whose functions answer outside their domain as compiled code does: infinity or NaN, no error."""

    def __getattr__(self, name: str) -> Any:
        exact, whole = getattr(math, name), getattr(np, {"fabs": "abs", "atan": "arctan"}.get(name, name))

        def function(*arguments: float) -> Any:
            try:
                return exact(*arguments)
            except (ValueError, OverflowError):
                return float(whole(*arguments))

        return function if callable(exact) else exact
