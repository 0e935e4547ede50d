"""A batch cut into pieces of rows, where the tables of a whole one would not fit into memory, and joined again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from optbench.descend.batch import Batch, BatchResult, Curves

TABLE_LIMIT = 1 << 25
"""Most numbers in one table: 256 MB."""


def largest_piece(batch: Batch) -> int:
    """Rows that can be in one piece: all, unless hyperparameters other than the learning rate differ between many."""
    nodes = [{k: v for k, v in batch.optimizer.items() if k != "lr"}, batch.scheduler]
    varied = any(isinstance(value, np.ndarray) for node in nodes for value in node.values())
    return max(1, TABLE_LIMIT // (4 * (batch.steps + 1))) if varied else batch.rows


def in_pieces(batch: Batch, rows: int, run: Callable[[Batch], BatchResult]) -> BatchResult:
    """Runs `rows` rows at a time."""
    cuts = [slice(first, min(first + rows, batch.rows)) for first in range(0, batch.rows, rows)]
    return _joined([run(_cut(batch, cut)) for cut in cuts], [cut.start for cut in cuts])


def _cut(batch: Batch, cut: slice) -> Batch:
    def node(whole: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v[cut] if isinstance(v, np.ndarray) else v for k, v in whole.items()}

    def on_stage(words: str, share: float) -> None:
        batch.on_stage(words, (cut.start + share * (cut.stop - cut.start)) / batch.rows)

    record = np.asarray(batch.record, dtype=np.int64)
    noise = batch.grad_noise
    return replace(
        batch,
        starts=batch.starts[cut],
        on_stage=on_stage,
        optimizer=node(batch.optimizer),
        scheduler=node(batch.scheduler),
        grad_noise=noise[cut] if isinstance(noise, np.ndarray) and noise.ndim else noise,
        seeds=None if batch.seeds is None else batch.seeds[cut],
        record=record[(record >= cut.start) & (record < cut.stop)] - cut.start,
    )


def _joined(parts: list[BatchResult], starts: list[int]) -> BatchResult:
    arrays: dict[str, Any] = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])
        for f in fields(BatchResult)
        if isinstance(getattr(parts[0], f.name), np.ndarray)
    }
    kept = [part for part in parts if len(part.curves.rows)] or parts[:1]
    curves: dict[str, Any] = {
        f.name: np.concatenate([getattr(part.curves, f.name) for part in kept])
        for f in fields(Curves)
        if f.name not in ("rows", "steps")
    }
    rows = np.concatenate([part.curves.rows + start for part, start in zip(parts, starts, strict=True)])
    return replace(
        parts[0],
        **arrays,
        curves=Curves(rows, kept[0].curves.steps, **curves),
        seconds=sum(part.seconds for part in parts),
        compile_seconds=sum(part.compile_seconds for part in parts),
        engine="+".join(dict.fromkeys(part.engine for part in parts)),
    )
