"""transfer: what is run and shared, what is said of optima that are known, and what cannot be asked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from command_tools import invoke
from members import names

from optbench import records
from optbench.catalogue import growing, grown_by
from optbench.metrics.optimum import optimum
from optbench.tuning.transfer import Curve, Question, Transfer
from optbench.tuning.transfer_words import sentence, transfer_json, transfer_lines

RATES = tuple(np.geomspace(1e-4, 1.0, 9).tolist())
MLP = ("model=mlp", "model.hidden=[4,4]", "data.channels=1", "data.image_size=8", "trainer.steps=3")


def made(best: dict[tuple[str, int], float], base: int | None = 64) -> Transfer:
    """An answer whose losses have their optima at these rates."""
    sizes = tuple(sorted({size for _, size in best}))
    question = Question(
        "width", "model.width", sizes, base, RATES, 3, "final_loss", (), (), "gpt on made_text, adam", Path()
    )
    curves = []
    for (kind, size), rate in best.items():
        losses = np.stack([0.5 + np.log(np.array(RATES) / rate) ** 2] * 3)
        curves.append(Curve(kind, size, losses, optimum(RATES, losses)))
    return Transfer(question, tuple(curves))


def test_the_sentence_says_by_how_much_a_known_optimum_moves() -> None:
    found = made({("standard", 64): 0.1, ("standard", 1024): 0.006, ("mup", 64): 0.1, ("mup", 1024): 0.12})
    moves = found.moves("standard"), found.moves("mup")
    assert moves[0] is not None
    assert moves[1] is not None
    assert (moves[0].factor, moves[1].factor) == (pytest.approx(0.06), pytest.approx(1.2))
    told = transfer_json(found)
    assert told["moves"]["mup"]["factor"] == pytest.approx(1.2)
    step = RATES[1] / RATES[0]
    assert told["moves"]["standard"]["low"] == pytest.approx(0.06 / step)
    assert told["sentence"] == (
        "From width 64 to 1024 the best learning rate moves by x0.06 [0.019, 0.19] under SP, and moves by x1.2 "
        "[0.38, 3.8], which may be nothing, under muP (n = 3)."
    )
    lines = transfer_lines(found)
    assert all(len(line) <= 80 for line in lines[2:7])
    best = [("standard", "64", "0.1"), ("standard", "1024", "0.006"), ("muP", "64", "0.1"), ("muP", "1024", "0.12")]
    assert [(*line.split()[:2], line.split()[3]) for line in lines[3:7]] == best


@pytest.mark.slow
def test_the_command_runs_what_is_missing_and_shares_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["transfer", *MLP, "optimizer=adam", "optimizer.lr=1e-3,1e-2,1e-1", "--widths", "4,8", "--seeds", "2"]
    words += ["--jobs", "1", "--out", tmp_path / "out", "--plot", tmp_path / "figure.svg"]
    code, out, _ = invoke(capsys, *words, "--dry-run", "--json")
    plan = json.loads(out)
    assert (code, plan["runs"]) == (0, 3 * 3 * 2)  # both at 4 are one
    code, out, _ = invoke(capsys, *words, "--json")
    found = json.loads(out)
    assert code == 0
    runs = records.read([tmp_path / "out"]).runs()
    assert len(runs) == plan["runs"]
    (standard,) = [p for p in found["points"] if (p["parametrization"], p["size"]) == ("standard", 4)]
    (mup,) = [p for p in found["points"] if (p["parametrization"], p["size"]) == ("mup", 4)]
    assert standard["losses"] == mup["losses"]
    by_hand = {
        (run.config["optimizer"]["lr"], run.summary["seed"]): run.summary["final_loss"]
        for run in runs
        if run.config["model"]["hidden"] == [4, 4]
    }
    assert standard["losses"] == [[by_hand[lr, seed] for lr in (1e-3, 1e-2, 1e-1)] for seed in (0, 1)]
    assert (tmp_path / "figure.svg").stat().st_size > 0
    before = {run.path: run.path.stat().st_mtime_ns for run in runs if run.path}
    code, out, _ = invoke(capsys, *words, "--json")
    assert json.loads(out)["points"] == found["points"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize(("words", "message"), [
    (["--widths", "4"], "one width alone"),
    (["--widths", "4,x"], "--widths 4,x: expected whole numbers"),
    ([], "no sizes: expected one of --widths"),
    (["--widths", "4,8", "--batches", "4,8"], "--widths and --batches: expected one of"),
    (["--batches", "4,8", "--base", "4"], "--base is of widths"),
    (["--depths", "1,2", "--parametrization", "mup"], "muP is of widths"),
    (["--widths", "4,8", "model=resnet18"], "resnet18 has no width to vary"),
    (["--widths", "4,8", "model=rosenbrock"], "rosenbrock is a surface"),
    (["--widths", "4,8", "optimizer.lr=1e-3,1e-2"], "which learning rates?"),
    (["--widths", "4,8", "optimizer=adam,sgd"], "only the rates and the sizes vary"),
    (["--widths", "4,8", "optimizer=muon"], "muP are for SGD and Adam"),
    (["--widths", "4,8", "seeds=3"], "the seeds are 0, 1 ... here"),
    (["--widths", "4,8", "--metric", "accuracy"], "--metric accuracy: expected"),
])  # fmt: skip
@pytest.mark.slow
def test_mistakes(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = [] if any(word.startswith("model=") for word in words) else ["model=mlp"]
    code, out, err = invoke(capsys, "transfer", *model, *words, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_models_that_have_a_width_say_so_in_their_yaml() -> None:
    assert {"mlp", "gpt"} <= set(growing("width")) <= set(names("model"))
    assert grown_by("width", "mlp") == "model.hidden"
    assert grown_by("depth", "gpt") == "model.layers"
    assert grown_by("width", "resnet18") is None


def test_a_size_without_any_result_is_said() -> None:
    found = made({("standard", 64): 0.1, ("standard", 128): 0.1}, base=None)
    lost = Curve("standard", 256, np.full((3, 9), math.inf), None)
    found = Transfer(found.question, (*found.curves, lost))
    assert found.moves("standard") is None
    assert "standard, 256: no rate has a result in most seeds" in "\n".join(transfer_lines(found))
    assert sentence(Transfer(found.question, ())).startswith("Too few runs")
