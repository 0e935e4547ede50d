"""Run folders and sweep tables made by hand, after the written contract and not by the code that runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optbench import records

CONFIG: dict[str, Any] = {
    "model": {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "dim": 2},
    "data": {"n_classes": 0, "_target_": None},
    "loss": {"_target_": "optbench.losses.surface.SurfaceLoss"},
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8},
    "scheduler": {"_target_": "torch.optim.lr_scheduler.ConstantLR", "_partial_": True, "factor": 1.0},
    "trainer": {"steps": 100, "target": None, "start": "random", "grad_noise": 0.0, "device": "cpu", "threads": 1},
    "seed": 0,
    "n_outputs": 0,
    "choices": {"model": "rosenbrock", "optimizer": "adam"},
}
SUMMARY: dict[str, Any] = {
    "sweep": None, "status": "completed", "reason": "100 steps done", "model": "rosenbrock", "data": "none",
    "loss_name": "surface", "optimizer": "adam", "scheduler": "constant", "seed": 0, "engine": "loop", "steps": 100,
    "evals": 101, "epochs": None, "seconds": 0.5, "final_loss": 0.25, "best_loss": 0.25, "best_step": 100,
    "final_grad_norm": 0.1, "val_accuracy": None, "target": None, "steps_to_target": None, "stopped_at": None,
    "critical_type": None, "lambda_min": None, "provenance": {"torch": "2.13.0"},
}  # fmt: skip
CURVE: list[dict[str, Any]] = [
    {"step": 0, "evals": 1, "seconds": 0.0, "lr": 0.01, "loss": 24.2, "grad_norm": 232.9, "x0": -1.2, "x1": 1.0},
    {"step": 50, "evals": 51, "seconds": 0.2, "lr": 0.01, "loss": 3.5, "grad_norm": 9.0, "x0": -0.8, "x1": 0.7},
    {"step": 100, "evals": 101, "seconds": 0.5, "lr": 0.01, "loss": 0.25, "grad_norm": 0.1, "x0": 0.5, "x1": 0.25},
]


def configure(changes: Mapping[str, Any]) -> dict[str, Any]:
    """CONFIG with dotted keys changed."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *path, last = key.split(".")
        place = config
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return config


def summarize(changes: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """run.json's object of a run whose configuration has these changes."""
    names = {"made": [summary.get(column, "") for column in ("model", "optimizer", "scheduler")]}
    run_id = records.run_id({**configure(changes), **names})
    row = {"run_id": run_id, **SUMMARY, **changes, **summary}
    if summary.get("target") is not None:
        row["trainer.target"] = summary["target"]
    return row


def make_run(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    curve: Sequence[Mapping[str, Any]] = CURVE,
    **summary: Any,
) -> Path:
    """A run folder: `changes` under override names (`optimizer.lr`, `seed`), `summary` in run.json's columns."""
    changes = changes or {}
    row = summarize(changes, summary)
    records.write_json(folder / "run.json", row)
    records.write_yaml(folder / "config.yaml", configure({k: v for k, v in row.items() if "." in k or k == "seed"}))
    columns = list(dict.fromkeys(key for line in curve for key in line))
    writer = records.CurveWriter(folder / "metrics.csv", columns)
    for line in curve:
        writer.write(line)
    writer.close()
    return folder


def make_table(
    folder: Path, rows: Sequence[Mapping[str, Any]], curve: Sequence[Mapping[str, Any]] = CURVE
) -> list[dict[str, Any]]:
    """runs.parquet and curves.parquet: a row and a curve for each of `rows` (changes and summary columns mixed)."""
    import pandas as pd

    made = []
    for row in rows:
        dotted = {k: v for k, v in row.items() if "." in k or k == "seed"}
        made.append(summarize(dotted, {k: v for k, v in row.items() if k not in dotted}))
    folder.mkdir(parents=True, exist_ok=True)
    stated = [{k: v for k, v in row.items() if k != "provenance"} for row in made]
    pd.DataFrame(stated).to_parquet(folder / "runs.parquet")
    pd.DataFrame([{"run_id": row["run_id"], **line} for row in made for line in curve]).to_parquet(
        folder / "curves.parquet"
    )
    return made
