"""Curvature and checkpoints of recorded runs: measured along training, drawn, and asked about on the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from command_tools import invoke
from matplotlib.patches import Polygon, Rectangle

import optbench
from optbench.errors import RecordError, UserError
from optbench.experiment.rebuild import rebuild
from optbench.plot import curvature_curves
from optbench.plot.curvature import spans
from optbench.records import CURVATURE_COLUMNS, Run

# along training, and on the command line -----------------------------------------------------------------------------


def columns(run: Run) -> pd.DataFrame:
    """What a run computed: its curve without the clock and the curvature."""
    return run.curve().drop(columns=["seconds", *CURVATURE_COLUMNS], errors="ignore")


TINY = ("model=mlp", "model.hidden=[4]", "data=digits", "data.image_size=4", "data.channels=1", "trainer.threads=1",
        "trainer.steps=12", "optimizer=adam")  # fmt: skip


@pytest.fixture(scope="module")
def network_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """12 updates of a small network, curvature measured every 5."""
    out = tmp_path_factory.mktemp("runs")
    return optbench.run(*TINY, "trainer.curvature_every=5", "trainer.curvature_share=0.1", out=out)


def test_measuring_curvature_changes_nothing_else_of_a_run(network_run: Run, tmp_path: Path) -> None:
    plain_run = optbench.run(*TINY, out=tmp_path)
    assert not set(CURVATURE_COLUMNS) & set(plain_run.curve().columns)
    pd.testing.assert_frame_equal(columns(network_run), columns(plain_run))
    curve = network_run.curve()
    assert curve.step[curve.lambda_min.notna()].tolist() == [0, 5, 10]
    assert (curve.lambda_min.dropna() < curve.lambda_max.dropna()).all()
    assert network_run.path is not None
    assert plain_run.path is not None
    ours, theirs = (torch.load(run.path / "last.pt", weights_only=True)["model"] for run in (network_run, plain_run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_curvature_along_a_path_on_a_surface_is_that_of_the_formula(tmp_path: Path) -> None:
    run = optbench.run("model=rosenbrock", "optimizer=gd", "trainer.steps=9", "trainer.curvature_every=3", out=tmp_path)
    curve = run.curve().dropna()
    assert curve.step.tolist() == [0, 3, 6, 9]
    for row in curve.itertuples():
        x, y = row.x0, row.x1
        hessian = np.array([[2 - 400 * (y - 3 * x * x), -400 * x], [-400 * x, 200.0]])
        assert (row.lambda_min, row.lambda_max) == pytest.approx(np.linalg.eigvalsh(hessian), rel=1e-9)
        assert row.full_grad_norm == pytest.approx(row.grad_norm, rel=1e-12)


def test_a_measurement_is_recorded_between_recorded_steps_too(tmp_path: Path) -> None:
    settings = ("trainer.steps=8", "trainer.record_every=4", "trainer.curvature_every=3")
    run = optbench.run("model=saddle", "optimizer=gd", *settings, out=tmp_path)
    assert run.curve().step.tolist() == [0, 3, 4, 6, 8]


def test_the_command_classifies_a_networks_checkpoint(
    network_run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, figure = network_run.path, tmp_path / "spectrum.png"
    assert folder is not None
    options = ("--run", str(folder), "--checkpoint", "last", "--share", "0.1", "--products", "60")
    code, out, err = invoke(capsys, "classify-critical", *options, "--plot", str(figure), "--json")
    assert code == 0
    assert "gradients" in err
    assert figure.exists()
    found = json.loads(out)
    assert found["of"] == 1259
    assert found["examples"] == 126
    assert found["wording"]
    assert found["exact"] is False
    assert found["proof"]["not_a_minimum"] is True
    assert found["proof"]["curvature"][0] <= found["lambda_min"]["value"] + 1e-9
    assert found["proof"]["curvature"][1] < 0
    assert found["proof"]["loss"][0] - 1e-12 <= found["loss"] <= found["proof"]["loss"][1] + 1e-12
    assert found["basis"] == "proved"
    way = torch.load(folder / "escape.pt", weights_only=True)
    assert way.keys() - {"step"} == {"layers.1.weight", "layers.1.bias", "layers.3.weight", "layers.3.bias"}
    assert math.sqrt(sum(float(v.square().sum()) for k, v in way.items() if k != "step")) == pytest.approx(1.0)


def test_the_command_classifies_where_a_run_on_a_surface_stopped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = optbench.run("model=saddle", "optimizer=gd", "trainer.steps=5", "trainer.start=[0,0]", out=tmp_path)
    code, out, _ = invoke(capsys, "classify-critical", "--run", str(run.path))
    assert code == 0
    assert "verdict: saddle" in out


@pytest.mark.parametrize("extra", [("--at", "0,0"), ("--checkpoint", "third"), ("--share", "2"), ("--products", "2")])
def test_the_command_refuses_what_does_not_fit(
    network_run: Run, extra: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = invoke(capsys, "classify-critical", "--run", str(network_run.path), *extra)
    assert code == 2
    assert not out
    assert "error" in err


CLOCKED = ("seconds", "gradients_a_product")


def test_curvature_is_classify_critical_of_a_run(
    network_run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One implementation: the same document but for what a clock measured, for a network and for a surface."""
    surface = optbench.run("model=saddle", "optimizer=gd", "trainer.steps=5", out=tmp_path)
    for run, options in ((network_run, ("--checkpoint", "last", "--share", "0.1")), (surface, ())):
        found = []
        for words in (["curvature"], ["classify-critical", "--run"]):
            code, out, _ = invoke(capsys, *words, str(run.path), *options, "--json")
            assert code == 0
            document = json.loads(out, object_hook=lambda d: {k: v for k, v in d.items() if k not in CLOCKED})
            found.append(document)
        assert found[0] == found[1]


@pytest.mark.parametrize(("checkpoint", "step"), [("last", 5), (None, 5), ("best", 5), ("0", 0), ("2", 2)])
def test_a_step_of_a_surfaces_run_is_a_checkpoint(
    checkpoint: str | None, step: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = ("trainer.steps=5", "trainer.start=[1,0.5]", "optimizer.lr=0.1", "trainer.record_every=2")
    run = optbench.run("model=saddle", "optimizer=gd", *settings, out=tmp_path)
    words = () if checkpoint is None else ("--checkpoint", checkpoint)
    code, out, _ = invoke(capsys, "classify-critical", "--run", str(run.path), *words, "--json")
    curve = run.curve().set_index("step")
    assert curve.loss.idxmin() == 5
    assert (code, json.loads(out)["x"]) == (0, [curve.x0[step], curve.x1[step]])


def test_a_step_that_was_not_recorded_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = optbench.run("model=saddle", "optimizer=gd", "trainer.steps=9", "trainer.record_every=4", out=tmp_path)
    code, out, err = invoke(capsys, "classify-critical", "--run", str(run.path), "--checkpoint", "7")
    assert (code, out) == (2, "")
    assert "step 7 is not recorded" in err
    assert "nearest one is 8" in err


# weights that are kept -----------------------------------------------------------------------------------------------

EPOCHS = (*TINY[:-2], "trainer.batch_size=512", "trainer.epochs=4", "optimizer=adam")
STEPS_AN_EPOCH = 3


class Killed(BaseException):
    """Nothing that a run could catch."""


class KillAt:
    """A display at which a run dies."""

    def __init__(self, at: int) -> None:
        self.at = at

    def start(self, label: str, index: int, count: int) -> None: ...

    def loading(self, done: int, total: int) -> None: ...
    def resumed(self, words: str) -> None: ...

    def step(self, step: int, total: int, row: Any) -> None:
        if step == self.at:
            raise Killed

    def end(self, run: Any) -> None: ...


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model"]
    return found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """4 epochs, the weights after every second one kept."""
    return optbench.run(*EPOCHS, "trainer.keep_every=2", out=tmp_path_factory.mktemp("kept"))


def files(run: Run) -> list[str]:
    assert run.path is not None
    return sorted(path.name for path in (run.path / "checkpoints").iterdir())


def test_weights_are_kept_and_found_by_their_epoch(kept_run: Run, tmp_path: Path) -> None:
    folder = kept_run.path
    assert folder is not None
    assert files(kept_run) == ["epoch-0000.pt", "epoch-0002.pt", "epoch-0004.pt"]
    assert same(weights(folder / "checkpoints/epoch-0004.pt"), weights(folder / "last.pt"))
    half = optbench.run(*EPOCHS, "trainer.steps=6", "scheduler=constant", out=tmp_path / "half")
    whole = optbench.run(*EPOCHS, "scheduler=constant", "trainer.keep_every=2", out=tmp_path / "whole")
    assert half.path is not None
    assert whole.path is not None
    assert same(rebuild(whole.path, "2").model.state_dict(), weights(half.path / "last.pt"))
    with pytest.raises(RecordError, match="no checkpoint of epoch 3") as caught:
        rebuild(folder, "3")
    assert caught.value.hint == "there are best, last, 0, 2, 4"
    with pytest.raises(UserError, match="best, last or an epoch"):
        rebuild(folder, "-1")


def test_none_is_kept_unless_asked_for_and_the_run_is_the_same(kept_run: Run, tmp_path: Path) -> None:
    plain = optbench.run(*EPOCHS, out=tmp_path)
    assert plain.path is not None
    assert not (plain.path / "checkpoints").exists()
    assert plain.run_id == kept_run.run_id
    pd.testing.assert_frame_equal(columns(plain), columns(kept_run))
    with pytest.raises(RecordError) as caught:
        rebuild(plain.path, "2")
    assert "trainer.keep_every=1 --force" in caught.value.hint


def test_a_killed_run_keeps_its_weights_and_goes_on_to_the_same_ones(kept_run: Run, tmp_path: Path) -> None:
    words = (*EPOCHS, "trainer.keep_every=2")
    with pytest.raises(Killed):
        optbench.run(*words, out=tmp_path, display=KillAt(2 * STEPS_AN_EPOCH + 1))
    (folder,) = tmp_path.glob("mlp-*")
    left = folder / "checkpoints" / ".epoch-0004.pt.x.tmp"
    left.write_bytes(b"torn")
    assert (folder / "checkpoints/epoch-0002.pt").exists()
    run = optbench.run(*words, out=tmp_path)
    assert run.status == "completed"
    assert files(run) == files(kept_run)
    for name in files(run):
        assert run.path is not None
        assert kept_run.path is not None
        assert same(weights(run.path / "checkpoints" / name), weights(kept_run.path / "checkpoints" / name))


def test_a_forced_run_replaces_what_was_kept(tmp_path: Path) -> None:
    optbench.run(*EPOCHS, "trainer.keep_every=1", out=tmp_path)
    run = optbench.run(*EPOCHS, "trainer.keep_every=4", out=tmp_path, force=True)
    assert files(run) == ["epoch-0000.pt", "epoch-0004.pt"]


def test_commands_take_an_epoch(kept_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(kept_run.path)
    losses = []
    for epoch in ("0", "4"):
        options = ("--share", "0.1", "--products", "40", "--json", "--quiet")
        code, out, _ = invoke(capsys, "classify-critical", "--run", folder, "--checkpoint", epoch, *options)
        assert code == 0
        assert json.loads(out)["name"].endswith(f"checkpoints/epoch-000{epoch}.pt")
        losses.append(json.loads(out)["loss"])
        code, out, _ = invoke(capsys, "evaluate", folder, "--checkpoint", epoch, "--json")
        assert (code, json.loads(out)["checkpoint"]) == (0, epoch)
    assert losses[1] < losses[0]


# the figure ----------------------------------------------------------------------------------------------------------


def measured(loss: list[float], norm: list[float], low: list[float], high: list[float], every: int = 1) -> pd.DataFrame:
    """A curve whose curvature was measured at every so many steps."""
    at = np.arange(len(loss)) % every == 0
    columns_ = {"full_grad_norm": norm, "lambda_min": low, "lambda_max": high}
    return pd.DataFrame(
        {"step": np.arange(len(loss)), "loss": loss}
        | {name: np.where(at, np.array(values, dtype=float), np.nan) for name, values in columns_.items()}
    )


def test_the_three_states_of_the_lecture_are_told_apart() -> None:
    flat = [1.0] * 4
    for norm, low, high, state in [
        (1.0, 1.0, 50.0, "large gradient"),  # promises 1/100 of a fall of 9
        (0.9, 1.0, 50.0, "minimum"),  # 0.0081, less than 0.009
        (0.9, -1.0, 50.0, "saddle"),
        (0.9, -0.04, 50.0, "minimum"),  # flat to 0.08 %
        (0.9, -50.0, 1.0, "saddle"),
        (0.0, 0.0, 0.0, "minimum"),
        (1e-9, 0.0, 0.0, "large gradient"),  # a slope without curvature
    ]:
        curve = measured([10.0, 5.0, *flat], [norm] * 6, [low] * 6, [high] * 6, every=2)
        found = spans(curve)
        assert [span.state for span in found] == [state] * 3
        assert [(span.first, span.last) for span in found] == [(0.0, 1.0), (1.0, 3.0), (3.0, 5.0)]
        assert [span.stuck for span in found] == [False, False, True]


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_states_do_not_depend_on_the_scale_of_loss_or_weights(factor: float) -> None:
    rng = np.random.default_rng(1)
    loss, norm = np.sort(rng.random(60))[::-1], 10.0 ** rng.uniform(-3, 1, 60)
    low, high = rng.normal(size=60), 1.0 + rng.random(60)

    def states(f: float, w: float) -> list[Any]:
        scaled = (f * loss + 7.0 * (f == 1.0), f / w * norm, f / w**2 * low, f / w**2 * high)
        return spans(measured(*(part.tolist() for part in scaled)))

    assert states(1.0, 1.0) == states(factor, 1.0) == states(1.0, factor)
    assert len({span.state for span in states(1.0, 1.0)}) == 3


def test_runs_that_are_stuck_in_the_three_ways(tmp_path: Path) -> None:
    """Gradient descent thrown from wall to wall, held up at the two-weight network's saddle, and at its end."""
    every = ("optimizer=gd", "trainer.curvature_every=5")
    bounces = optbench.run(*every, "model=sphere", "optimizer.lr=1", "trainer.steps=20", out=tmp_path)
    assert {(span.state, span.stuck) for span in spans(bounces.curve())[1:]} == {("large gradient", True)}
    start = "trainer.start=[-1,1.00001]"
    run = optbench.run(*every, "model=linear_net_l2", start, "optimizer.lr=0.1", "trainer.steps=120", out=tmp_path)
    states = [span.state for span in spans(run.curve())]
    order = [state for state, before in zip(states, [None, *states], strict=False) if state != before]
    assert order == ["large gradient", "saddle", "large gradient", "minimum"]
    stuck = {span.state for span in spans(run.curve()) if span.stuck}
    assert stuck == {"saddle", "minimum"}
    figure = curvature_curves([run])
    figure.canvas.draw()
    assert [ax.get_ylabel().split("\n")[0] for ax in figure.axes][:2] == ["loss", "gradient norm"]
    assert [len(ax.get_lines()) for ax in figure.axes] == [1, 1, 3]  # both ends of the spectrum, and zero
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[1:] == ["gradient large", "gradient small, curves down: a saddle",
                         "gradient small, curves up or is flat: a minimum", "loss no longer falls"]  # fmt: skip
    shaded = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle | Polygon)]
    assert len(shaded) == len(states)
    both = curvature_curves([run, bounces])
    assert len(both.axes) == 4
    assert len(both.axes[3].collections) == len(states) + 5


def test_the_command_draws_curvature_or_says_how_to_measure_it(
    network_run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figure = tmp_path / "stuck.png"
    code, out, _ = invoke(capsys, "plot", str(network_run.path), "--curvature", "-o", str(figure))
    assert (code, out.strip()) == (0, str(figure))
    assert figure.stat().st_size > 10_000
    run = optbench.run("model=saddle", "optimizer=gd", "trainer.steps=3", out=tmp_path / "runs")
    code, out, err = invoke(capsys, "plot", str(run.path), "--curvature", "-o", str(figure))
    assert (code, out) == (2, "")
    assert "trainer.curvature_every=10" in err
    code, _, err = invoke(capsys, "plot", str(run.path), "--curvature", "--path")
    assert (code, "choose one" in err) == (2, True)
