"""Three processes that torchrun started, beside one: numbers, records, what ends them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from members import names

import optbench

HERE = Path(__file__).parent.parent
PROCESSES = 3
WINE = ("model=mlp", "data=wine", "trainer.threads=1")
SMALL = (*WINE, "trainer.batch_size=28", "trainer.epochs=2")  # of 142: a rest of two, of which one of three has none
DIGITS = ("model=mlp", "data=digits", "trainer.threads=1", "trainer.epochs=2")

OWN = {
    "mine.py": '''
import os, signal
import torch

RANK = os.environ.get("RANK", "0")

def happens(what):
    return os.environ.get("HAPPENS") == what

class Breaks(torch.optim.SGD):
    """SGD; in its 20th step after the start something happens that HAPPENS names."""
    count = 0

    def step(self, closure=None):
        Breaks.count += 1
        if Breaks.count == 20:
            if happens("killed") and RANK == "1":
                os.kill(os.getpid(), signal.SIGKILL)
            if happens("stopped") and RANK == "0":
                os.kill(os.getppid(), signal.SIGTERM)  # torchrun, which tells all
        return super().step(closure)

class Fails(torch.optim.SGD):
    def step(self, closure=None):
        if RANK == "1":
            raise ValueError("only here")
        return super().step(closure)

class Apart(torch.optim.SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        with torch.no_grad():
            self.param_groups[0]["params"][-1].add_(0.125 * int(RANK))
        return loss

class Draws(torch.optim.SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p.add_(0.01 * torch.randn_like(p))
        return loss

class Listens(torch.optim.SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr)
        self.param_groups[0]["params"][0].register_post_accumulate_grad_hook(lambda p: None)

class Dropped(torch.nn.Sequential):
    def __init__(self, n_outputs):
        super().__init__(torch.nn.Linear(13, 32), torch.nn.Dropout(0.5), torch.nn.Linear(32, n_outputs))
        self.unused = torch.nn.Parameter(torch.ones(3))
''',
    "model/dropped.yaml": "# dropout, and a weight without a part\ndefaults: [_network]\n"
    "_target_: mine.Dropped\nn_outputs: ${n_outputs}\n",
} | {
    f"optimizer/{name}.yaml": f"# mine\n_target_: mine.{name.title()}\n_partial_: true\nlr: 0.1\n"
    for name in ("breaks", "fails", "apart", "draws", "listens")
}  # fmt: skip


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conf")
    for name, text in OWN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def torchrun(*words: str | Path, happens: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES))
    return subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, timeout=240, cwd=cwd,
        env={**os.environ, "HAPPENS": happens, "PYTHONPATH": str(HERE.parent / "src")},
    )  # fmt: skip


def each_optimizer() -> dict[str, list[str]]:
    """Runs of each optimizer and of what is around one, and of settings that an update hangs on."""
    made = {}
    for name in names("optimizer"):
        whole = name in ("gd", "rprop", "lbfgs")  # the line search of lbfgs amplifies rounding
        made[f"optimizer={name}"] = [*(WINE if whole else SMALL), f"optimizer={name}", "trainer.epochs=2"]
        if name == "lbfgs":
            made[f"optimizer={name}"] += ["trainer.batch_size=full", "optimizer.line_search_fn=null"]
    for name in names("wrap"):
        made[f"wrap={name}"] = [*SMALL, "optimizer=adam", f"wrap={name}"]
    settings = ("accumulate=2", "ema=0.9", "nan=skip", "clip_norm=0.5", "normalize=true", "metrics=[macro_f1]",
                "curvature_every=3")  # fmt: skip
    for setting in settings:
        made[setting] = [*SMALL, "optimizer=sgd", f"trainer.{setting}"]
    made["plateau"] = [*SMALL, "optimizer=sgd", "scheduler=plateau"]
    made["augment"] = [*DIGITS, "optimizer=sgd", "augment=flip_crop", "trainer.batch_size=200"]
    texts = ["model=lstm", "data=made_sentences", "data.train_sentences=60", "data.validation_sentences=300",
             "model.width=8", "trainer.batch_size=28", "trainer.threads=1", "trainer.epochs=2"]  # fmt: skip
    made["collate"] = [*texts, "optimizer=sgd", "optimizer.lr=0.5"]
    made["collate, accumulate"] = [*texts, "optimizer=sgd", "trainer.accumulate=2"]
    made["collate, labels drawn"] = [*texts, "optimizer=sgd", "+optimizer.protocol.extra_every=2",
                                     "+optimizer.protocol.extra_call=zero_grad"]  # fmt: skip
    made["labels drawn"] = [*SMALL, "optimizer=sgd", "+optimizer.protocol.extra_every=2",
                            "+optimizer.protocol.extra_call=zero_grad"]  # fmt: skip
    made["patience"] = [*SMALL, "optimizer=sgd", "trainer.epochs=9", "trainer.patience=1", "optimizer.lr=1e-6"]
    made["draws"] = [*SMALL, "optimizer=draws"]
    return made


REFUSED = {
    "model=hw3_cnn": ([*DIGITS[2:], "model=hw3_cnn", "data=digits"], "norm each process's share of a batch"),
    "optimizer=listens": ([*SMALL, "optimizer=listens"], "Listens has a hook on the gradient of layers"),
    "optimizer=apart": ([*SMALL, "optimizer=apart"], "after step 1 the processes do not have the same"),
    "too small": ([*WINE, "trainer.batch_size=2"], "3 processes share a batch of 2"),
}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, conf: Path) -> Path:
    """The folder of all runs that one start of torchrun makes."""
    folder = tmp_path_factory.mktemp("together")
    runs = [*each_optimizer().values(), *(run for run, _ in REFUSED.values()), DROPPED, [*DIGITS, "optimizer=breaks"]]
    (folder / "runs.json").write_text(json.dumps(runs))
    done = torchrun(HERE / "torchrun_runs.py", folder, conf)
    assert done.returncode == 0, done.stderr
    return folder


DROPPED = [*SMALL, "model=dropped"]


def said(folder: Path, overrides: list[str]) -> list[list[str]]:
    """What each process had to say of a run."""
    which = json.loads((folder / "runs.json").read_text()).index(list(overrides))
    return [json.loads((folder / f"said-{rank}.json").read_text())[which] for rank in range(PROCESSES)]


def weights(run: optbench.Run, name: str) -> dict[str, torch.Tensor]:
    assert run.path is not None
    found: dict[str, torch.Tensor] = torch.load(run.path / f"{name}.pt", weights_only=True)["model"]
    return found


@pytest.mark.slow
def test_each_optimizer_and_setting_gives_the_numbers_of_one_process(
    together: Path, conf: Path, tmp_path: Path
) -> None:
    """Losses, gradients, evaluations, both checkpoints, how it ended: but for the order of additions the same."""
    for name, overrides in each_optimizer().items():
        alone = optbench.run(*overrides, out=tmp_path, config_dir=conf)
        assert said(together, overrides) == [[alone.status, alone.reason]] * PROCESSES, name
        found = optbench.Run(json.loads((together / "runs" / alone.path.name / "run.json").read_text()),  # type: ignore[union-attr]
                             together / "runs" / alone.path.name)  # type: ignore[union-attr]  # fmt: skip
        assert (found.run_id, found.summary["best_step"]) == (alone.run_id, alone.summary["best_step"]), name
        curve, expected = found.curve().drop(columns="seconds"), alone.curve().drop(columns="seconds")
        assert list(curve) == list(expected), name
        for column in expected:
            assert curve[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-4, nan_ok=True), (
                name,
                column,
            )
        for checkpoint in ("best", "last"):
            own, theirs = weights(found, checkpoint), weights(alone, checkpoint)
            assert list(own) == list(theirs), name
            for key, tensor in theirs.items():
                torch.testing.assert_close(own[key], tensor, rtol=1e-4, atol=2e-5, msg=lambda m: f"{name}, {key}: {m}")  # noqa: B023
        assert (found.provenance["processes"], found.provenance["backend"]) == (PROCESSES, "gloo")
        assert "processes" not in alone.provenance


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shared_ends_in_all_processes_with_the_reason(together: Path, name: str) -> None:
    overrides, words = REFUSED[name]
    first, *others = said(together, overrides)
    assert words in first[1]
    assert {kind for kind, _ in others} == {first[0]}


@pytest.mark.slow
def test_dropout_draws_of_its_own_and_weights_without_a_part_are_shared(together: Path) -> None:
    assert [status for status, _ in said(together, DROPPED)] == ["completed"] * PROCESSES


@pytest.mark.slow
def test_a_run_that_was_killed_and_stopped_goes_on_to_the_bit(together: Path, conf: Path, tmp_path: Path) -> None:
    words = ("-m", "optbench", "run", *DIGITS, "optimizer=breaks", "--config-dir", conf, "--out", tmp_path)
    killed = torchrun(*words, happens="killed")
    assert killed.returncode != 0
    assert killed.stdout.count("interrupted: another process of this data-parallel run ended without a word") == 1
    stopped = torchrun(*words, happens="stopped")
    assert re.search(r"interrupted: stopped by the user after step \d+", stopped.stdout)
    record = json.loads(next(tmp_path.glob("*/run.json")).read_text())
    assert record["status"] == "interrupted"
    assert 20 <= record["steps"] < 80
    done = torchrun(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"goes on from step {record['steps']} of") == 1
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["status"] == "completed"
    whole = together / "runs" / Path(found["path"]).name
    for name in ("best.pt", "last.pt"):
        assert (Path(found["path"]) / name).read_bytes() == (whole / name).read_bytes()
    assert columns(Path(found["path"])) == columns(whole)


def columns(folder: Path) -> list[list[str]]:
    """The curve, without its clock."""
    lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    clock = lines[0].index("seconds")
    return [[*line[:clock], *line[clock + 1 :]] for line in lines]


@pytest.mark.slow
def test_what_breaks_in_one_process_is_said_by_the_first(conf: Path, tmp_path: Path) -> None:
    done = torchrun("-m", "optbench", "run", *SMALL, "optimizer=fails", "--config-dir", conf, "--out", tmp_path)
    assert done.returncode != 0
    assert done.stdout.count("failed: ValueError: only here (process 1 of 3)") == 1
    assert 'raise ValueError("only here")' in next(tmp_path.glob("*/log.txt")).read_text()


@pytest.mark.slow
def test_a_wrong_override_is_said_once(tmp_path: Path) -> None:
    done = torchrun("-m", "optbench", "run", "model=mlp", "optimizer.lr=much", "--out", tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("optimizer.lr=much: expected a positive number") == 1
    assert "exitcode  : 2" in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())
