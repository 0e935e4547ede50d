"""Folders of Lightning's CSVLogger (2.x): training and validation in rows of their own, hyperparameters in YAML."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from optbench import records
from optbench.errors import UserError
from optbench.foreign import Wishes, bring
from optbench.foreign.find import logs

HPARAMS = """\
batch_size: 32
betas: !!python/tuple
- 0.9
- 0.999
activation: !!python/name:torch.nn.functional.relu ''
lr: 0.01
optimizer: Adam
seed: {seed}
"""


def version(folder: Path, number: int, seed: int, hparams: str = HPARAMS) -> Path:
    """One version_N as the logger writes it: the union of all metrics as header, empty cells where a row has none."""
    place = folder / f"version_{number}"
    place.mkdir(parents=True)
    with (place / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", "step", "train_loss_epoch", "train_loss_step", "val_acc", "val_loss"])
        writer.writeheader()
        for step in (49, 99):
            writer.writerow({"epoch": step // 50, "step": step, "train_loss_step": 2.0 / (step + seed)})
            writer.writerow({"epoch": step // 50, "step": step, "val_loss": 0.5, "val_acc": 0.5 + step / 1000})
            writer.writerow({"epoch": step // 50, "step": step, "train_loss_epoch": 1.0})
    (place / "hparams.yaml").write_text(hparams.format(seed=seed))
    return place


def test_versions_become_records(tmp_path: Path) -> None:
    for number in range(11):
        version(tmp_path / "lightning_logs", number, seed=number + 100)
    brought = bring([tmp_path], tmp_path / "out", Wishes(columns={"loss": "train_loss_step"}))
    assert [folder.name.partition("-log-")[0] for folder in brought.folders] == [f"version_{n}" for n in range(11)]
    assert brought.unused == ["train_loss_epoch"]
    runs = records.read([tmp_path / "out"]).runs()
    assert {run.summary["seed"] for run in runs} == set(range(100, 111))
    one = next(run for run in runs if run.summary["seed"] == 100)
    assert one.columns()["step"].tolist() == [49, 99]  # the rows of a step are one
    assert one.columns()["loss"].tolist() == [2.0 / 149, 2.0 / 199]
    assert (one.summary["optimizer"], one.config["optimizer"]) == ("Adam", {"betas": [0.9, 0.999], "lr": 0.01})
    assert one.config["trainer"] == {"batch_size": 32}
    assert one.config["settings"] == {"activation": "torch.nn.functional.relu"}  # named, and not imported
    assert (one.summary["best_val_accuracy"], one.summary["best_val_step"]) == (0.5 + 0.099, 99)


def test_settings_that_tell_nothing_apart(tmp_path: Path) -> None:
    for number in range(2):
        version(tmp_path / "logs", number, seed=number, hparams=HPARAMS + f"output: /tmp/{number}\n")
    wishes = Wishes(columns={"loss": "train_loss_step"}, ignored=("output",))
    bring([tmp_path / "logs"], tmp_path / "out", wishes)
    runs = records.read([tmp_path / "out"]).runs()
    assert [set(run.config["settings"]) for run in runs] == [{"activation"}] * 2
    with pytest.raises(UserError, match="--by seed is for CSV files"):
        bring([tmp_path / "logs"], tmp_path / "out", Wishes(apart=("seed",)))


def test_a_run_without_hyperparameters(tmp_path: Path) -> None:
    place = version(tmp_path, 0, seed=0)
    (place / "hparams.yaml").write_text("{}\n")
    (log,) = logs([place])
    assert (log.kind, dict(log.settings)) == ("lightning", {})
    assert logs([place / "metrics.csv"])[0].key == log.key  # the file is its folder


@pytest.mark.parametrize(("text", "why"), [
    ("- 1\n", "expected a mapping"),
    ("a: [1\n", "expected"),
    ("a: &x [1]\nb: [*x, *x]\n", "aliases"),
    ("[" * 200 + "]" * 200, "nested deeper"),
    ("a: !!python/object/apply:os.system ['touch pwned']\n", ""),
    ("a: \udcff\n", "not UTF-8"),
])  # fmt: skip
def test_hostile_hyperparameters(text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = version(tmp_path, 0, seed=0)
    (place / "hparams.yaml").write_bytes(text.encode(errors="surrogateescape"))
    if why:
        with pytest.raises(UserError, match=why):
            bring([place], tmp_path / "out")
    else:
        bring([place], tmp_path / "out")
        (run,) = records.read([tmp_path / "out"]).runs()
        assert run.config["settings"] == {"a": "object/apply:os.system"} or "os.system" in str(run.config["settings"])
    assert not (tmp_path / "pwned").exists()
