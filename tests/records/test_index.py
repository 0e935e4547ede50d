"""The index and the columns: whatever happened to the folders in between, what is read fast is what is there."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import re
import shutil
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import CONFIG, make_run, make_table, summarize
from plain_compare import plain_compare, plain_rows, plain_scan

from optbench import records
from optbench.comparison import compare
from optbench.errors import RecordError
from optbench.records import index, walk
from optbench.records.arrow_values import floats_of_arrow, of_arrow
from optbench.records.run import read_columns
from optbench.records.templates import SettingsReader
from optbench.records.vocabulary import flatten

TIMES = itertools.count(10**18, 10**9)  # a time of its own for each write: no two within one tick of a clock


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index for every folder, however few and however young its files are."""
    monkeypatch.setattr(walk, "LEAST_RUNS", 1)
    monkeypatch.setattr(walk, "WORTH", 0.0)
    monkeypatch.setattr(index, "SETTLED", -1e9)


def stamped(folder: Path) -> None:
    for file in folder.iterdir():
        if file.is_file():
            os.utime(file, ns=(moment := next(TIMES), moment))


def same_as_plain(paths: list[Path]) -> None:
    """The table of runs, against files read one by one."""
    rows, bad, notes = plain_rows(paths)
    fast = records.read(paths)
    assert [(run.path, run.table, run.summary) for run in fast.runs()] == [
        (row.run.path, row.run.table, row.run.summary) for row in rows
    ]
    assert [(values, list(values)) for values in fast.rows()] == [(row.values, list(row.values)) for row in rows]
    assert [(one.path, one.why) for one in fast.unreadable] == bad
    assert fast.notes == notes


# whatever happens between two scans


class Meddler:
    """Changes a tree of runs."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def add(self, name: str, number: int) -> None:
        shutil.rmtree(self.top / name, ignore_errors=True)
        status = ("completed", "interrupted", "diverged")[number % 3]
        changes = {"seed": number, "optimizer.lr": 0.1 / (1 + number % 4), "optimizer.betas": [0.5, number / 8]}
        stamped(make_run(self.top / name, changes, status=status, final_loss=number / 7, val_accuracy=None))

    def end(self, name: str, number: int) -> None:
        self._edit(name, "run.json", lambda text: text.replace('"interrupted"', '"completed"'))

    def setting(self, name: str, number: int) -> None:
        self._edit(name, "config.yaml", lambda text: text.replace("lr: 0", f"lr: {number}0"))

    def tear(self, name: str, number: int) -> None:
        self._edit(name, ("run.json", "config.yaml")[number % 2], lambda text: text[: len(text) * number // 30])

    def drop(self, name: str, number: int) -> None:
        file = self.top / name / ("run.json", "config.yaml", "metrics.csv")[number % 3]
        file.unlink(missing_ok=True)

    def remove(self, name: str, number: int) -> None:
        shutil.rmtree(self.top / name, ignore_errors=True)

    def move(self, name: str, number: int) -> None:
        if (self.top / name).exists():
            shutil.rmtree(self.top / f"deep/{number}", ignore_errors=True)
            (self.top / "deep").mkdir(exist_ok=True)
            os.replace(self.top / name, self.top / f"deep/{number}")

    def table(self, name: str, number: int) -> None:
        make_table(self.top / "tables" / name, [{"seed": s, "optimizer.lr": 0.5} for s in range(number % 3 + 1)])

    def spoil(self, name: str, number: int) -> None:
        """Damages the index."""
        path = self.top / index.NAME
        if path.exists() and (raw := bytearray(path.read_bytes())):
            raw[hash((name, number)) % len(raw)] ^= 1 + number
            path.write_bytes(raw if number % 5 else raw[: len(raw) // 2])

    def forget(self, name: str, number: int) -> None:
        (self.top / index.NAME).unlink(missing_ok=True)

    def _edit(self, name: str, file: str, change: Any) -> None:
        path = self.top / name / file
        if path.exists():
            path.write_text(change(path.read_text()))
            os.utime(path, ns=(moment := next(TIMES), moment))


DEEDS = [name for name in vars(Meddler) if not name.startswith("_")]
deeds = st.tuples(
    st.sampled_from([*DEEDS, "add", "add"]), st.sampled_from(["a", "b", "c", "d/e", "d/f"]), st.integers(0, 29)
)


@pytest.mark.usefixtures("eager")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(deeds, max_size=4), min_size=2, max_size=5))
def test_whatever_happens_between_scans_they_find_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[tuple[str, str, int]]]
) -> None:
    top = tmp_path_factory.mktemp("tree")
    meddler = Meddler(top)
    for name in ("a", "d/e"):
        meddler.add(name, len(name))
    for step in [[], *drawn]:
        for deed, name, number in step:
            getattr(meddler, deed)(name, number)
        same_as_plain([top])
    shutil.rmtree(top)


# when the index is believed, written, and left alone


def sweep_of(top: Path, count: int) -> Path:
    for seed in range(count):
        stamped(make_run(top / f"r{seed:02d}", {"seed": seed, "optimizer.lr": 0.1 + seed % 2}))
    return top


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The run folders that were read."""
    found: list[str] = []
    original = walk.read_summary

    def noted(folder: str) -> dict[str, Any]:
        found.append(Path(folder).name)
        return original(folder)

    monkeypatch.setattr(walk, "read_summary", noted)
    return found


@pytest.mark.usefixtures("eager")
def test_only_what_changed_is_read_again(tmp_path: Path, opened: list[str]) -> None:
    top, meddler = sweep_of(tmp_path, 8), Meddler(tmp_path)
    same_as_plain([top])
    assert len(opened) == 8
    opened.clear()
    same_as_plain([top])
    assert opened == []
    meddler.setting("r03", 7)
    meddler.add("new", 1)
    meddler.remove("r05", 0)
    (top / "r06" / "metrics.csv").unlink()  # of which the index knows nothing
    same_as_plain([top])
    assert sorted(set(opened)) == ["new", "r03"]
    opened.clear()
    shutil.copytree(top, tmp_path.with_name("copy"))
    same_as_plain([tmp_path.with_name("copy")])  # other files, of which its index was not made
    assert len(set(opened)) == 8


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("run.json", '"final_loss": 0.25', '"final_loss": 0.75'), ("config.yaml", "lr: 1", "lr: 2")],
)
def test_a_change_that_keeps_size_and_time_is_noticed(
    name: str, old: str, new: str, tmp_path: Path, opened: list[str]
) -> None:
    top = sweep_of(tmp_path, 3)
    same_as_plain([top])
    path = top / "r01" / name
    before = path.stat()
    text = path.read_text()
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert path.read_text() != text
    opened.clear()
    same_as_plain([top])
    assert set(opened) == {"r01"}


def test_files_that_are_still_warm_are_not_put_into_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "LEAST_RUNS", 1)
    top = sweep_of(tmp_path, 3)
    records.read([top])
    assert not (top / index.NAME).exists()
    monkeypatch.setattr(walk.time, "time", lambda: (top / "r00" / "run.json").stat().st_ctime + index.SETTLED + 60)
    records.read([top])
    assert len(index.load(top)) == 3


def test_small_folders_stay_clean_and_a_run_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SETTLED", -1e9)
    top = sweep_of(tmp_path, 3)
    assert index.LEAST_RUNS > 100
    records.read([top, top / "r00"])
    compare([top])
    monkeypatch.setattr(walk, "LEAST_RUNS", 1)
    records.read([top / "r00", top / "r01" / "run.json"])
    assert not list(tmp_path.rglob(f"{index.NAME}*"))


def test_a_few_new_runs_are_read_and_the_index_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "LEAST_RUNS", 1)
    monkeypatch.setattr(index, "SETTLED", -1e9)
    monkeypatch.setattr(walk, "WORTH", 0.25)
    top, meddler = sweep_of(tmp_path, 8), Meddler(tmp_path)
    records.read([top])
    meddler.add("one", 1)
    same_as_plain([top])
    assert set(index.load(top)) == {f"r{i:02d}" for i in range(8)}
    meddler.add("two", 2)
    meddler.remove("r00", 0)
    same_as_plain([top])
    assert set(index.load(top)) == {f"r{i:02d}" for i in range(1, 8)} | {"one", "two"}
    for name in ("r01", "r02", "r03"):
        meddler.remove(name, 0)
    same_as_plain([top])
    assert set(index.load(top)) == {f"r{i:02d}" for i in range(4, 8)} | {"one", "two"}, "nothing new, and much is gone"


@pytest.mark.usefixtures("eager")
def test_an_index_damaged_anywhere_is_no_index(tmp_path: Path) -> None:
    top = sweep_of(tmp_path, 4)
    records.read([top])
    whole = (top / index.NAME).read_bytes()
    rows = index.load(top)
    assert len(rows) == 4
    rng = random.Random(0)
    refused = 0
    for _ in range(300):
        raw = bytearray(whole)
        raw[rng.randrange(len(raw))] ^= rng.randrange(1, 256)
        (top / index.NAME).write_bytes(raw)
        found = index.load(top)
        assert found in ({}, rows)  # bytes that no row uses may change
        refused += not found
    assert refused > 50
    for size in (0, 1, 100, 4096, len(whole) // 2, len(whole) - 1):
        (top / index.NAME).write_bytes(whole[:size])
        assert index.load(top) in ({}, rows)
        same_as_plain([top])


@pytest.mark.usefixtures("eager")
def test_a_foreign_or_other_index_is_not_read(tmp_path: Path) -> None:
    top = sweep_of(tmp_path, 3)
    records.read([top])
    head, (row, *_), _ = map(json.loads, (top / index.NAME).read_bytes().splitlines())
    for change in (
        [head | {"format": 99}, [row]],
        [head | {"settings": []}, [row]],
        [head, [[*row, "more"]]],
        [head, [row[:2]]],
        [[row], [row]],
        [head, None],
        [],
    ):
        text = "".join(f"{json.dumps(line)}\n" for line in change).encode()
        (top / index.NAME).write_bytes(text + f'"{zlib.crc32(text):08x}"'.encode())
        assert index.load(top) == {}, change
        same_as_plain([top])
        assert len(index.load(top)) == 3  # made anew


@pytest.mark.usefixtures("eager")
def test_where_it_cannot_be_written_all_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = sweep_of(tmp_path, 3)
    (top / index.NAME).mkdir()
    (top / index.NAME / "in the way").touch()
    same_as_plain([top])
    shutil.rmtree(top / index.NAME)
    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(index.os, name, lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
            same_as_plain([top])
        assert not list(top.glob(f"{index.NAME}*"))  # no litter either
    (top / f"{index.NAME}.dead.tmp").touch()
    os.utime(top / f"{index.NAME}.dead.tmp", (0, 0))
    same_as_plain([top])
    assert [p.name for p in top.glob(f"{index.NAME}*")] == [index.NAME]


@pytest.mark.usefixtures("eager")
def test_many_at_once_do_not_meet(tmp_path: Path) -> None:
    top, expected = sweep_of(tmp_path, 6), None
    expected = [run.run_id for run in plain_scan([top])[0]]
    found: list[list[str]] = []

    def look() -> None:
        for _ in range(10):
            (top / index.NAME).unlink(missing_ok=True)
            found.append([run.run_id for run in records.read([top]).runs()])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 40
    assert not list(top.glob(f"{index.NAME}.*.tmp"))


@pytest.mark.usefixtures("eager")
def test_links_other_spellings_and_the_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = sweep_of(tmp_path / "top", 3)
    (tmp_path / "link").symlink_to(top)
    (top / "r09").symlink_to(top / "r00")
    (top / "broken").mkdir()
    (top / "broken" / "run.json").symlink_to(top / "nowhere")
    monkeypatch.chdir(top)
    for paths in ([top], [Path()], [Path("../top")], [tmp_path], [tmp_path / "link"], [top, Path(), tmp_path / "link"]):
        same_as_plain(paths)
        same_as_plain(paths)


# configurations that are not parsed


scalars = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.from_regex(r"[a-z_][a-z0-9_]{0,4}", fullmatch=True)
configs = st.dictionaries(keys, scalars | st.dictionaries(keys, scalars | st.lists(scalars, max_size=3), max_size=4),
                          min_size=1, max_size=4)  # fmt: skip


def exact(value: Any) -> Any:
    """A value that is equal to others of its type only: 1, 1.0, True and -0.0 are four."""
    if isinstance(value, dict):
        return {key: exact(one) for key, one in value.items()}
    if isinstance(value, list):
        return [exact(one) for one in value]
    return type(value), repr(value)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(configs, st.integers(0, 5))
def test_settings_read_fast_are_those_that_are_written(tmp_path: Path, config: dict[str, Any], other: int) -> None:
    reader, path = SettingsReader(), tmp_path / "config.yaml"
    for value in (config, {**config, "seed": other}, {**config, "g": {"n": other, "x": other / 3}}, config):
        records.write_yaml(path, value)
        try:
            expected = {k: v for k, v in flatten(records.read_config(path)).items() if "." in k}
        except RecordError as error:
            with pytest.raises(RecordError, match=re.escape(error.message)):
                reader.read(str(path))
        else:
            found, text = reader.read(str(path))
            assert exact(found) == exact(expected)
            assert text is None or exact(json.loads(text)) == exact(expected)


@pytest.mark.parametrize(
    "text",
    [
        "a:\n  lr: 1\n  lr: 2\n",
        "a:\n  text: |\n    lr: 3\n    b: 4\n  lr: 5\n",
        "a:\n  text: 'x\n\n  lr: 3\n\n  '\n",
        "a:\n  octal: 0755\n  text: 1e5\n  n: 1_000\n  time: 1:30\n  plus: +5\n  hex: 0x1F\n  dot: 1.\n  zero: -0\n",
        "a:\n  minus: -0.0\n  big: 123456789012345678901234567890\n  float: 1.5e+300\n  over: 1.0e+999\n",
        "a:\n- lr: 3\n  b: 4\n- 5\n",
        "a: {lr: 1, seed: 2}\nseed: 3\n",
        "a:\n  day: 2024-05-06\n  not: .nan\n  inf: -.inf\n  1: 2\n  key: 7310958246000000\n",
        "a:\n  k7310958246000000: 1\n  b: 2\n",
        "a:\r\n  lr: 1\r\n  b: 2.5\r\n",
        "a:\n  ? lr\n  : 3\n  b: !!str 5\n  c: 6\n",
        "a:\n  lr: 1 # one\n  b: 2\n",
    ],
)
def test_numbers_in_odd_places_are_what_yaml_says(tmp_path: Path, text: str) -> None:
    reader, path = SettingsReader(), tmp_path / "config.yaml"
    for changed in (text, text.replace("1", "8"), text.replace("2", "3"), text):
        path.write_bytes(changed.encode())
        expected = {k: v for k, v in flatten(yaml.safe_load(changed)).items() if "." in k}
        assert exact(reader.read(str(path))[0]) == exact(expected)


def test_thousands_of_texts_are_parsed_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    original = yaml.load
    monkeypatch.setattr(yaml, "load", lambda *args, **kw: parsed.append(1) or original(*args, **kw))
    reader, path, seen = SettingsReader(), tmp_path / "config.yaml", {}
    text = yaml.safe_dump(CONFIG, sort_keys=False)
    for seed in range(40):
        path.write_text(text.replace("seed: 0", f"seed: {seed}").replace("lr: 0.01", f"lr: {0.01 + seed // 10}"))
        found, _ = reader.read(str(path))
        seen[id(found)] = found["optimizer.lr"]
    assert sum(parsed) == 1
    assert sorted(seen.values()) == [0.01, 1.01, 2.01, 3.01]


# the whole comparison, against plain Python


def crowd(top: Path, rng: random.Random) -> list[Path]:
    """Folders and tables of some problems and configurations, with copies, gaps, and what cannot be read."""

    def drawn(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        changes = {"seed": seed, "optimizer.lr": rng.choice([0.1, 0.2, 1]), "model.dim": rng.choice([2, 2, 5])}
        if rng.random() < 0.3:
            changes["optimizer.betas"] = rng.choice([[0, 0.5], [0.0, 0.5], (0.9, 0.99)])
        if rng.random() < 0.2:
            changes["extra.key"] = rng.choice([None, 3, 4, 2.5])
        hit = rng.choice([None, rng.randrange(1, 100)])
        target = rng.choice([None, 1e-3])
        status = rng.choice(["completed", "diverged", "interrupted", "failed", "target_reached"])
        facts = {
            "status": status, "optimizer": rng.choice(["adam", "sgd"]), "steps": rng.choice([None, 100, 70]),
            "final_loss": rng.choice([None, rng.random(), 1e-9, 2]), "best_loss": rng.random(), "target": target,
            "steps_to_target": hit if target else None, "seconds": rng.random(),
            "scheduler": rng.choice(["constant", "constant", "cosine"]),
            "stopped_at": rng.choice([None, None, "minimum (0, 0)", "saddle (1, 1)"]),
            "lambda_min": rng.choice([None, rng.random()]), "engine": rng.choice(["loop", "loop", "fused"]),
        }  # fmt: skip
        if rng.random() < 0.2:
            facts |= {"data": "digits", "val_accuracy": rng.choice([None, rng.random()])}
        return changes, facts

    for i in range(60):
        changes, facts = drawn(i)
        make_run(top / "folders" / f"{i % 5}" / f"{i}", changes, **facts)
    for i in range(3):
        make_run(top / "sweep" / f"{i}", {"seed": i}, status=("interrupted", "completed", "failed")[i])
    rows = [{"seed": i, "status": ("completed", "interrupted", "interrupted")[i]} for i in range(3)]
    make_table(top / "sweep", [*rows, *({**c, **f} for c, f in map(drawn, range(100, 160)))])
    make_table(top / "other", [{**c, **f, "flag.on": rng.random() < 0.5} for c, f in map(drawn, range(130, 200))])
    shutil.copytree(top / "folders" / "1", top / "copies")
    shutil.copy(top / "sweep" / "runs.parquet", top / "copies" / "runs.parquet")
    (top / "folders" / "2" / "2" / "config.yaml").unlink()
    (top / "folders" / "3" / "3" / "run.json").write_text('{"run_id": ')
    (top / "torn").mkdir()
    (top / "torn" / "runs.parquet").write_bytes(b"PAR1 and nothing")
    return [top, top / "folders" / "1", top / "sweep" / "runs.parquet"]


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"group_by": ["optimizer"]},
    {"group_by": ["optimizer", "lr", "seed"]},
    {"group_by": ["status", "final_loss"]},
    {"filters": ["seed<150", "final_loss<1"]},
    {"filters": ["optimizer=adam", "betas=[0, 0.5]"]},
    {"filters": ["path~*folders*"], "group_by": ["scheduler", "extra.key"]},
    {"filters": ["stopped_at!=null"]},
    {"filters": ["seconds<0.5"]},
    {"filters": ["seconds=null"], "group_by": ["engine", "seconds"]},
]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_a_comparison_is_what_plain_python_makes_of_the_files(tmp_path: Path, seed: int) -> None:
    paths = crowd(tmp_path / "top", random.Random(seed))
    read = {len(chosen): plain_rows(chosen) for chosen in (paths[:1], paths)}
    assert not (tmp_path / "top" / index.NAME).exists()
    for chosen, question in [(paths[:1], q) for q in QUESTIONS] + [(paths, q) for q in QUESTIONS[:2]]:
        slow, differing, bad, notes, runs = plain_compare(read[len(chosen)], **question)
        fast = compare(chosen, **question, pool="group_by" in question)
        assert len(fast.groups) == len(slow) > 0
        for ours, plain in zip(fast.groups, slow, strict=True):
            for name in ("problem", "label", "keys", "n_by_status", "statistics", "stopped_at", "best"):
                assert getattr(ours, name) == getattr(plain, name), (question, name)
            assert list(ours.keys) == list(plain.keys)
            assert ours.rows.rows() == [row.values for row in plain.rows]
            assert [(r.run_id, r.path, r.table) for r in ours.runs] == [
                (row.run.run_id, row.run.path, row.run.table) for row in plain.rows
            ]
            assert ours.n == len(plain.rows)
        assert sorted(fast.differing) == sorted(differing)
        assert [one.path for one in fast.unreadable] == [path for path, _ in bad]  # of tables, pandas says it longer
        assert [one.why for one in fast.unreadable if one.path.suffix != ".parquet"] == [
            why for path, why in bad if path.suffix != ".parquet"
        ]
        assert tuple(note for note in fast.notes if "ranked by steps to the target" not in note) == notes
        pd.testing.assert_frame_equal(fast.runs, runs)
        identities = [sorted(row.run.run_id for row in plain.rows) for plain in slow]
        assert [group["run_ids"] for group in fast.to_json()["groups"]] == identities
    assert (tmp_path / "top" / index.NAME).exists()


def test_a_table_of_other_types_is_read_row_by_row(tmp_path: Path) -> None:
    rows = [summarize({"seed": i, "optimizer.lr": 0.1}, {"final_loss": i / 2}) for i in range(4)]
    frame = pd.DataFrame([{k: v for k, v in row.items() if k != "provenance"} for row in rows])
    changes: dict[str, Any] = {
        "words": {"final_loss": ["0.5", "1", "2", "3"]},
        "flags": {"steps": [True, False, True, True]},
        "status": {"status": ["completed", "splendid", "completed", "completed"]},
        "no id": {"run_id": [None, "b", "c", "d"]},
        "long id": {"run_id": ["a" * 20, "b", "ä", "d"]},
        "twice": {"run_id": ["a" * 12, "a" * 12, "b" * 12, "a" * 12], "final_loss": [1.0, 2.0, 3.0, 4.0]},
        "objects": {"final_loss": pd.Series([1, 2.5, None, 3], dtype=object)},
        "category": {"optimizer": pd.Categorical(["adam", "sgd", "adam", None])},
        "mappings": {"more": [{"a": 1}, {"a": 2}, None, {"a": 3}], "optimizer.list": [[1, 2.0], [], None, [1, 2]]},
        "small": {"steps": np.array([1, 2, 3, 4], dtype=np.uint8), "final_loss": np.float32([0.1, math.nan, 2, 3])},
        "gaps": {"steps": pd.array([1, None, 3, 4], dtype="Int64"), "flag.on": pd.array([True, None, False, None])},
    }
    for name, change in changes.items():
        place = tmp_path / name
        place.mkdir()
        frame.assign(**change).to_parquet(place / "runs.parquet", row_group_size=3)
        if name in ("words", "flags", "status", "no id"):
            fast = records.read([place])
            assert (len(fast), [one.path for one in fast.unreadable]) == (0, [place / "runs.parquet"]), name
            continue
        rows_, bad, _ = plain_rows([place])
        assert not bad
        plain = [{k: v for k, v in row.values.items() if k != "more"} for row in rows_]  # a mapping is no column
        assert records.read([place]).rows() == plain, name
        (slow, *_), fast_groups = plain_compare((rows_, bad, ())), compare([place]).groups
        assert [dict(g.statistics) for g in fast_groups] == [g.statistics for g in slow], name


def test_a_part_of_a_table_is_a_table(tmp_path: Path) -> None:
    make_table(tmp_path / "t", [{"seed": i} for i in range(5)])
    for seed in (7, 8):
        make_run(tmp_path / f"a{seed}", {"seed": seed})
    table = records.read([tmp_path])
    assert table.values("seed") == [row["seed"] for row in table.rows()] == [7, 8, 0, 1, 2, 3, 4]
    assert [run.summary["seed"] for run in table.take(np.array([-1, 0, 1, 2])).runs()] == [4, 7, 8, 0]
    part = table.take(slice(1, 4))
    assert part.values("seed") == part.numbers("seed").tolist() == [8, 0, 1]
    assert part.take(np.array([False, True, True])).values("seed") == [0, 1]
    assert len(table.take(slice(None, None, 2))) == 4
    assert table.values("nothing") == [None] * 7
    assert table.where("seed", lambda value: value > 3).tolist() == [True, True, *[False] * 4, True]
    assert table.tally("status", present=("path",)) == {("completed", True): 2, ("completed", False): 5}
    assert records.RunTable.of(part.rows()).values("seed") == [8, 0, 1]
    flags = records.RunTable.of([{"flag": flag} for flag in (1, True, 1.0, None, 0.5)])
    assert list(map(repr, flags.values("flag"))) == ["1", "True", "1", "None", "0.5"]
    assert "path" in table.names
    assert "path" not in table.take(slice(3, 5)).names


def test_the_order_of_settings_in_a_name_is_that_of_the_last_run(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"optimizer.lr": lr, "optimizer.eps": eps} for lr, eps in ((0.1, 1e-3), (0.2, 1e-4))
    ]
    full = {k: v for k, v in flatten(CONFIG).items() if "." in k and not k.startswith("choices.")}
    straight, backward = ("adam lr=0.1 eps=0.001", "adam eps=0.001 lr=0.1")
    for name, expected in (("a", straight), ("b", backward), ("c", straight), ("d", backward), ("e", straight)):
        order = reversed if expected == backward else iter
        if name == "d":
            rows = [{**full, **change} for change in changes]
            make_table(tmp_path / name, [{**dict(order(list(row.items()))), "seed": 1} for row in rows])
        else:
            for i, change in enumerate(changes):
                row = dict(order(list(change.items())))
                make_run(tmp_path / name / f"{i}", {**row, "seed": ord(name)})
        slow, *_ = plain_compare(plain_rows([tmp_path]))
        assert [group.label for group in compare([tmp_path]).groups] == [group.label for group in slow]
        assert expected in {group.label for group in slow}


def test_columns_of_numbers_of_any_type_are_read_as_floats() -> None:
    """Gaps, parts, whole numbers that no float holds (rounded, not refused), narrow and unsigned ones."""
    whole = pa.chunked_array([pa.array([1, None, 2**60 + 1]), pa.array([None], pa.int64()), pa.array([7, 8, 9])[1:]])
    found = floats_of_arrow(whole).tolist()
    assert [None if v != v else v for v in found] == [1.0, None, float(2**60), None, 8.0, 9.0]
    assert floats_of_arrow(pa.chunked_array([pa.array([1, 2], pa.uint8()), pa.array([], pa.uint8())])).tolist() == [
        1,
        2,
    ]
    kinds = [
        ([3, None, 3, 4], pa.int16()), ([0.5, None, math.nan], pa.float32()), (["a", None], pa.string()),
        ([5, 5, 5], pa.int32()), ([[1, 2], None], pa.list_(pa.int8())), ([None], pa.null()),
        ([True, False, True], pa.bool_()), ([2.0, 2.5], pa.float64()),
    ]  # fmt: skip
    for values, kind in kinds:
        column = of_arrow(pa.chunked_array([pa.array(values, kind)]))
        read = [column.values[code] for code in column.codes.tolist()]
        assert read == [None if v is None or v != v else "[1, 2]" if isinstance(v, list) else v for v in values]


def test_the_curves_of_rows_and_folders_are_those_of_the_runs_whatever_was_asked_for_before(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / f"run{seed}", {"seed": seed})
    make_table(tmp_path / "sweep", [{"seed": seed} for seed in range(10, 15)])
    kept = pd.read_parquet(tmp_path / "sweep" / "curves.parquet")
    kept[kept["run_id"] != kept["run_id"].iloc[0]].to_parquet(tmp_path / "sweep" / "curves.parquet")
    rows = records.read([tmp_path])
    for names in (("step", "loss"), ("loss",), None):
        for part in (rows, *(rows.take(np.array(at, dtype=np.int64)) for at in ([6, 1, 3], [0], []))):
            found, expected = part.curves(names), read_columns(part.runs(), names)
            assert [list(one) for one in found] == [list(one) for one in expected]
            for one, other in zip(found, expected, strict=True):
                for name, column in one.items():
                    np.testing.assert_array_equal(column, other[name], strict=True)
    assert sum(not one for one in rows.curves(None)) == 1, "a row without a curve"


def test_curves_that_are_kept_and_columns_that_are_given_are_what_was_read_and_given(tmp_path: Path) -> None:
    for seed, optimizer in enumerate("abcd"):
        curve = [{"step": k, "loss": seed + 0.5**k, "grad_norm": 1.0} for k in range(seed + 1)]
        make_run(tmp_path / str(seed), {"seed": seed, "optimizer._target_": f"torch.optim.{optimizer}"}, curve)
    names, rows = ("step", "loss", "none"), records.read([tmp_path])
    fresh = [{name: column.tolist() for name, column in one.items()} for one in rows.curves(names)]
    rows.curves(names, keep=True)
    for seed in (1, 2, 3):
        (tmp_path / str(seed) / "metrics.csv").unlink()  # nobody reads them again
    part = rows.with_columns({"final_loss": np.array([1.0, np.nan, 3.0, 4.0]), "status": list("wxyz")}).take([3, 1, 0])
    kept = [{name: column.tolist() for name, column in one.items()} for one in part.curves(names[:2])]
    assert kept == [{name: fresh[i][name] for name in names[:2]} for i in (3, 1, 0)]
    (read,) = rows.take([0]).curves(("step", "grad_norm"))
    assert {name: column.tolist() for name, column in read.items()} == {"step": [0], "grad_norm": [1.0]}, "not kept"
    assert part.values("final_loss") == [4.0, None, 1.0]
    assert part.numbers("final_loss").tolist()[::2] == [4.0, 1.0]
    assert part.present("final_loss").tolist() == [True, False, True]
    assert part.values("status") == ["z", "x", "w"]
    assert rows.values("final_loss") == [one.summary["final_loss"] for one in rows.runs()], "the first is as it was"
