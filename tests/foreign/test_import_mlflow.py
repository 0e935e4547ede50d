"""MLflow's file store (1.x and 2.x): metrics as `timestamp value step`, params as text, meta.yaml with the status."""

from __future__ import annotations

from pathlib import Path

import pytest

from optbench import records
from optbench.errors import UserError
from optbench.foreign import bring


def run(store: Path, name: str, seed: int, status: int = 3, stage: str = "active") -> Path:
    """A run as the file store writes it; slashes in names are folders."""
    place = store / "0" / name
    for path, text in {
        "meta.yaml": f"artifact_uri: file:///x\nend_time: 17\nlifecycle_stage: {stage}\nrun_id: {name}\n"
        f"run_name: wistful-ant-{seed}\nrun_uuid: {name}\nstatus: {status}\ntags: []\n",
        "metrics/train/loss": f"1721450907221 2.5 0\n1721450907222 1.{seed} 10\n1721450907223 nan 20\n",
        "metrics/val/acc": "1721450907222 0.5 10\n1721450907225 0.75 20\n1721450907224 0.25 20\n",
        "params/lr": "0.01",
        "params/optimizer/name": "torch.optim.AdamW",
        "params/seed": str(seed),
        "tags/mlflow.user": "me",
    }.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    return place


def test_a_store_becomes_records(tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    for seed, name in enumerate(("0a", "0b", "0c")):
        run(store, name, seed, status=(3, 4, 5)[seed])
    run(store, "dead", 9, stage="deleted")
    (store / "0" / "meta.yaml").write_text("experiment_id: '0'\nlifecycle_stage: active\nname: Default\n")
    brought = bring([store], tmp_path / "out")
    assert (brought.kinds, len(brought.folders)) == (["mlflow"], 3)
    runs = {r.summary["seed"]: r for r in records.read([tmp_path / "out"]).runs()}
    assert [runs[k].summary["status"] for k in range(3)] == ["diverged", "failed", "interrupted"]
    one = runs[1]
    assert (one.summary["optimizer"], one.config["optimizer"]) == ("AdamW", {"lr": 0.01})
    assert (one.summary["best_loss"], one.summary["best_step"]) == (1.1, 10)
    assert one.columns()["val_accuracy"][1:].tolist() == [0.5, 0.75]  # of one step, the latest timestamp
    assert "several times" in " ".join(brought.notes)


def test_old_lines_have_no_step(tmp_path: Path) -> None:
    place = run(tmp_path, "0a", 0)
    (place / "metrics/train/loss").write_text("17 2.5\n")
    bring([place], tmp_path / "out")
    (found,) = records.read([tmp_path / "out"]).runs()
    assert found.columns()["loss"][0] == 2.5


@pytest.mark.parametrize(("file", "text", "why"), [
    ("metrics/train/loss", "17 2.5 0 1\n", "no line `timestamp value step`"),
    ("metrics/train/loss", "17 low 0\n", "'low' is not a number"),
    ("metrics/train/loss", "17 2.5 -1\n", "'-1' is no whole number"),
    ("meta.yaml", "- 1\n", "expected a mapping"),
    ("params/lr", "\0", "zero bytes"),
    ("params/lr", "1" * 70_000, "larger than"),
])  # fmt: skip
def test_a_store_that_is_none(file: str, text: str, why: str, tmp_path: Path) -> None:
    place = run(tmp_path, "0a", 0)
    (place / file).write_text(text)
    with pytest.raises(UserError, match=why):
        bring([tmp_path], tmp_path / "out")


def test_links_are_not_followed(tmp_path: Path) -> None:
    place = run(tmp_path / "mlruns", "0a", 0)
    (tmp_path / "secret").write_text("hunter2")
    (place / "params" / "password").symlink_to(tmp_path / "secret")
    bring([tmp_path / "mlruns"], tmp_path / "out")
    (found,) = records.read([tmp_path / "out"]).runs()
    assert "password" not in str(found.config)
