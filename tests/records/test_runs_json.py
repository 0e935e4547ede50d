"""The runs of a sweep as JSON are, byte for byte, what the standard library makes of one object a run."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import make_run, make_table
from pyarrow import parquet

from optbench.records import plain, read, read_json, to_json, write_json
from optbench.report import runs_json


def by_the_library(value: Any) -> str:
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def one_object_a_run(folder: Path, run_ids: Sequence[str]) -> str:
    """As it was written when a sweep was held as objects."""
    found = {run.run_id: run for run in read([folder]).runs()} if folder.exists() else {}
    runs = [found[one] for one in run_ids if one in found]
    return by_the_library([{**run.summary, "path": run.path or run.table} for run in runs])


TYPES = {
    "int": (pa.int64(), st.integers(-(2**62), 2**62)),
    "small": (pa.uint8(), st.integers(0, 255)),
    "float": (pa.float64(), st.floats()),
    "single": (pa.float32(), st.floats(width=32)),
    "flag": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.just('%s "\n\\ü')),
    "large": (pa.large_string(), st.sampled_from(["a", "b"])),
    "nothing": (pa.null(), st.none()),
    "code": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["{}", "{%d}"])),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    n = draw(st.integers(1, 6))
    columns: dict[str, Any] = {
        "run_id": pa.array([f"{i:012x}" for i in range(n)]),
        "status": pa.array(draw(st.lists(st.sampled_from(["completed", "diverged"]), min_size=n, max_size=n))),
    }
    for i, name in enumerate(draw(st.lists(st.sampled_from(sorted(TYPES)), max_size=6))):
        type_, values = TYPES[name]
        same = draw(st.booleans())
        chosen = draw(st.lists(values if draw(st.booleans()) else st.none() | values, min_size=n, max_size=n))
        columns[f"{name}%{i}.ü"] = pa.array(chosen[:1] * n if same else chosen, type_)
    return pa.table(columns)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), row_group_size=st.sampled_from([2, 100]))
def test_a_table_of_any_columns(table: pa.Table, row_group_size: int, tmp_path: Path) -> None:
    parquet.write_table(table, tmp_path / "runs.parquet", row_group_size=row_group_size)
    ids = table["run_id"].to_pylist()
    for wanted in (ids, ids[::-1], ["unknown", *ids[1:]], []):
        assert "".join(runs_json(tmp_path, wanted)) == one_object_a_run(tmp_path, wanted)


def test_zeros_of_both_signs_are_two_values(tmp_path: Path) -> None:
    columns = {"run_id": ["a" * 12, "b" * 12], "status": ["completed"] * 2, "final_loss": [0.0, -0.0]}
    parquet.write_table(pa.table(columns), tmp_path / "runs.parquet")
    losses = [run["final_loss"] for run in json.loads("".join(runs_json(tmp_path, columns["run_id"])))]
    assert [math.copysign(1, loss) for loss in losses] == [1, -1]


def test_folders_rows_and_copies_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optbench.report.stream._AT_ONCE", 3)
    top = tmp_path / "sweep"
    seeds = [{"seed": i, "status": "interrupted" if i % 3 else "completed"} for i in range(12)]
    rows = make_table(top, seeds)
    columns = {name: [row.get(name) for row in rows] for name in rows[0] if name != "provenance"}
    parquet.write_table(pa.table(columns), top / "runs.parquet")  # without the traces of pandas
    for i, seed in enumerate((0, 3, 6, 1, 2, 4, 5, 20, 21, 22)):  # 0, 3 and 6 are rows that ended
        make_run(top / f"seed{seed}", {"seed": seed}, status=("completed", "failed", "interrupted")[i % 3])
    (top / "seed20" / "config.yaml").unlink()
    (top / "seed5" / "run.json").write_text("{")
    shutil.copytree(top / "seed1", top / "a" / "seed1")
    shutil.copytree(top / "seed3", top / "z" / "seed3")
    make_table(top / "other", [{"seed": i, "optimizer.eps": i / 7} for i in range(5, 9)])
    path = top / "seed2" / "run.json"
    write_json(path, read_json(path) | {"more": {"x": [1, {"y": None}]}, "empty": [], "none": {}})
    ids = sorted({run.run_id for run in read([top]).runs()})
    assert len(ids) == 18  # without seed20, which is not believed
    for seed in range(4):
        random.Random(seed).shuffle(ids)
        assert "".join(runs_json(top, ids)) == one_object_a_run(top, ids)


def test_nothing_recorded_is_an_empty_list(tmp_path: Path) -> None:
    assert "".join(runs_json(tmp_path / "nowhere", ["a"])) == "[]" == to_json([])
