"""Records: what is written reads back to the bit, what is torn never reads as a result, reading executes nothing."""

from __future__ import annotations

import itertools
import json
import math
import os
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import CONFIG, CURVE, configure, make_run, make_table

from optbench import records
from optbench.errors import OutputError, RecordError
from optbench.records.curves import columns_of, columns_of_csv, columns_of_csvs
from optbench.records.files import read_bytes, rows_of
from optbench.records.run import read_columns
from optbench.records.seal import sum_of_bytes
from optbench.records.sweep_plan import write_plan
from optbench.records.table import read
from optbench.records.tables import add_curves, add_rows, remove_folders
from optbench.records.vocabulary import curve_columns, kept_checkpoint, kept_checkpoints
from optbench.records.write import locked, write_together

property_test = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.floats(allow_nan=True, allow_infinity=True)
words = st.text(st.characters(codec="utf-8", exclude_characters=["\0"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
names = st.text("abcdefghij_", min_size=1, max_size=5)
configs = st.recursive(
    st.dictionaries(names, scalars | words.filter(lambda w: "${" not in w) | st.lists(scalars, max_size=3), max_size=4),
    lambda inner: st.dictionaries(names, inner | scalars, max_size=3),
    max_leaves=8,
)


def same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


# curves


@property_test
@given(st.lists(st.tuples(numbers, st.none() | numbers), min_size=1, max_size=12))
def test_a_curve_reads_back_to_the_bit(tmp_path: Path, rows: list[tuple[float, float | None]]) -> None:
    curve = [{"step": i, "loss": loss, "val_loss": val} for i, (loss, val) in enumerate(rows)]
    found = records.read_run(make_run(tmp_path / "run", curve=curve)).curve()
    assert found["step"].tolist() == list(range(len(rows)))
    for name, column in (("loss", [r[0] for r in rows]), ("val_loss", [r[1] for r in rows])):
        expected = [math.nan if value is None else value for value in column]
        if all(map(math.isnan, expected)):
            assert name not in found  # nothing to say: absent, never 0
        else:
            assert all(itertools.starmap(same, zip(found[name], expected, strict=True)))


def test_array_scalars_are_written_as_numbers(tmp_path: Path) -> None:
    with_arrays = [{"step": np.int64(3), "loss": np.float64(0.1), "lr": np.float32(0.5), "x0": float("-inf")}]
    folder = make_run(tmp_path, curve=with_arrays)
    assert (folder / "metrics.csv").read_text() == "step,loss,lr,x0\n3,0.1,0.5,-inf\n"


def test_a_curve_torn_at_any_byte_keeps_exactly_its_whole_lines(tmp_path: Path) -> None:
    whole = (make_run(tmp_path / "whole") / "metrics.csv").read_bytes()
    run = records.read_run(make_run(tmp_path / "torn"))
    for size in range(len(whole) + 1):
        (tmp_path / "torn" / "metrics.csv").write_bytes(whole[:size])
        lines = max(0, whole[:size].count(b"\n") - 1)
        curve = run.curve()
        assert len(curve) == lines
        assert list(curve.get("loss", [])) == [row["loss"] for row in CURVE[:lines]]


def test_resuming_after_a_torn_line_continues_before_the_step(tmp_path: Path) -> None:
    path = make_run(tmp_path) / "metrics.csv"
    path.write_bytes(path.read_bytes() + b"150,151,0.7")
    columns = path.read_text().split("\n")[0].split(",")
    writer = records.CurveWriter(path, columns, keep_before=100)
    writer.write({"step": 100, "loss": 7.0})
    writer.flush()
    assert [(row["step"], row["loss"]) for row in records.read_rows(path)] == [
        ("0", "24.2"),
        ("50", "3.5"),
        ("100", "7.0"),
    ]
    writer.close()
    writer.close()
    restarted = records.CurveWriter(path, columns)
    restarted.close()
    assert records.read_rows(path) == []


def test_every_row_of_a_long_curve_is_written_once_whenever_it_is_asked_for(tmp_path: Path) -> None:
    def lines(rows: int) -> bytes:
        return ("step,loss\n" + "".join(f"{step},{0.5 * step}\n" for step in range(rows))).encode()

    path = tmp_path / "metrics.csv"
    writer = records.CurveWriter(path, ["step", "loss"])
    for step in range(200):
        writer.write({"step": step, "loss": 0.5 * step})
        if step % 30 == 7:
            writer.flush()
            assert [int(row["step"]) for row in records.read_rows(path)] == list(range(step + 1))
        if step % 50 == 3:
            assert writer.sum == sum_of_bytes(lines(step + 1))
    writer.close()
    assert path.read_bytes() == lines(200)
    assert writer.sum == sum_of_bytes(lines(200))


def test_a_curve_that_is_no_table_is_refused_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    run = records.read_run(make_run(tmp_path))
    (tmp_path / "metrics.csv").write_text("step,loss\n0," + "9" * 200_000 + "\n")
    with pytest.raises(RecordError, match=r"metrics\.csv"):
        run.curve()
    (tmp_path / "metrics.csv").write_text("step,loss\n0,1.5\n1,2.5,3.5\n2\n3,word\n")
    assert run.curve()["loss"].tolist()[0] == 1.5
    assert run.curve()["step"].tolist() == [0, 3]
    (tmp_path / "metrics.csv").unlink()
    assert run.curve().empty


# JSON and YAML


@property_test
@given(configs)
def test_json_and_yaml_read_back(tmp_path: Path, value: dict[str, Any]) -> None:
    records.write_json(tmp_path / "value.json", value)
    assert records.read_json(tmp_path / "value.json") == value
    records.write_yaml(tmp_path / "value.yaml", value)
    assert records.read_config(tmp_path / "value.yaml") == value
    assert records.run_id(records.read_config(tmp_path / "value.yaml")) == records.run_id(value)


def test_json_is_strict_and_yaml_keeps_infinity(tmp_path: Path) -> None:
    value = {"a": math.inf, "b": [math.nan, np.float64(1.5), (1, 2)], "c": records.Status.FAILED, "d": Path("x/y")}

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(records.to_json(value), parse_constant=refuse) == {
        "a": None, "b": [None, 1.5, [1, 2]], "c": "failed", "d": "x/y",
    }  # fmt: skip
    records.write_yaml(tmp_path / "config.yaml", {"trainer": {"max_norm": math.inf}})
    assert records.read_config(tmp_path / "config.yaml") == {"trainer": {"max_norm": math.inf}}


@pytest.mark.parametrize("size", range(0, 60, 7))
def test_torn_json_is_no_run(tmp_path: Path, size: int) -> None:
    whole = (make_run(tmp_path) / "run.json").read_bytes()
    (tmp_path / "run.json").write_bytes(whole[:size])
    with pytest.raises(RecordError, match=r"run\.json"):
        records.read_run(tmp_path)


@pytest.mark.parametrize(
    ("summary", "complaint"),
    [
        ([], "one JSON object"),
        ({"status": "completed"}, "no run_id"),
        ({"run_id": "a"}, "no run_id or status"),
        ({"run_id": "a", "status": "splendid"}, "unknown status 'splendid'"),
        ({"run_id": "a", "status": "completed", "final_loss": "low"}, "final_loss='low' is not a number"),
        ({"run_id": "a", "status": "completed", "steps": True}, "steps=True is not a number"),
    ],
)
def test_json_that_is_no_summary_is_refused(tmp_path: Path, summary: Any, complaint: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps(summary))
    with pytest.raises(RecordError, match=complaint):
        records.read_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases"),
        ("model: {_target_: '${oc.env:HOME}'}\n", "interpolation"),
        ("model: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("model: !!python/name:os.system\n", "could not determine a constructor"),
        ("- 1\n- 2\n", "expected a mapping"),
        ("", "expected a mapping"),
        ("a: [1\n", "config.yaml"),
        ("a: " + "[" * 200_000, "nested deeper"),
        ("a: " + "x" * (5 << 20), "is no configuration"),
        ("a: \x00\n", "config.yaml"),
    ],
    ids=["alias", "laughs", "interpolation", "call", "name", "list", "empty", "torn", "deep", "large", "binary"],
)
def test_a_configuration_that_is_not_plain_data_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    run = records.read_run(make_run(tmp_path))
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RecordError, match=complaint):
        _ = run.config


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"a":' * 100_000)
    with pytest.raises(RecordError):
        records.read_run(tmp_path)


def test_both_yaml_loaders_refuse_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = records.read_run(make_run(tmp_path))
    expected = run.config
    monkeypatch.setattr("optbench.records.files._YAML_LOADER", yaml.SafeLoader)
    assert run.config == expected
    (tmp_path / "config.yaml").write_text("a: " + "[" * 1000)
    with pytest.raises(RecordError, match="nested deeper"):
        _ = run.config


# identity


def shuffled(value: Any) -> Any:
    return {k: shuffled(v) for k, v in reversed(value.items())} if isinstance(value, dict) else value


@property_test
@given(configs, names, scalars, scalars)
def test_run_id_is_of_the_values_not_of_their_order(config: dict[str, Any], key: str, a: Any, b: Any) -> None:
    made = records.run_id({**config, key: a})
    assert records.run_id(shuffled({**config, key: a})) == made
    assert len(made) == 12
    assert (records.run_id({**config, key: b}) == made) == (json.dumps(a) == json.dumps(b))


NO_MATTER = {"trainer.device", "trainer.threads", "trainer.checkpoint_every", "trainer.keep_every", "data.root",
             "trainer.unlabelled"}  # fmt: skip
"""Written out here: whatever else changes a configuration makes another run. What is below the last two counts by its
contents."""


def every_setting() -> set[str]:
    """The dotted keys of a run on a surface and of one on a network, as they are composed."""
    from optbench.config import Composer

    with Composer() as composer:
        made = [composer.compose(words).config for words in (["optimizer=adam"], ["model=mlp", "optimizer=sgd"])]
    keys = {key for config in made for key in records.flatten(config) if not key.startswith("choices.")}
    return keys | {"data.root", "loss.weight", "scheduler.gamma"}


def test_run_id_changes_with_every_setting_but_those_that_do_not_matter() -> None:
    made, known = records.run_id(CONFIG), every_setting()
    assert {"trainer.divergence_factor", "trainer.grad_tol", "trainer.eval_every", "seed", "n_outputs"} <= known
    assert known >= NO_MATTER
    pseudo = {key for key in known if key.startswith("trainer.pseudo_")}
    assert len(pseudo) == 5
    for key in known | set(records.flatten(CONFIG)):
        changed = records.run_id(configure({key: "another"}))
        idle = key in pseudo  # without unlabelled pictures
        assert (changed == made) == (key in NO_MATTER or key.startswith("choices.") or idle), key
    made = records.run_id(configure({"trainer.unlabelled": "there"}))
    for key in pseudo:
        assert records.run_id(configure({"trainer.unlabelled": "there", key: "another"})) != made, key
    assert records.run_id(CONFIG, "fingerprint") != made


def test_run_id_is_known_and_stable() -> None:
    # printf '[1, null, {"a.b": 1}]' | sha256sum; a change of this value makes every recorded run another run
    assert records.NUMERICS == 1
    assert records.run_id({"a": {"b": 1}}) == "135abff1fc74"


def test_a_changed_configuration_is_noticed(tmp_path: Path) -> None:
    made = records.run_id(CONFIG)
    records.write_json(tmp_path / "run.json", {"run_id": made, "status": "completed"})
    records.write_yaml(tmp_path / "config.yaml", shuffled(CONFIG))
    records.verify_identity(records.read_run(tmp_path))
    records.write_yaml(tmp_path / "config.yaml", configure({"optimizer.lr": 0.02}))
    with pytest.raises(RecordError, match="changed after the run"):
        records.verify_identity(records.read_run(tmp_path))


def test_flatten() -> None:
    assert records.flatten({"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}}) == {
        "a.b.c": 1, "a.d": [1, {"e": 2}], "f": {},
    }  # fmt: skip


# scanning


def test_scan_finds_runs_at_any_depth_and_names_what_is_broken(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "deep" / "good")
    make_table(tmp_path / "sweeps" / "one", [{"seed": 1}, {"seed": 2}])
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"run_id": "x"')
    (tmp_path / "never_started").mkdir()
    (tmp_path / "never_started" / "metrics.csv").write_text("step,loss\n")
    (tmp_path / "notatable").mkdir()
    (tmp_path / "notatable" / "runs.parquet").write_bytes(b"PAR1 nonsense")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("nothing to see")
    table = records.read([tmp_path])
    found, bad = table.runs(), table.unreadable
    assert sorted(run.summary["seed"] for run in found) == [0, 1, 2]
    assert sorted(place.path.relative_to(tmp_path).as_posix() for place in bad) == [
        "never_started", "notatable/runs.parquet", "torn",
    ]  # fmt: skip
    assert "no run.json" in next(b.why for b in bad if b.path.name == "never_started")


@pytest.mark.parametrize(("error", "said"), [(PermissionError(13, "Permission denied"), 1), (FileNotFoundError(), 0)])
def test_results_that_may_lie_in_a_folder_that_cannot_be_listed_are_not_left_out_in_silence(
    error: OSError, said: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "open" / "run")
    make_run(tmp_path / "closed" / "run")
    listed = os.scandir

    def scandir(place: str) -> Any:  # as root, whoever runs the tests may list everything
        if Path(place) == tmp_path / "closed":
            raise error
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    table = records.read([tmp_path])
    assert len(table) == 1
    assert [(bad.path.name, "Permission denied" in bad.why) for bad in table.unreadable] == [("closed", True)] * said


def test_scan_takes_folders_files_and_tables_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "a")
    make_table(tmp_path / "t", [{"seed": 1}])
    monkeypatch.chdir(tmp_path)
    places = [tmp_path, folder, folder / "run.json", tmp_path / "t" / "runs.parquet", Path("a"), Path("./t")]
    table = records.read(places)
    assert (len(table), table.unreadable) == (2, ())
    with pytest.raises(RecordError, match="no such file or folder"):
        records.read([tmp_path / "nowhere"])
    with pytest.raises(RecordError, match="no such folder"):
        records.read_run(tmp_path / "nowhere")


def test_the_sweeps_tables_give_runs_and_their_curves(tmp_path: Path) -> None:
    made = make_table(tmp_path, [{"seed": s, "optimizer.lr": 0.1 * s, "final_loss": 1.0 / s} for s in (1, 2, 3)])
    found = records.read([tmp_path]).runs()
    assert [run.run_id for run in found] == [row["run_id"] for row in made]
    assert [run.summary["final_loss"] for run in found] == [1.0, 0.5, 1 / 3]
    assert found[0].summary["val_accuracy"] is None
    assert found[0].status is records.Status.COMPLETED
    assert found[0].reason == "100 steps done"
    curve = found[1].curve()
    folder = records.read_run(make_run(tmp_path / "folder", curve=CURVE[:2]))
    together = records.read_curves([found[2], folder, found[1]])
    assert [len(one) for one in together] == [3, 2, 3]
    assert together[2].equals(curve)
    assert together[0].equals(found[2].curve())
    assert curve["loss"].tolist() == [row["loss"] for row in CURVE]
    assert "run_id" not in curve
    assert "val_loss" not in curve
    assert found[0].config["optimizer"]["lr"] == 0.1
    assert found[0].config["seed"] == 1
    assert found[0].config["choices"]["model"] == found[0].summary["model"]
    (tmp_path / "curves.parquet").write_bytes(b"torn")
    with pytest.raises(RecordError, match=r"curves\.parquet"):
        found[0].curve()
    (tmp_path / "curves.parquet").unlink()
    assert found[0].curve().empty


def test_only_failed_and_interrupted_runs_are_worth_repeating() -> None:
    assert {s for s in records.Status if not s.final} == {records.Status.FAILED, records.Status.INTERRUPTED}


# writing


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    records.write_json(path, {"a": 1})

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match="No space left") as caught:
        records.write_json(path, {"a": 2})
    assert "free some space" in caught.value.hint
    assert records.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_place_is_tried_before_long_work_and_nothing_is_left_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    before = sorted(tmp_path.iterdir())
    records.check_place(tmp_path / "new.html")
    records.check_place(tmp_path / "file")
    records.check_place(tmp_path / "a" / "b" / "new.html")
    records.check_place(tmp_path, folder=True)
    records.check_place(tmp_path / "a" / "b", folder=True)
    for path, folder, why in (
        (tmp_path, False, "it is a folder"),
        (tmp_path / "file" / "new.html", False, "Not a directory"),
        (tmp_path / "file", True, "Not a directory"),
        (tmp_path / "file" / "below", True, "Not a directory"),
        (tmp_path / ("a" * 300), False, "too long"),
        (tmp_path / ("a" * 250), False, "too long"),  # the name that it is written under first is longer
    ):
        with pytest.raises(OutputError, match=f"cannot write .*: .*{why}"):
            records.check_place(path, folder)
    assert sorted(tmp_path.iterdir()) == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for write in (records.write_json, records.write_yaml):
        with pytest.raises(OutputError, match="cannot write"):
            write(tmp_path / "file" / "run.json", {})
    with pytest.raises(OutputError, match="cannot write"):
        records.CurveWriter(tmp_path / "file" / "metrics.csv", ["step"])


@pytest.mark.parametrize("length", [0, 9, 10, 200_000])
def test_a_file_is_read_up_to_its_limit_and_not_beyond(length: int, tmp_path: Path) -> None:
    data = bytes(i % 251 for i in range(length))
    (tmp_path / "file").write_bytes(data)
    assert read_bytes(tmp_path / "file", most=length) == data
    assert read_bytes(tmp_path / "file", most=length + 1) == data
    for most in {max(0, length - 1), 0} - {length}:
        with pytest.raises(ValueError, match=f"larger than {most} bytes"):
            read_bytes(tmp_path / "file", most=most)


def test_settings_are_written_in_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    records.write_yaml(tmp_path / "config.yaml", {"model": {"z": 1, "a": None}, "augment": [2, 1]})
    assert (tmp_path / "config.yaml").read_text() == "model:\n  z: 1\n  a: null\naugment:\n- 2\n- 1\n"


WRITERS = {
    "rows": lambda folder: add_rows(folder, {"run_id": ["b"], "status": ["completed"]}, {"run_id": []}),
    "curves": lambda folder: add_curves(folder, {"run_id": ["b"], "step": [0]}),
    "plan": lambda folder: write_plan(folder, ["seeds=2"], ["b"]),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_folder_is_made_with_all_that_it_lies_in(write: Callable[[Path], Any], tmp_path: Path) -> None:
    for _ in range(2):  # the second time it is there
        write(tmp_path / "one" / "two")
    assert {path.name for path in (tmp_path / "one" / "two").iterdir()} & {
        "runs.parquet",
        "curves.parquet",
        "sweep.json",
    }


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_second_writer_waits_for_the_first(write: Callable[[Path], Any], tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    with futures.ThreadPoolExecutor() as pool:
        with records.locked(tmp_path):
            second = pool.submit(write, tmp_path)
            with pytest.raises(futures.TimeoutError):
                second.result(timeout=0.2)
            held = {path for path in tmp_path.iterdir() if path.suffix in (".parquet", ".json")}
        second.result()
    assert held == before
    assert {path.name for path in tmp_path.iterdir()} & {"runs.parquet", "curves.parquet", "sweep.json"}


def test_numbers_of_a_curve_are_whole_where_all_of_them_are() -> None:
    """The index `step` and the count `evals` are integers; a loss never is, and a gap or a half keeps floats."""
    rows = [{"step": "0", "evals": "1", "loss": "3", "lr": ""}, {"step": "2", "evals": "4", "loss": "1", "lr": ""}]
    found = columns_of(rows)
    assert {name: values.dtype.kind for name, values in found.items()} == {"step": "i", "evals": "i", "loss": "f"}
    assert found["step"].tolist() == [0, 2]
    for odd in ("1.5", "", "x"):
        assert columns_of([*rows, {**rows[0], "step": odd}])["step"].dtype.kind == "f"
    assert columns_of([]) == {}


cells = st.sampled_from(
    ["", "0", "1.5", "nan", "inf", "-Infinity", " 2 ", "1_0", "x", '"3"', '"a,b"', "é", "\0", "1e-310", "0x1F", "1e999",
     "-nan", "NA", "null", "+5", "1.", ".5", "007", "9007199254740993", "12345678901234567890", "\t3", "2e", "\ufeff1"]
)  # fmt: skip
cells |= st.floats().map(repr)
lines = st.lists(st.lists(cells, min_size=2, max_size=4), max_size=6)
headers = st.lists(st.sampled_from(["step", "evals", "loss", "lr", ' "x"', "seconds"]), min_size=1, max_size=4)


@settings(max_examples=100)
@given(headers, lines, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "7,8", "\n", '"']), st.booleans())
def test_a_file_cut_at_its_commas_is_what_a_reader_of_csv_makes_of_it(
    header: list[str], rows: list[list[str]], end: str, torn: str, even: bool
) -> None:
    """Whatever is in it: quotes, too few or too many cells, names that come twice, lines that are blank or torn."""
    rows = [(row * 4)[: len(header)] if even else row for row in rows]
    data = (end.join(",".join(row) for row in [header, *rows]) + end + torn).encode()
    whole = columns_of(rows_of(data, Path("metrics.csv")))
    for names in (None, ("loss", "step"), ("lr",), ()):
        found = columns_of_csv(data, "metrics.csv", names)
        expected = {name: values for name, values in whole.items() if names is None or name in names}
        assert list(found) == list(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, strict=True)


@settings(max_examples=100)
@given(
    headers, st.lists(st.tuples(lines, st.sampled_from(["", "7,8", "\n", '"'])), min_size=1, max_size=3), st.booleans()
)
def test_curves_that_are_read_at_once_are_those_that_are_read_one_by_one(
    header: list[str], files: list[tuple[list[list[str]], str]], even: bool
) -> None:
    """Arrow's numbers are Python's, and what only one of the two takes for a number decides nothing."""
    numbers = [[str(i), repr(0.1 * i), "", "1e-3", "nan", "-0"] for i in range(3)]
    bodies = [
        (numbers, ""),
        *(([(row * 4)[: len(header)] if even else row for row in rows], torn) for rows, torn in files),
    ]
    written = [
        (str(i), ("\n".join(",".join(row[: len(header)]) for row in [header, *rows]) + "\n" + torn).encode())
        for i, (rows, torn) in enumerate(bodies)
    ]
    for names in (None, ("loss", "step"), ()):
        together = columns_of_csvs(written, names, at_once=True)
        for (path, data), found in zip(written, together, strict=True):
            expected = columns_of_csv(data, path, names)
            assert list(found) == list(expected)
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, strict=True)


def test_what_no_reader_of_csv_takes_is_refused_whatever_is_wanted() -> None:
    long = b"step,loss\n0," + b"1" * 200_000 + b"\n"
    for names in (None, ("step",), ("loss",)):
        with pytest.raises(RecordError, match="field larger"):
            columns_of_csv(long, "metrics.csv", names)
        with pytest.raises(RecordError, match="field larger"):
            columns_of_csvs([("metrics.csv", long)], names, at_once=True)
    assert columns_of_csv(b"", "metrics.csv") == columns_of_csv(b"step,loss", "metrics.csv") == {}


def test_of_folders_and_tables_the_wanted_columns_are_read(tmp_path: Path) -> None:
    make_run(tmp_path / "folders")
    make_table(tmp_path / "rows", [{"seed": 1}, {"seed": 2}])
    runs = read([tmp_path]).runs()
    assert len({run.path is None for run in runs}) == 2
    for run, whole, part in zip(runs, read_columns(runs), read_columns(runs, ("loss", "seconds", "none")), strict=True):
        assert set(part) == {"loss", "seconds", "none"} & set(whole)
        assert all(np.array_equal(part[name], whole[name]) for name in part), run


def test_kept_weights_are_found_by_epoch(tmp_path: Path) -> None:
    assert kept_checkpoint(7) == "checkpoints/epoch-0007"
    for name in ("epoch-0010.pt", "epoch-0002.pt", "epoch-12345.pt", "epoch-x.pt", "epoch-.pt", "epoch-0003.txt"):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / name).write_bytes(b"")
    found = kept_checkpoints(tmp_path)
    assert list(found) == [2, 10, 12345]
    assert found[2] == tmp_path / "checkpoints" / "epoch-0002.pt"


def test_the_columns_of_a_curve_depend_on_the_run() -> None:
    def names(*given: Any) -> list[str]:
        return [column.name for column in curve_columns(*given)]

    common = ["step", "evals", "seconds", "lr", "loss", "grad_norm"]
    assert names(2, False) == [*common, "x0", "x1"]
    assert len(names(10, False)) == len(common) + 10
    assert names(11, False) == names(None, False) == common
    network = names(None, True)
    assert set(network) == {*common, "epoch", "val_loss", "val_accuracy", "train_accuracy"}
    assert network == [name for name in records.CURVE_COLUMNS if name in network]
    assert names(None, True, True)[-3:] == ["lambda_min", "lambda_max", "full_grad_norm"]
    assert [(c.name, c.in_rows) for c in curve_columns(1, False) if c.in_rows] == [
        ("step", "step"), ("evals", "step"), ("lr", "lr"), ("loss", "loss"), ("grad_norm", "grad_norm"), ("x0", "x0")
    ]  # fmt: skip


def test_a_folder_that_cannot_be_removed_whole_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are in the table already: a file that another program holds open costs its own folder alone."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
        (folder / "run.json").write_text("{}")
    unlink = os.unlink

    def refuse(path: Any, *args: Any, **options: Any) -> None:
        if str(path).endswith("run.json") and refused.append(path) is None and len(refused) == 1:
            raise PermissionError(13, "held open")
        unlink(path, *args, **options)

    refused: list[Any] = []
    monkeypatch.setattr(os, "unlink", refuse)
    remove_folders([*folders, tmp_path / "never made"])
    assert [folder.is_dir() for folder in folders] == [True, False, False]


def test_a_folder_that_is_held_is_refused_at_once_or_waited_for(tmp_path: Path) -> None:
    """flock counts by open file, so that a second handle in one process is another process to it."""
    with locked(tmp_path):
        with pytest.raises(OutputError, match="is being written by another process"), locked(tmp_path):
            pass
        with pytest.raises(OutputError, match="is being written"), locked(tmp_path, wait=0.06):
            pass
    held = locked(tmp_path)
    held.__enter__()
    threading.Timer(0.1, held.__exit__, (None, None, None)).start()
    with locked(tmp_path, wait=60.0):
        pass


def test_files_that_are_written_together_get_their_names_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []
    replace = os.replace

    def noted(source: Any, target: Any) -> None:
        named.append(Path(target).name)
        if Path(target).name == "refused":
            raise PermissionError(13, "not this one", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    folder = tmp_path / "new"
    write_together({})
    write_together({folder / "b": b"1", folder / "a": memoryview(b"22")})
    assert (named, (folder / "b").read_bytes(), (folder / "a").read_bytes()) == (["b", "a"], b"1", b"22")
    with pytest.raises(OutputError, match="refused: not this one"):
        write_together({folder / "b": b"3", folder / "refused": b"4", folder / "c": b"5"})
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]  # nothing is left beside them
    assert (folder / "b").read_bytes() == b"3"
