"""One file and one YAML: members of the user's own, of every kind, in a --config-dir and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import members
import own_members
import pytest
import torch
from command_tools import invoke

import optbench
from optbench.catalogue import GROUPS, catalogue
from optbench.config import Composer, complete, trusted_targets
from optbench.errors import ConfigError, RecordError
from optbench.experiment.plan import plan_run
from optbench.experiment.rebuild import rebuild
from optbench.experiment.sources import sources
from optbench.prediction import predict
from optbench.records import run_id

NETWORK = ("model=slim", "data=bars", "optimizer=signed", "wrap=calm", "scheduler=fading", "loss=margin",
           "trainer.epochs=3", "trainer.batch_size=8", "trainer.threads=1")  # fmt: skip
SURFACE = ("model=tilted", "optimizer=signed", "scheduler=fading", "trainer.steps=40", "trainer.start=random")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder; modules that a test imports from it are forgotten afterwards."""
    folder = own_members.write(tmp_path / "我的 members")
    for file in folder.glob("*.py"):
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    return folder


def test_there_is_one_of_every_group_that_names_something_to_build() -> None:
    kinds = {group for group in GROUPS for name in members.names(group) if "_target_" in members.read(group, name)}
    assert kinds == {group for group, _ in own_members.OWN}


def test_they_are_listed_and_completed(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {(e.group, e.name): e for e in catalogue(config_dirs=[own]) if e.own}
    assert sorted(found) == own_members.OWN
    assert all(e.description.startswith("my ") for e in found.values())
    for group, name in own_members.OWN:
        assert f"{group}={name}" in complete(f"{group}={name[:3]}", [own])
    code, out, _ = invoke(capsys, "list", "augment", "--config-dir", own)
    assert code == 0
    assert "speckle    my augmentation  (yours)" in out


def test_they_run_in_this_process(own: Path, tmp_path: Path) -> None:
    run = optbench.run(*NETWORK, config_dir=own, out=tmp_path / "runs")
    assert (run.summary["status"], run.summary["val_accuracy"]) == ("completed", 1.0)
    assert run.config["augment"] == {"_target_": "speckle.Speckle", "strength": 20}
    assert set(run.config["sources"]) == {"model", "data", "augment", "loss", "optimizer", "wrap", "scheduler"}
    plain = optbench.run(*NETWORK, "augment=none", config_dir=own, out=tmp_path / "runs")
    assert plain.losses() != run.losses()
    labels = optbench.compare(tmp_path / "runs").table["configuration"].tolist()
    assert sorted(labels) == ["signed+calm augment=none", "signed+calm augment=speckle"]
    assert run.path is not None
    assert predict(rebuild(run.path, config_dirs=[own]), None) == [(f"{i}.png", i % 2) for i in range(8)]
    with pytest.raises(RecordError, match="named by no trusted config") as caught:
        rebuild(run.path)
    assert "--config-dir" in caught.value.hint
    assert {"slim.Slim", "speckle.Speckle"} <= trusted_targets([own])


def test_rows_that_differ_in_length_and_what_makes_batches_of_them(own: Path, tmp_path: Path) -> None:
    words = ("model=most", "data=lines", "optimizer=adam", "optimizer.lr=0.3", "trainer.epochs=40",
             "trainer.batch_size=8", "trainer.threads=1")  # fmt: skip
    run = optbench.run(*words, config_dir=own, out=tmp_path / "runs")
    assert (run.summary["status"], run.summary["val_accuracy"]) == ("completed", 1.0)
    assert run.config["collate"] == {"_target_": "ends.ends", "_partial_": True, "filler": 3}
    assert {"model", "data", "collate"} <= set(run.config["sources"])
    assert run.path is not None
    filled = optbench.run(*words, "collate.filler=0", config_dir=own, out=tmp_path / "runs")
    assert filled.losses() == run.losses(), "padding is not seen"
    assert filled.run_id != run.run_id
    network = rebuild(run.path, config_dirs=[own])
    rows = network.data.load("test").inputs
    assert network.labels(network.outputs(rows)).tolist() == [int(3 in row.tolist()) for row in rows]
    with pytest.raises(ConfigError, match="'collate' has no key 'other'"):
        plan_run([*words, "collate.other=1"], config_dirs=[own])


def test_a_row_is_the_run(own: Path, tmp_path: Path) -> None:
    """Own surface, optimizer and schedule in the rows engine and in the loop, beside the formula itself."""
    rows = optbench.sweep(*SURFACE, "seeds=16", config_dir=own, out=tmp_path / "rows", engine="eager")
    assert {row.summary["engine"] for row in rows} == {"eager"}
    alone = optbench.run(*SURFACE, "seed=3", config_dir=own, out=tmp_path / "runs")
    assert alone.run_id == rows[3].run_id
    curve = alone.curve()
    x, m = torch.tensor([curve["x0"][0], curve["x1"][0]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for k in range(40):
        tilt = x[1] - 0.5 * x[0]
        m = 0.5 * m + torch.stack([2 * x[0] - tilt, 2 * tilt])
        x = x - 0.05 * 0.5 ** (k / 10) * m
    expected = float(x[0] ** 2 + (x[1] - 0.5 * x[0]) ** 2)
    for run in (alone, rows[3]):
        assert run.summary["final_loss"] == pytest.approx(expected, rel=1e-9)


def test_the_source_of_each_counts(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (NETWORK, SURFACE):
        planned = plan_run(words, [own], tmp_path)
        parts = planned.config["sources"]
        assert parts.keys() == {group for group, name in own_members.OWN if planned.choices.get(group) == name}
        assert f"# run_id {planned.run_id}" in invoke(capsys, "config", *words, "--config-dir", own)[1]
        assert planned.run_id != run_id({k: v for k, v in planned.config.items() if k != "sources"})
        for group, before in parts.items():
            file = own / f"{planned.choices[group]}.py"
            file.write_text(file.read_text() + "\n# edited\n")
            after = sources(planned.config)
            assert after[group] != before
            parts = {**parts, group: after[group]}
            assert after == parts


WRONG = {
    "no target": ("optimizer/bad.yaml", "# mine\nlr: 0.1\n", r"optimizer=bad has no _target_"),
    "no file": ("optimizer/bad.yaml", "# mine\n_target_: nofile.Bad\n_partial_: true\n", "there is no module 'nofile'"),
    "no python": ("signed.py", "class Signed(:\n", r"signed\.py, line 1: not Python"),
    "hidden": ("json.py", "class Bad: pass\n", r"json\.py is hidden by .*json.__init__\.py"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_found_is_said_before_anything_is_imported(own: Path, what: str) -> None:
    file, text, message = WRONG[what]
    (own / file).write_text(text)
    if what == "hidden":
        (own / "optimizer/bad.yaml").write_text("# mine\n_target_: json.Bad\n_partial_: true\n")
    with Composer([own]) as composer, pytest.raises(ConfigError, match=message):
        composer.compose(["optimizer=signed" if what == "no python" else "optimizer=bad"])
    assert "signed" not in sys.modules


@pytest.mark.parametrize(("text", "message"), [
    ("import nowhere_at_all\n", r"ModuleNotFoundError: No module named 'nowhere_at_all' in .*signed\.py, line 1"),
    ("x = 1\nx / 0\n", r"ZeroDivisionError: division by zero in .*signed\.py, line 2"),
    ("class Other: pass\n", r"signed\.Signed: there is no 'Signed' in .*signed\.py"),
])  # fmt: skip
def test_what_fails_when_it_is_imported_is_told_with_its_line(
    own: Path, tmp_path: Path, text: str, message: str
) -> None:
    (own / "signed.py").write_text(text)
    with pytest.raises(ConfigError, match=message):
        optbench.run(*SURFACE, config_dir=own, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_of_two_folders_the_later_one_wins_with_code_as_with_yaml(own: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    (later / "fading.py").write_text("# another one\n")
    found = [
        plan_run(SURFACE, folders, tmp_path).run_id for folders in ([later, own], [own], [own, later], [later, own])
    ]
    assert found[0] == found[1] == found[3] != found[2]
    optbench.run(*SURFACE, config_dir=own, out=tmp_path / "runs")  # imports it: from now on there is no other in here
    with pytest.raises(ConfigError, match=r"later/fading\.py is hidden by .*fading\.py"):
        plan_run(SURFACE, [own, later], tmp_path)


class Shell:
    """The real command, in a process of its own, in an empty folder whose name has a space and is Chinese."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "实验 一"
        self.folder.mkdir()
        own_members.write(self.folder / "mine")

    def __call__(self, *words: str, code: int = 0) -> str:
        src = str(Path(optbench.__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-m", "optbench", *words],
            cwd=self.folder, capture_output=True, text=True, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": src, "COLUMNS": "80"}, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr


@pytest.mark.slow
def test_they_serve_every_command(tmp_path: Path) -> None:
    optbench_ = Shell(tmp_path)
    mine = ("--config-dir", "mine")
    run = json.loads(optbench_("run", *NETWORK, *mine, "--json", "-q"))
    pool = json.loads(optbench_("sweep", *NETWORK, *mine, "seeds=2", "augment=speckle,none", "hydra.launcher.jobs=2",
                                "--name", "pool", "--json", "-q"))  # fmt: skip
    assert [r["status"] for r in pool] == ["completed"] * 4
    assert any(r["run_id"] == run["run_id"] and r["final_loss"] == run["final_loss"] for r in pool)
    rows = json.loads(optbench_("sweep", *SURFACE, *mine, "seeds=16", "--name", "rows", "--json", "-q"))
    assert {r["engine"] for r in rows} <= {"eager", "fused"}
    assert (optbench_.folder / "outputs/sweeps/rows/runs.parquet").is_file()
    table = optbench_("compare", "outputs")
    assert "tilted: 16 runs" in table
    assert "slim on bars, margin: 4 runs" in table
    for words in (("outputs/sweeps/rows",), ("outputs/sweeps/rows", "--path", *mine)):
        optbench_("plot", *words, "-o", f"{len(words)}.png")
        assert (optbench_.folder / f"{len(words)}.png").stat().st_size > 5000
    assert "--config-dir" in optbench_("plot", "outputs/sweeps/rows", "--path", "-o", "no.png", code=2)
    optbench_("predict", run["path"], *mine, "-o", "submission.csv")
    lines = (optbench_.folder / "submission.csv").read_text().splitlines()
    assert lines == ["Id,Category", *(f"{i:04d},{i % 2}" for i in range(8))]
    assert "--config-dir" in optbench_("predict", run["path"], "-o", "no.csv", code=2)
    assert "accuracy  1.0000 [0.6756, 1.0000] on 8 validation" in optbench_("evaluate", run["path"], *mine)
    found = json.loads(optbench_("classify-critical", "--fn", "tilted", *mine, "--json"))
    assert ([p["type"] for p in found["points"]], found["complete"]) == (["minimum"], True)


@pytest.mark.slow
def test_every_command_that_builds_a_run_again_asks_for_the_folder(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    network, other = (str(optbench.run(*NETWORK, f"seed={k}", config_dir=own, out=runs).path) for k in (0, 1))
    surface = str(optbench.run(*SURFACE, config_dir=own, out=runs).path)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    lines = [
        *(("verify", run) for run in (network, surface)),
        *((command, run) for run in (network, surface) for command in ("curvature", "classify-critical --run")),
        *((command, network) for command in ("evaluate", "predict -o p.csv", "explain")),
        ("plot --plane random -o p.png", network),
        ("plot --interpolate -o p.png", network, other),
        ("plot --path -o p.png", surface),
    ]
    for command, *places in lines:
        code, out, err = invoke(capsys, *command.split(), *places)
        said = f"{out}{err}"
        assert code == (3 if command == "verify" else 2), (command, said)
        assert len(said.strip().splitlines()) <= 3, (command, said)
        assert "is named by no trusted config" in said, command
        assert "give the folder whose YAML names it with --config-dir" in said, command
    assert not list(Path().iterdir())
    code, _, _ = invoke(capsys, "compare", str(runs), "--html", "page.html")
    assert (code, Path("page.html").read_text(encoding="utf-8").count("with --config-dir") > 1) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "module"), [
    (("hydra/launcher=ray",), "ray"), (("hydra/launcher=slurm", "hydra.launcher.cluster=local"), "submitit")
])  # fmt: skip
def test_workers_elsewhere_import_them(tmp_path: Path, launcher: tuple[str, ...], module: str) -> None:
    pytest.importorskip(module)
    rows = json.loads(Shell(tmp_path)("sweep", *NETWORK, "--config-dir", "mine", "seeds=2", *launcher, "--json", "-q"))
    assert [r["status"] for r in rows] == ["completed"] * 2
