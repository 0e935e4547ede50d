"""MLflow's SQLite database, with the tables of MLflow 3.17 as it creates them (constraints left out)."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from optbench import records
from optbench.errors import UserError
from optbench.foreign import bring

TABLES = """
CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL, name VARCHAR(250), status VARCHAR(9), start_time BIGINT,
                   lifecycle_stage VARCHAR(20), experiment_id INTEGER);
CREATE TABLE metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL,
                      run_uuid VARCHAR(32) NOT NULL, step BIGINT NOT NULL, is_nan BOOLEAN NOT NULL);
CREATE TABLE params (key VARCHAR(250) NOT NULL, value VARCHAR(8000) NOT NULL, run_uuid VARCHAR(32) NOT NULL);
"""
LARGEST = 1.7976931348623157e308
"""What MLflow writes for infinity."""


def database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.executescript(TABLES)
        for seed, (run, status, stage) in enumerate(
            (("a1", "FINISHED", "active"), ("b2", "KILLED", "active"), ("c3", "FINISHED", "deleted"))
        ):
            made.execute("INSERT INTO runs VALUES (?, 'ant', ?, ?, ?, 1)", (run, status, seed, stage))
            values = [("loss", 2.0, 5, 0, 0), ("loss", LARGEST, 6, 10, 0), ("loss", 0.0 if seed else 1.5, 7, 20, seed)]
            values += [("val/acc", 0.25, 8, 10, 0), ("val/acc", 0.5, 9, 10, 0), ("step", 99.0, 9, 10, 0)]
            made.executemany(f"INSERT INTO metrics VALUES (?, ?, ?, '{run}', ?, ?)", values)
            made.executemany(f"INSERT INTO params VALUES (?, ?, '{run}')", [("lr", "0.01"), ("seed", str(seed))])
        made.commit()
    return path


def test_a_database_becomes_records(tmp_path: Path) -> None:
    source = database(tmp_path / "mlflow.db")
    before = source.read_bytes()
    brought = bring([tmp_path], tmp_path / "out")
    assert (brought.kinds, len(brought.folders), brought.unused) == (["mlflow"], 2, ["metrics/step"])
    runs = {run.summary["seed"]: run for run in records.read([tmp_path / "out"]).runs()}
    assert [runs[k].summary["status"] for k in range(2)] == ["completed", "interrupted"]
    assert runs[0].columns()["loss"].tolist() == [2.0, math.inf, 1.5]
    assert math.isnan(runs[1].columns()["loss"][2])
    assert runs[0].columns()["val_accuracy"][1] == 0.5  # of one step, the latest timestamp
    assert runs[0].config["optimizer"] == {"lr": 0.01}
    assert source.read_bytes() == before
    assert bring([source], tmp_path / "out").again == 2


@pytest.mark.parametrize(("script", "why"), [
    ("CREATE TABLE other (x)", "no database of MLflow: no such table: runs"),
    (TABLES, "no run in it has metrics"),
])  # fmt: skip
def test_other_databases(script: str, why: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as made:
        made.executescript(script)
    with pytest.raises(UserError, match=why):
        bring([tmp_path / "x.db"], tmp_path / "out")


def test_a_damaged_database(tmp_path: Path) -> None:
    source = database(tmp_path / "mlflow.db")
    source.write_bytes(source.read_bytes()[:5000])
    with pytest.raises(UserError, match="no database of MLflow"):
        bring([source], tmp_path / "out")
