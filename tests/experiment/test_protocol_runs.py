"""Optimizers with a protocol as a user runs them: found in a folder of one's own, recorded, verified, gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import members
import pytest
import torch
from command_tools import invoke
from loop_tools import StopsAfter

import optbench
from optbench.experiment import plan_run, plan_sweep
from optbench.experiment.assemble import build_problem
from optbench.experiment.execute import execute
from optbench.experiment.recorder import Stop

SMALL = ("model=mlp", "data=digits", "trainer.steps=4", "trainer.batch_size=16", "trainer.threads=1")


def own(folder: Path) -> Path:
    """The SAM of CONTRIBUTING.md, as a reader would copy it."""
    text = (members.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (yaml,) = [b.partition("```")[0] for b in text.split("```yaml\n")[1:] if "sam.SAM" in b]
    (code,) = [b.partition("```")[0] for b in text.split("```python\n")[1:] if "class SAM" in b]
    (folder / "optimizer").mkdir(parents=True)
    (folder / "optimizer" / "sam.yaml").write_text(yaml, encoding="utf-8")
    (folder / "sam.py").write_text(code, encoding="utf-8")
    return folder


def test_the_example_of_contributing_runs_and_comes_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = own(tmp_path / "mine")
    run = optbench.run(*SMALL, "optimizer=sam", config_dir=mine, out=tmp_path / "out")
    assert run.path is not None
    assert (run.summary["steps"], run.summary["evals"], run.summary["gradients"]) == (4, 8, 8)
    assert run.provenance["protocol"]["closure"] == "several"
    surface = optbench.run("model=rosenbrock", "optimizer=sam", "optimizer.lr=1e-4", "trainer.steps=5", config_dir=mine,
                           out=tmp_path / "out")  # fmt: skip
    assert (surface.summary["engine"], surface.summary["evals"]) == ("loop", 10)
    code, said, _ = invoke(capsys, "verify", tmp_path / "out", "--config-dir", mine, "--json")
    assert code == 0
    assert [one["verdict"] for one in json.loads(said)["runs"]] == ["same bits", "same bits"]
    # what cannot be met is said before the start alone, and is a row in a sweep
    code, _, said = invoke(capsys, "run", *SMALL, "optimizer=sam", "--config-dir", mine, "optimizer.protocol.clsure=1")
    assert code == 2
    assert "did you mean: optimizer.protocol.closure?" in said
    refused = ("optimizer=adam", "optimizer.protocol.backward=create_graph", "trainer.compile=true")
    code, _, said = invoke(capsys, "run", *SMALL, *refused)
    assert code == 2
    assert "trainer.compile=true beside optimizer=adam: torch.compile keeps no graph" in said
    assert len(plan_sweep([*SMALL, *refused, "seeds=2"], out=tmp_path / "sweep")) == 2


def test_a_declaration_that_says_nothing_is_the_same_run() -> None:
    plain = plan_run([*SMALL, "optimizer=adam"]).run_id
    assert plan_run([*SMALL, "optimizer=adam", "optimizer.protocol.closure=auto"]).run_id == plain
    assert plan_run([*SMALL, "optimizer=adam", "optimizer.protocol.closure=once"]).run_id != plain


def test_filters_and_their_gradients_are_contiguous_where_that_is_declared() -> None:
    for layout in ("any", "contiguous"):
        overrides = ["model=hw3_cnn", "model.width=2", "optimizer=adam", f"optimizer.protocol.layout={layout}"]
        problem = build_problem(plan_run(overrides).config, torch.device("cpu"))
        problem.differentiate(problem.batch(0))
        filters = [p for p in problem.module.parameters() if p.ndim == 4 and p.shape[1] > 1]
        assert len(filters) > 1
        for p in filters:
            assert p.grad is not None
            assert p.is_contiguous() == p.grad.is_contiguous() == (layout == "contiguous")


def _resumed(overrides: list[str], mine: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last checkpoints of a run in one go and of one that was stopped after two updates."""
    found = []
    for name, stops in (("whole", []), ("stopped", [2])):
        planned = plan_run(overrides, [mine], folder / name)
        for updates in stops:
            assert execute(planned, StopsAfter(updates)).status == "interrupted"
        assert execute(planned, Stop()).status == "completed"
        found.append(torch.load(planned.folder / "last.pt", weights_only=True))
    return found[0], found[1]


FOREIGN = {
    "schedulefree.SGDScheduleFree": "lr: 0.1",
    "schedulefree.AdamWScheduleFree": "lr: 0.01\nprotocol: {batch_norm: 2}",
    "pytorch_optimizer.AdaHessian": "lr: 0.01\nprotocol: {backward: create_graph}",
    "pytorch_optimizer.SophiaH": "lr: 0.01\nupdate_period: 2\nprotocol: {backward: create_graph}",
    "pytorch_optimizer.AliG": "max_lr: 0.1\nprotocol: {closure: float}",
    "pytorch_optimizer.LOMO": "params: model\nlr: 0.05",
    "pytorch_optimizer.AdaLOMO": "params: model\nlr: 0.01",
    "pytorch_optimizer.SPlus": "lr: 0.01",
    "pytorch_optimizer.ScheduleFreeAdamW": "lr: 0.01",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("target", FOREIGN)
def test_published_classes_go_on_to_the_bit_and_are_judged_as_they_ask(target: str, tmp_path: Path) -> None:
    """Where their packages are installed, which `.[dev]` does not do."""
    module, _, name = target.rpartition(".")
    package = pytest.importorskip(module)
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    text = f"# {name}\n_target_: {target}\n_partial_: true\n{FOREIGN[target]}\n"
    (tmp_path / "mine" / "optimizer" / "theirs.yaml").write_text(text, encoding="utf-8")
    whole, stopped = _resumed([*SMALL, "optimizer=theirs", "scheduler=constant"], tmp_path / "mine", tmp_path)
    for kind in whole.keys() & {"model", "trained"}:
        assert all(torch.equal(tensor, stopped[kind][key]) for key, tensor in whole[kind].items())
    has_modes = hasattr(getattr(package, name), "eval")
    assert ("trained" in whole) == has_modes
    assert not has_modes or any(not torch.equal(t, whole["model"][key]) for key, t in whole["trained"].items())


@pytest.mark.slow
def test_schedulefree_is_judged_at_its_own_average(tmp_path: Path) -> None:
    """Its own loop, by hand: the weights of `eval()` after the same batches."""
    schedulefree = pytest.importorskip("schedulefree")
    from optbench.experiment.assemble import build_problem
    from optbench.loop.drive import driver

    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    (tmp_path / "mine" / "optimizer" / "sf.yaml").write_text(
        "# sf\n_target_: schedulefree.SGDScheduleFree\n_partial_: true\nlr: 0.5\n", encoding="utf-8"
    )
    overrides = [*SMALL, "optimizer=sf", "scheduler=constant"]
    run = optbench.run(*overrides, config_dir=tmp_path / "mine", out=tmp_path / "out")
    problem = build_problem(run.config, torch.device("cpu"))
    optimizer = schedulefree.SGDScheduleFree(problem.module.parameters(), lr=0.5)
    problem.module.train()
    optimizer.train()
    update = driver(optimizer)
    for k in range(4):
        batch = problem.batch(k)

        def closure() -> Any:
            optimizer.zero_grad()
            return problem.differentiate(batch)  # noqa: B023

        update(closure)
    optimizer.eval()
    assert run.path is not None
    kept = torch.load(run.path / "last.pt", weights_only=True)["model"]
    assert all(torch.equal(tensor, kept[name]) for name, tensor in problem.module.state_dict().items())
    assert problem.evaluate()["val_accuracy"] == run.summary["val_accuracy"]
