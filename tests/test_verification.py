"""Recorded runs, run again: what comes again, what was edited, and what an edit with right checksums cannot hide."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_tools import invoke
from hypothesis import given
from hypothesis import strategies as st

import optbench
from optbench import Run
from optbench.experiment import Stop
from optbench.records import read_run, write_sealed
from optbench.records.whole import part_sums
from optbench.verification import Verdict, Verified, _curve_differences, _relative, choose, verify

TOY = ["model=rosenbrock", "optimizer=momentum", "trainer.steps=30", "trainer.start=random", "seed=3"]
NETWORK = ["model=mlp", "model.hidden=[8]", "data.image_size=8", "trainer.epochs=1", "trainer.batch_size=500",
           "trainer.threads=1"]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = optbench.run(*TOY, out=tmp_path_factory.mktemp("made"))
    assert run.path is not None
    return run.path


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / made.name))


def again(folder: Path, **options: Any) -> Verified:
    (found,) = verify([read_run(folder)], Stop(), **options)
    return found


def forged(folder: Path, summary: Mapping[str, Any], provenance: Mapping[str, Any] = {}) -> None:
    """Changes a record and makes all of its checksums anew, as somebody would who knows how."""
    row = json.loads((folder / "run.json").read_text())
    row |= summary
    row["provenance"].pop("checksum")
    row["provenance"] |= {**provenance, "files": part_sums(folder)}
    row["provenance"]["checksum"] = write_sealed(folder / "run.json", row)


def test_a_run_comes_again_to_the_bit(made: Path) -> None:
    found = again(made)
    assert (found.verdict, found.differences, found.elsewhere) == (Verdict.SAME, (), {})
    assert found.rows == 31  # the start and 30 updates


def test_a_network_comes_again_to_the_bit(tmp_path: Path) -> None:
    run = optbench.run(*NETWORK, out=tmp_path)
    assert run.path is not None
    found = again(run.path)
    assert found.verdict is Verdict.SAME
    assert found.rows > 1


def test_the_record_is_left_as_it_was(made: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in made.iterdir()}
    again(made)
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in made.iterdir()}


@pytest.mark.parametrize(("name", "by"), [("final_loss", 1e-15), ("best_loss", 0.5), ("final_grad_norm", 2.0)])
def test_a_forged_number_does_not_come_again(folder: Path, name: str, by: float) -> None:
    true = read_run(folder).summary[name]
    forged(folder, {name: true * (1 + by)})
    found = again(folder)
    assert found.verdict is Verdict.DIFFERENT
    (one,) = found.differences
    assert (one.name, one.found, one.step) == (name, true, None)
    assert one.relative == pytest.approx(by / (1 + by), rel=0.2)


def test_a_forged_curve_is_named_by_its_first_step(folder: Path) -> None:
    lines = (folder / "metrics.csv").read_text().splitlines()
    at = lines[0].split(",").index("loss")
    for row in (13, 20):  # rows 12 and 19 of the curve
        cells = lines[row].split(",")
        cells[at] = repr(float(cells[at]) * 1.5)
        lines[row] = ",".join(cells)
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    forged(folder, {})
    found = again(folder)
    assert found.verdict is Verdict.DIFFERENT
    assert [(one.name, one.step) for one in found.differences] == [("loss", 12)]
    assert found.differences[0].relative == pytest.approx(1 / 3)


def test_another_status_is_another_result(folder: Path) -> None:
    forged(folder, {"status": "converged"})
    found = again(folder)
    assert found.verdict is Verdict.DIFFERENT
    assert "it was converged, now it is completed" in found.reason


def test_elsewhere_other_bits_are_a_distance_and_a_tolerance_rules(folder: Path) -> None:
    true = read_run(folder).summary["final_loss"]
    forged(folder, {"final_loss": true * (1 + 1e-9)}, {"processor": "another one"})
    found = again(folder)
    assert found.verdict is Verdict.APART
    assert found.elsewhere["processor"][0] == "another one"
    assert again(folder, tolerance=1e-8).verdict is Verdict.APART
    assert again(folder, tolerance=1e-10).verdict is Verdict.DIFFERENT


def test_of_algorithms_that_do_not_repeat_other_bits_are_no_other_result(folder: Path) -> None:
    """A GPU without trainer.deterministic: the record says so, wherever it is run again."""
    true = read_run(folder).summary["final_loss"]
    forged(folder, {"final_loss": true * (1 + 1e-9)}, {"deterministic": False, "device_name": "a GPU"})
    found = again(folder)
    assert found.verdict is Verdict.APART
    assert "by timing them" in found.elsewhere["choice of algorithms"][0]
    assert found.elsewhere["device_name"][0] == "a GPU"


def test_another_commit_is_no_excuse(folder: Path) -> None:
    true = read_run(folder).summary["final_loss"]
    forged(folder, {"final_loss": true * 1.5}, {"git_commit": "0" * 40, "host": "another", "started": "long ago"})
    assert again(folder).verdict is Verdict.DIFFERENT


def test_code_that_is_not_trusted_does_not_run(folder: Path) -> None:
    from optbench.records import run_id, write_yaml

    run = read_run(folder)
    config = run.config
    config["optimizer"]["_target_"] = "os.system"
    write_yaml(folder / "config.yaml", config)
    forged(folder, {"run_id": run_id(config)})
    found = again_at(folder, run_id(config))
    assert found.verdict is Verdict.NOT_RUN
    assert "os.system is named by no trusted config" in found.reason


def again_at(folder: Path, run_id: str) -> Verified:
    """The same of a folder whose name says another run."""
    there = folder.with_name(folder.name[:-12] + run_id)
    folder.rename(there)
    return again(there)


def test_a_configuration_that_was_changed_is_another_runs(made: Path) -> None:
    run = read_run(made)
    row = Run({**run.summary, "config": json.dumps({**run.config, "trainer": {**run.config["trainer"], "steps": 31}})})
    (found,) = verify([row], Stop())
    assert found.verdict is Verdict.EDITED
    assert "it was changed" in found.reason


def test_what_did_not_end_is_not_repeated(folder: Path) -> None:
    forged(folder, {"status": "failed"})
    assert again(folder).verdict is Verdict.NOT_RUN


OWN = """
from optbench import AbstractPureOptimizer


class Mine(AbstractPureOptimizer):
    memories = ()

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @staticmethod
    def pure(x, gradient, memory, hyper, t):
        return x - hyper["lr"] * gradient, {}
"""


def test_an_edited_optimizer_of_ones_own_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "conf"
    (conf / "optimizer").mkdir(parents=True)
    (conf / "optimizer" / "mine.yaml").write_text("_target_: verified_mine.Mine\n_partial_: true\nlr: 0.001\n")
    (conf / "verified_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(conf))
    run = optbench.run("model=sphere", "optimizer=mine", "trainer.steps=3", config_dir=conf, out=tmp_path / "runs")
    assert run.path is not None
    assert run.status == "completed", run.reason
    untrusted = again(run.path)
    assert untrusted.verdict is Verdict.NOT_RUN  # not trusted without the folder
    assert "--config-dir" in untrusted.reason
    assert again(run.path, config_dirs=[conf]).verdict is Verdict.SAME
    (conf / "verified_mine.py").write_text(OWN.replace("x - hyper", "x - 2 * hyper"))
    found = again(run.path, config_dirs=[conf])
    assert found.verdict is Verdict.NOT_RUN
    assert found.reason == "the source of its optimizer is not what it was"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep whose runs are rows of one table, six of the 24 with a curve."""
    folder = tmp_path_factory.mktemp("rows")
    words = ["model=sphere", "optimizer=adam", "optimizer.lr=0.1,0.2", "seeds=12", "trainer.start=random",
             "trainer.steps=5"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["optbench", "sweep", *words, "--curves", "6", "-q", "--out", str(folder),
                                   "--name", "rows", "--engine", "fused"])  # fmt: skip
        from optbench.cli import main

        with pytest.raises(SystemExit):
            main()
    assert (folder / "rows" / "runs.parquet").exists()
    return folder


def test_rows_of_a_sweep_come_again_with_and_without_a_curve(rows: Path) -> None:
    chosen = choose([rows])
    assert (chosen.found, len(chosen.runs)) == (24, 24)
    found = list(verify(chosen.runs, Stop()))
    assert {one.verdict for one in found} == {Verdict.SAME}
    assert sorted({one.rows for one in found}) == [0, 6]
    assert sum(one.rows > 0 for one in found) == 6


@pytest.mark.parametrize("name", ["runs", "curves"])
def test_a_table_that_another_program_wrote_is_named(
    rows: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pandas does, an edit writes the table anew: without a checksum, though every run of a sample comes again."""
    from pyarrow import parquet

    there = tmp_path / "rows"
    shutil.copytree(rows / "rows", there)
    assert choose([there]).unsealed == ()
    table = there / f"{name}.parquet"
    parquet.write_table(parquet.read_table(table), table)
    code, out, _ = invoke(capsys, "verify", there, "--sample", "1", "-q")
    assert code == 1
    assert "1 of 24 runs looked at: 1 same bits" in out
    assert "no checksum" in out
    assert f"another program wrote this, or an optbench of before there were checksums\n  {table}\n" in out
    assert json.loads(invoke(capsys, "verify", there, "--sample", "1", "--json")[1])["unsealed"] == [str(table)]


def test_a_record_whose_checksum_was_taken_out_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "run.json"
    file.write_text(re.sub(r',\n +"checksum": "[0-9a-f]{8}"', "", file.read_text()))
    code, out, _ = invoke(capsys, "verify", folder, "-q")
    assert (code, "1 same bits" in out, f"\n  {file}" in out) == (1, True, True)


def test_a_sample_is_the_same_whatever_the_order(rows: Path, made: Path) -> None:
    first, second = choose([rows, made], 7), choose([made, rows], 7)
    assert {run.run_id for run in first.runs} == {run.run_id for run in second.runs}
    assert (first.found, len(first.runs)) == (25, 7)
    assert {run.run_id for run in choose([rows, made], 4).runs} < {run.run_id for run in first.runs}


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = invoke(capsys, "verify", folder, "-q")
    assert (code, err) == (0, "")
    assert "same bits" in out
    assert "1 of 1 runs looked at: 1 same bits" in out
    forged(folder, {"final_loss": 0.0})
    code, out, _ = invoke(capsys, "verify", folder, "--json")
    found = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert code == 1
    assert found["runs"][0]["verdict"] == "different"


def test_the_command_tells_of_an_edited_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"steps": 30', '"steps": 29'))
    code, out, _ = invoke(capsys, "verify", folder)
    assert code == 1
    assert "1 record is not believed" in out
    assert "checksum" in out


def test_every_part_of_a_record_that_was_edited_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = optbench.run(*NETWORK, out=tmp_path)
    assert run.path is not None
    for name in run.provenance["files"]:
        whole = (run.path / name).read_bytes()
        (run.path / name).write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        code, out, _ = invoke(capsys, "verify", run.path, "-q")
        assert (code, f"{name} was changed after the run" in " ".join(out.split())) == (1, True)
        (run.path / name).write_bytes(whole)
    forged(run.path, {"status": "failed"})
    code, out, _ = invoke(capsys, "verify", run.path, "-q")
    assert (code, "1 not run again" in out) == (3, True)


def test_nothing_to_verify_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(capsys, "verify", tmp_path)[0] == 2
    assert invoke(capsys, "verify", tmp_path / "gone")[0] == 2


NUMBER = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@given(NUMBER, NUMBER)
def test_how_far_apart_two_numbers_are(first: float | None, second: float | None) -> None:
    apart = _relative(first, second)
    assert apart == _relative(second, first)
    assert apart >= 0
    missing = [one is None or math.isnan(one) for one in (first, second)]
    same = all(missing) or (not any(missing) and first == second)
    assert (apart == 0) == same


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.data())
def test_curves_differ_where_a_number_was_changed(losses: list[float], data: st.DataObject) -> None:
    steps = np.arange(len(losses))
    at = data.draw(st.integers(0, len(losses) - 1))
    other = list(losses)
    other[at] += 1.0
    n, none = _curve_differences({"step": steps, "loss": np.array(losses)}, {"step": steps, "loss": np.array(losses)})
    assert (n, none) == (len(losses), [])
    _, (one,) = _curve_differences(
        {"step": steps, "loss": np.array(losses)}, {"step": steps, "loss": np.array(other), "seconds": np.array(losses)}
    )
    assert (one.name, one.step) == ("loss", at)
