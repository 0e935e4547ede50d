"""Nothing wrong is believed: whatever happens to a file of a result, it is repaired, listed or harmless, never another
number without a word."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_tools import command

import optbench
from optbench import records
from optbench.comparison import compare
from optbench.errors import OptbenchError, RecordError
from optbench.experiment import Stop, plan_run, plan_sweep
from optbench.launch import launcher
from optbench.launch.sweep import Options, Silent, run_sweep
from optbench.records import Run, read
from optbench.records.seal import check_table, sealed_table, sum_of
from optbench.records.whole import begins_with

SINGLE = ["model=himmelblau", "optimizer=sgd,adam", "seeds=2", "trainer.start=random", "trainer.steps=12"]
ROWS = ["model=sphere", "optimizer=momentum", "optimizer.lr=1e-2,2e-2", "seeds=9", "trainer.start=random",
        "trainer.steps=4"]  # fmt: skip
NETWORK = ["model=mlp", "model.hidden=[4]", "data.image_size=8", "trainer.threads=1", "trainer.batch_size=512",
           "trainer.epochs=2", "trainer.keep_every=1"]  # fmt: skip
NUMBERS = ("status", "seed", "steps", "evals", "final_loss", "best_loss", "best_step", "final_grad_norm",
           "val_accuracy", "optimizer", "optimizer.lr")  # fmt: skip


def sweep(out: Path, overrides: list[str], name: str, **options: Any) -> None:
    """A sweep in this process, rows by the eager engine."""
    local = launcher({"name": "local", "jobs": 0, "threads": 1})
    run_sweep(plan_sweep(overrides, out=out, name=name), local, Stop(), Silent(), Options(engine="eager", **options))


MAKERS: dict[str, Callable[[Path], object]] = {
    "single": lambda out: sweep(out, SINGLE, "single"),
    "rows": lambda out: sweep(out, ROWS, "rows", recorded=5),
    "runs": lambda out: optbench.run(*NETWORK, out=out / "runs"),
}
"""The commands that make the results, by folder; the same ones repair them."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    for make in MAKERS.values():
        make(out)
    return out


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def numbers(out: Path) -> tuple[dict[str, Any], list[str]]:
    """Every number that a reader would be told, by run and by what it is, and every word of warning."""
    found = compare([out])
    frame = found.runs.astype(object).where(found.runs.notna(), None)
    words = [*(bad.why for bad in found.unreadable), *(n for n in found.notes if "lack" in n or "missing" in n)]
    told: dict[str, Any] = {}
    for row in frame.to_dict("records"):
        told |= {f"{row['run_id']} {key}": row.get(key) for key in NUMBERS if row.get(key) is not None}
    for run in read([out]).runs():
        try:
            curve = run.curve()
        except RecordError as error:
            words.append(error.message)
            continue
        told |= {f"{run.run_id} {c} {i}": v for c in curve if c != "seconds" for i, v in enumerate(curve[c]) if v == v}
    return told, words


def damaged(path: Path, kind: str, other: Path, rng: random.Random) -> None:
    """One accident."""
    raw = path.read_bytes()
    if kind == "delete":
        path.unlink()
    elif kind == "truncate":
        path.write_bytes(raw[: rng.randrange(len(raw))])
    elif kind == "digit":
        at = rng.choice([m.start() for m in re.finditer(rb"[0-9]", raw)])
        path.write_bytes(raw[:at] + str((raw[at] - 48 + rng.randrange(1, 10)) % 10).encode() + raw[at + 1 :])
    elif kind == "byte":
        at = rng.randrange(len(raw))
        path.write_bytes(raw[:at] + bytes([raw[at] ^ rng.randrange(1, 256)]) + raw[at + 1 :])
    else:
        path.write_bytes(other.read_bytes())
        other.write_bytes(raw)


def accidents(out: Path) -> Iterator[tuple[Path, str, Path]]:
    """Every file of one run of each kind, with every accident and, to be swapped with, the next run's file."""
    one, other = sorted((out / "single").glob("*-*"))[:2]
    (network,) = (out / "runs").iterdir()
    files = [p for top in (one, network, out / "rows") for p in sorted(top.rglob("*")) if p.is_file()]
    for path in [*files, out / "single" / "sweep.json"]:
        twin = other / path.name if path.parent == one else network / "last.pt"
        kinds = ["delete", "truncate", "digit", "digit", "byte"] if path.stat().st_size else ["delete"]
        for kind in [*kinds, *(["swap"] if path.parent == one or path.name == "best.pt" else [])]:
            yield path, kind, twin


@pytest.mark.parametrize("share", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_no_accident_gives_another_number_without_a_word(share: int, made: Path, copied: Path) -> None:
    rng = random.Random(share)
    truth, words = numbers(made)
    assert not words
    found = list(accidents(made))
    for path, kind, twin in rng.sample(found, min(share, len(found))):
        file, other = (copied / p.relative_to(made) for p in (path, twin))
        damaged(file, kind, other, rng)
        told, words = numbers(copied)
        assert told.items() <= truth.items(), (path, kind)
        assert words or told == truth, (path, kind)
        for p, q in ((path, file), (twin, other)):
            shutil.copyfile(p, q)


@pytest.mark.slow
def test_the_same_command_repairs_or_names_an_accident(made: Path, tmp_path: Path) -> None:
    logging.disable()
    rng, truth = random.Random(7), numbers(made)[0]
    for i, (path, kind, twin) in enumerate(rng.sample(list(accidents(made)), 25)):
        out = tmp_path / str(i)
        shutil.copytree(made, out)
        damaged(out / path.relative_to(made), kind, out / twin.relative_to(made), rng)
        try:
            MAKERS[path.relative_to(made).parts[0]](out)
        except RecordError as error:
            named = path.suffix == ".parquet" and path.name in error.message
            if not named:
                raise
            continue
        assert numbers(out) == (truth, []), (path, kind)
        shutil.rmtree(out)
    logging.disable(logging.NOTSET)


# one by one, in the words of the command


def single(out: Path, which: int = 0) -> Path:
    return sorted((out / "single").glob("*-*"))[which]


def test_a_curve_is_what_it_was_at_the_checkpoint_or_not(tmp_path: Path) -> None:
    curve = tmp_path / "metrics.csv"
    assert begins_with(curve, None), "of a checkpoint from before there were sums nothing is known against it"
    curve.write_bytes(b"step,loss\n0,1.0\n")
    then = sum_of(curve.read_bytes())
    assert begins_with(curve, then)
    curve.write_bytes(b"step,loss\n0,1.0\n1,0.5\n")
    assert begins_with(curve, then), "rows were added"
    curve.write_bytes(b"step,loss\n0,1.1\n1,0.5\n")
    assert not begins_with(curve, then)
    curve.write_bytes(b"step,lo")
    assert not begins_with(curve, then)
    curve.unlink()
    assert not begins_with(curve, then)


def test_two_swapped_records_turn_nothing_round(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = single(copied), single(copied, 2)
    a, b = ((folder / "run.json").read_text() for folder in (one, other))
    (one / "run.json").write_text(b)
    (other / "run.json").write_text(a)
    assert command("compare", copied / "single") == 0
    out, err = capsys.readouterr()
    assert "2 runs in 2 configurations" in out
    plan = re.sub(r"\s+", " ", out)
    assert "lacks 2 of the 4 runs that were planned" in plan
    assert all(folder.name.rsplit("-", 1)[-1] in plan for folder in (one, other))
    assert err.count("its run.json is that of another run") == 2
    for name in ("config.yaml", "metrics.csv"):  # with all that belongs to them, but under the wrong names
        a, b = ((folder / name).read_text() for folder in (one, other))
        (one / name).write_text(b)
        (other / name).write_text(a)
    assert command("compare", copied / "single") == 0
    assert capsys.readouterr().err.count("its run.json is that of another run") == 2


def unsealed(folder: Path, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Makes a record one without checksums, as older versions wrote it, and changes it."""
    row = json.loads((folder / "run.json").read_text())
    del row["provenance"]["checksum"], row["provenance"]["files"]
    change(row)
    (folder / "run.json").write_text(json.dumps(row, indent=2))
    return row


def test_a_record_without_checksums_is_believed_while_it_can_be(copied: Path) -> None:
    unsealed(single(copied), lambda row: None)
    assert numbers(copied)[1] == []
    shutil.copytree(single(copied), copied / "mine")  # under a name of one's own
    assert compare([copied / "mine"]).groups[0].n == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"final_loss": -1e300}, "is impossible for a run that did not diverge"),
        ({"best_loss": 1e12}, "is impossible for a run that did not diverge"),
        ({"final_loss": float("inf")}, "expected a number, finite"),
        ({"val_accuracy": 99.5}, "expected a number, from 0 to 1"),
        ({"val_accuracy": -0.1}, "expected a number, from 0 to 1"),
        ({"steps": -1}, "expected a whole number, finite, not negative"),
        ({"steps": 11.5}, "expected a whole number"),
        ({"evals": -2}, "evals=-2 is impossible"),
        ({"best_step": 500}, "the run made 12 steps"),
        ({"steps_to_target": 13}, "the run made 12 steps"),
        ({"seconds": -1.0}, "seconds=-1.0 is impossible"),
        ({"final_grad_norm": -1e-9}, "final_grad_norm=-1e-09 is impossible"),
        ({"seed": 1}, "seed=1 in run.json, 0 in config.yaml"),
        ({"optimizer": "sgd"}, "optimizer='sgd' in run.json, 'adam' in config.yaml"),
        ({"status": "superb"}, "unknown status 'superb'"),
        ({"data_fingerprint": "f"}, "config.yaml was changed after the run"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_listed_and_takes_no_part(changes: dict[str, Any], why: str, copied: Path) -> None:
    folder = next(f for f in (copied / "single").glob("*adam*s0*"))
    unsealed(folder, lambda row: row.update(changes))
    found = compare([copied / "single"])
    assert sum(group.n for group in found.groups) == 3
    assert [why in bad.why for bad in found.unreadable] == [True]


def test_a_loss_that_is_never_negative(copied: Path) -> None:
    (folder,) = (copied / "runs").iterdir()
    unsealed(folder, lambda row: row.update(val_loss=-0.5))
    assert "CrossEntropyLoss is never negative" in read([copied / "runs"]).unreadable[0].why


def test_a_configuration_that_was_edited_is_listed_with_or_without_checksums(copied: Path) -> None:
    for which, seal in ((0, True), (1, False)):
        folder = single(copied, which)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["optimizer"]["lr"] = 0.5
        records.write_yaml(folder / "config.yaml", config)
        if not seal:
            unsealed(folder, lambda row: None)
    bad = read([copied / "single"]).unreadable
    assert ["config.yaml was changed after the run" in one.why for one in bad] == [True, True]


def test_a_seal_survives_other_ends_of_lines_and_not_another_digit(copied: Path) -> None:
    folder = single(copied)
    for name in ("run.json", "config.yaml", "metrics.csv"):
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"\n", b"\r\n"))
    assert numbers(copied)[1] == []
    assert plan_of(folder).recorded() is not None


def plan_of(folder: Path) -> Any:
    """The planned run of a folder of SINGLE."""
    return next(p for p in plan_sweep(SINGLE, out=folder.parents[1], name="single") if p.folder == folder)


def test_a_sealed_table_is_a_parquet_file_for_everyone(tmp_path: Path) -> None:
    import io

    import pyarrow as pa
    from pyarrow import parquet

    table, buffer = pa.table({"run_id": ["a", "b"], "loss": [1.0, 2.0]}), io.BytesIO()
    parquet.write_table(table, buffer)
    path = tmp_path / "t.parquet"
    path.write_bytes(buffer.getvalue())
    assert not check_table(path)
    path.write_bytes(b"".join(sealed_table(buffer.getvalue())))
    assert check_table(path)
    assert parquet.read_table(path).equals(table)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        os.utime(path, ns=(at, at))
        try:
            if check_table(path):
                raise AssertionError(at)
            assert parquet.read_table(path).equals(table)  # the seal itself was hit, and nothing else
        except (RecordError, OSError, pa.ArrowException):
            pass


def test_a_table_that_is_not_there_has_no_seal(tmp_path: Path) -> None:
    assert check_table(tmp_path / "runs.parquet") is False
    assert check_table(tmp_path / "no folder" / "runs.parquet") is False


def test_a_table_without_a_seal_is_held_to_what_can_be(copied: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = copied / "rows" / "runs.parquet"
    table = parquet.read_table(path)
    parquet.write_table(table, path)
    assert numbers(copied)[1] == []
    seconds = pa.array([-1.0, *table["seconds"].to_pylist()[1:]])
    parquet.write_table(table.set_column(table.column_names.index("seconds"), "seconds", seconds), path)
    assert "seconds=-1.0 is impossible" in read([copied / "rows"]).unreadable[0].why
    assert "seconds=-1.0 is impossible" in " ".join(numbers(copied)[1])


# files that are none


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("kind", ["pipe", "endless", "kernel"])
@pytest.mark.parametrize("name", ["run.json", "config.yaml", "metrics.csv", "sweep.json", "runs.parquet",
                                  "curves.parquet", "best.pt"])  # fmt: skip
def test_a_pipe_or_a_device_is_no_file(name: str, kind: str, copied: Path) -> None:
    (network,) = (copied / "runs").iterdir()
    place = copied / "rows" if name.endswith("parquet") or name == "sweep.json" else network
    (place / name).unlink()
    if kind == "pipe":
        os.mkfifo(place / name)
    else:
        (place / name).symlink_to("/dev/zero" if kind == "endless" else "/proc/self/mem")
    told, words = numbers(copied)
    assert told
    assert words or kind == "kernel"
    if name in ("config.yaml", "best.pt"):
        assert command("evaluate", network, "--quiet") == 2


# done means whole


def seconds(out: Path) -> dict[str, Any]:
    """When each run was done."""
    return {run.run_id: run.summary["provenance"]["started"] for run in read([out]).runs() if run.path}


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("config.yaml", "delete", "config.yaml is missing"),
        ("run.json", "truncate", "run.json: "),
        ("run.json", "digit", "run.json: "),
        ("run.json", "delete", "run.json is missing"),
        ("metrics.csv", "delete", "metrics.csv is missing"),
        ("metrics.csv", "digit", "metrics.csv was changed after the run"),
    ],
)
def test_a_sweep_does_again_what_is_not_whole_and_says_so(
    name: str, kind: str, said: str, copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, truth, folder = seconds(copied), numbers(copied)[0], single(copied)
    damaged(folder / name, kind, folder, random.Random(1))
    sweep(copied, SINGLE, "single")
    assert [folder.name in line and said in line for line in caplog.messages] == [True]
    after = seconds(copied)
    assert [run for run in before if after[run] != before[run]] == [folder.name[-12:]]
    assert numbers(copied) == (truth, [])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["best.pt", "last.pt", "checkpoints/epoch-0001.pt", "metrics.csv"])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_run_without_a_part_is_done_again(
    name: str, sealed: bool, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = (copied / "runs").iterdir()
    truth = numbers(copied)[0]
    if not sealed:
        unsealed(folder, lambda row: None)
    assert plan_run(NETWORK, out=copied / "runs").recorded() is not None
    (folder / name).unlink()
    assert any(f"lacks {name}" in word for word in numbers(copied)[1]) or not sealed
    assert command("run", *NETWORK, "--out", copied / "runs", "--quiet") == 0
    err = capsys.readouterr().err
    assert f"{name} is missing; the run is done again" in err
    assert "was done already" not in err
    assert (folder / name).is_file()
    assert numbers(copied) == (truth, [])


def test_other_weights_are_not_taken(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = (copied / "runs").iterdir()
    whole = (folder / "best.pt").read_bytes()
    (folder / "best.pt").write_bytes((folder / "checkpoints/epoch-0000.pt").read_bytes())
    assert command("evaluate", folder) == 2
    assert "its checksum differs" in capsys.readouterr().err
    at = len(whole) // 2  # within the weights: torch.load takes them as they are
    (folder / "best.pt").write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
    assert command("evaluate", folder) == 2
    assert "checksum of" in capsys.readouterr().err


class Meddling:
    """A display that does something at a step."""

    def __init__(self, at: int, deed: Callable[[], None]) -> None:
        self.at, self.deed = at, deed

    def start(self, label: str, index: int, count: int) -> None:
        pass

    def loading(self, done: int, total: int) -> None:
        pass

    def note(self, words: str) -> None:
        pass

    def step(self, step: int, total: int, row: Any) -> None:
        if step == self.at:
            self.deed()

    def end(self, run: Any) -> None:
        pass


def test_a_run_whose_folder_is_removed_meanwhile_is_not_done(tmp_path: Path) -> None:
    words = ["model=himmelblau", "trainer.steps=9"]
    folder = plan_run(words, out=tmp_path).folder
    run = optbench.run(*words, out=tmp_path, display=Meddling(5, lambda: shutil.rmtree(folder)))
    assert (run.status, run.reason[:44]) == ("interrupted", "config.yaml and metrics.csv went missing whi")
    again = optbench.run(*words, out=tmp_path)
    assert again.status == "completed"
    assert len(again.curve()) == 10


def test_a_folder_that_is_removed_after_its_run_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_less(work: Any, planned: Any, *args: Any) -> Run:
        run: Run = work(planned, *args)
        if planned.config["seed"] == 2:
            shutil.rmtree(next((tmp_path / "s").glob("*s0*")))
        return run

    monkeypatch.setattr("optbench.launch.local.attempt", one_less)
    words = ["model=sphere", "trainer.steps=2", "seeds=3", "--out", tmp_path, "--name", "s", "--quiet"]
    assert command("sweep", *words, "hydra.launcher.jobs=0") == 3
    out, err = capsys.readouterr()
    assert "2 of 3 runs in" in err
    assert "lacks 1 of the 3 runs" in out


def test_an_interrupted_run_with_another_curve_starts_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    words = [*NETWORK, "trainer.epochs=3", "trainer.checkpoint_every=1"]
    whole = optbench.run(*words, out=tmp_path / "whole")
    for change in ("digit", "delete", "truncate"):
        out = tmp_path / change
        with pytest.raises(KeyboardInterrupt):
            optbench.run(*words, out=out, display=Meddling(7, stop))
        (folder,) = out.iterdir()
        damaged(folder / "metrics.csv", change, folder, random.Random(3))
        caplog.clear()
        run = optbench.run(*words, out=out)
        assert "the run starts again" in caplog.text
        a, b = (one.curve().drop(columns="seconds") for one in (run, whole))
        assert a.equals(b)


# what a sweep planned


def test_deleted_tables_are_named_and_made_again(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = numbers(copied)[0]
    (copied / "rows" / "runs.parquet").unlink()
    note = numbers(copied)[1]
    assert "lacks 18 of the 18 runs that were planned" in note[0]
    assert "its runs.parquet is missing" in note[0]
    assert f"optbench sweep {' '.join(ROWS)}" in note[0]
    for form in ("--json", "--csv", None):
        assert command("compare", copied, *([form] if form else [])) == 0
        out, err = capsys.readouterr()
        assert "lacks 18 of the 18 runs" in (err if form else out)
    sweep(copied, ROWS, "rows", recorded=5)
    assert numbers(copied) == (truth, [])


def test_of_several_commands_each_is_held_to_its_own_runs(tmp_path: Path) -> None:
    words = ["model=sphere", "trainer.steps=2", "optimizer=sgd"]
    sweep(tmp_path, [*words, "seeds=2"], "s")
    sweep(tmp_path, [*words, "seeds=3"], "s")
    sweep(tmp_path, [*words, "seeds=3"], "s")
    assert numbers(tmp_path)[1] == []
    shutil.rmtree(next((tmp_path / "s").glob("*s2*")))
    assert [note.split(" lacks ")[1][:8] for note in numbers(tmp_path)[1]] == ["1 of the"]
    shutil.rmtree(next((tmp_path / "s").glob("*s0*")))
    assert len(numbers(tmp_path)[1]) == 2
    assert command("compare", tmp_path / "s", "--filter", "seed=1") == 0


def test_a_dry_run_plans_nothing_into_the_folder(tmp_path: Path) -> None:
    assert command("sweep", *SINGLE, "--out", tmp_path, "--name", "s", "--dry-run") == 0
    assert not (tmp_path / "s").exists()
    with pytest.raises(OptbenchError):
        compare([tmp_path])


def test_runs_that_are_missing_from_the_middle_of_a_plan_are_named(copied: Path) -> None:
    """Any of the planned runs, by its own name; the first three, and that there are more."""
    ids = [planned.run_id for planned in plan_sweep(SINGLE, out=copied, name="single")]
    assert len(ids) == 4
    folders = {run_id: next((copied / "single").glob(f"*-{run_id}")) for run_id in ids}
    for run_id in (ids[2], ids[1]):
        shutil.rmtree(folders[run_id])
    (note,) = numbers(copied)[1]
    assert f"lacks 2 of the 4 runs that were planned ({ids[1]}, {ids[2]}); this command makes" in note
    for run_id in (ids[0], ids[3]):
        shutil.rmtree(folders[run_id])
    (note,) = numbers(copied)[1]
    assert f"lacks 4 of the 4 runs that were planned ({ids[0]}, {ids[1]}, {ids[2]}, ...)" in note


@pytest.mark.parametrize("moved", [False, True])
def test_the_command_that_is_named_makes_the_missing_runs_where_they_are_missing(
    moved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed as it stands in the note, whatever --out, --name, --config-dir and --samples the sweep had."""
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "my conf" / "optimizer" / "own.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# mine\n_target_: torch.optim.SGD\n_partial_: true\nlr: 0.5\n", encoding="utf-8")
    words = ["model=sphere", "trainer.steps=2", "optimizer=own", "optimizer.lr=interval(0.1,0.2)"]
    where = ["--out", "my runs", "--name", "s", "--config-dir", "my conf"]
    assert command("sweep", *words, *where, "--samples", "3") == 0
    out = Path("elsewhere" if moved else "my runs")
    if moved:
        Path("my runs").rename(out)
    for folder in list((out / "s").glob("sphere-*"))[:2]:
        shutil.rmtree(folder)
    (note,) = numbers(out)[1]
    program, *typed = shlex.split(note.partition("this command makes them: ")[2])
    assert (program, command(*typed)) == ("optbench", 0)
    assert numbers(out)[1] == []
    assert len(list((out / "s").glob("sphere-*"))) == 3
