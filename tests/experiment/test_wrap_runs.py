"""What is around an optimizer as a user has it: chosen, recorded, told apart, verified, refused, gone on with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import members
import pytest
import torch
from command_tools import in_a_row, invoke
from hypothesis import given
from hypothesis import strategies as st
from loop_tools import StopsAfter

import optbench
from optbench.catalogue import wants_whole_batch
from optbench.comparison import compare
from optbench.comparison.labels import varying
from optbench.config import Composer
from optbench.config.wraps import settle
from optbench.errors import ConfigError, IncompatibleError
from optbench.experiment import plan_run, plan_sweep
from optbench.experiment.execute import execute, run_and_record
from optbench.experiment.recorder import Stop
from optbench.launch.batches import batches, is_usual
from optbench.protocol import around_name, wrappers
from optbench.records.vocabulary import run_id

SMALL = ("model=mlp", "data=digits", "trainer.steps=4", "trainer.batch_size=16", "trainer.threads=1")
SURFACE = ("model=rosenbrock", "trainer.steps=6")
NAMES = [name for name in members.names("wrap") if members.read("wrap", name).get("_target_")]


def own(folder: Path) -> Path:
    """The wrapper of docs/wrap.md, as a reader would copy it."""
    text = (members.ROOT / "docs" / "wrap.md").read_text(encoding="utf-8")
    (yaml,) = [b.partition("```")[0] for b in text.split("```yaml\n")[1:] if "halve.Halve" in b]
    (code,) = [b.partition("```")[0] for b in text.split("```python\n")[1:] if "class Halve" in b]
    (folder / "wrap").mkdir(parents=True)
    (folder / "wrap" / "halve.yaml").write_text(yaml, encoding="utf-8")
    (folder / "halve.py").write_text(code, encoding="utf-8")
    return folder


def test_without_a_wrapper_a_run_is_what_it_was() -> None:
    plain = plan_run([*SURFACE])
    assert plan_run([*SURFACE, "wrap=none"]).run_id == plain.run_id
    assert "wrap" not in plain.config
    assert "wrap" not in plain.choices
    assert plan_run(["model=mlp", "data=digits", "wrap=accumulate"]).run_id == (
        plan_run(["model=mlp", "data=digits", "trainer.accumulate=4"]).run_id
    )


CHAINS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)


@given(CHAINS, CHAINS)
def test_what_is_around_and_in_which_order_is_the_identity(first: list[str], second: list[str]) -> None:
    def settled(names: list[str]) -> dict[str, Any]:
        plain = {"choices": {"optimizer": "adam"}, "wrap": {name: members.read("wrap", name) for name in names}}
        settle(plain)
        return plain

    one, other = settled(first), settled(second)
    assert (run_id(one) == run_id(other)) == (first == second)
    assert around_name(one["choices"]) == "+".join(["adam", *first])
    assert list(wrappers(one)) == first


def test_the_wrapper_of_the_docs_runs_from_a_folder_of_ones_own(tmp_path: Path) -> None:
    mine = own(tmp_path / "mine")
    halved = optbench.run(*SURFACE, "optimizer=gd", "optimizer.lr=2e-3", "wrap=halve", config_dir=mine, out=tmp_path)
    plain = optbench.run(*SURFACE, "optimizer=gd", "optimizer.lr=1e-3", out=tmp_path)
    assert halved.curve()["x0"].tolist() == pytest.approx(plain.curve()["x0"].tolist(), rel=1e-12)
    assert (halved.summary["optimizer"], halved.summary["wrap"], halved.summary["engine"]) == ("gd", "halve", "loop")
    (mine / "halve.py").write_text((mine / "halve.py").read_text() + "\n# edited\n")
    again = plan_run([*SURFACE, "optimizer=gd", "optimizer.lr=2e-3", "wrap=halve"], [mine])
    assert again.run_id != halved.run_id  # edited code is another run
    (mine / "wrap" / "halve.yaml").write_text("# no place\n_target_: halve.Halve\n_partial_: true\n")
    with pytest.raises(ConfigError, match="does not say where it goes"):
        plan_run(["wrap=halve"], [mine])


@pytest.mark.slow
def test_runs_are_told_apart_by_what_is_around_and_come_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ("wrap=none,sam,[clip,lookahead]", "optimizer=gd,adam", *SURFACE)
    code, said, _ = invoke(capsys, "sweep", *sweep, "--out", tmp_path, "--json")
    assert code == 0
    found = compare([tmp_path])
    assert {group.label for group in found.groups} == {
        "gd", "adam", "gd+sam", "adam+sam", "gd+clip+lookahead", "adam+clip+lookahead"
    }  # fmt: skip
    assert {group.keys["wrap"] for group in found.groups} == {None, "sam", "clip+lookahead"}
    runs = {(run["optimizer"], run.get("wrap")): run for run in json.loads(said)}
    assert runs["adam", "sam"]["evals"] == 12
    assert runs["adam", "clip+lookahead"]["evals"] == 6
    code, said, _ = invoke(capsys, "verify", tmp_path, "--json")
    assert code == 0
    assert {one["verdict"] for one in json.loads(said)["runs"]} == {"same bits"}


def test_why_they_are_no_rows_is_said() -> None:
    many = plan_sweep([*SURFACE, "wrap=sam", "seeds=20", "trainer.start=random"])
    found = batches(list(many))
    assert not found.rows
    assert {found.why[one.run_id] for one in many} == {
        "wrap=sam is around the steps of the training loop; without it they are rows"
    }
    found = batches(list(many)[:3])
    assert all(is_usual(words) and "but not these: wrap=sam" in words for words in found.why.values())


REFUSED: dict[str, str] = {
    "optimizer=lbfgs wrap=sam": "wrap=sam around lbfgs: both call the closure several times an update",
    "wrap=[ema,lookahead]": "wrap=lookahead around adam\\+ema: .*two averages have no meaning together",
    "wrap=lookahead optimizer.protocol.modes=true": "wrap=lookahead around adam: .*two averages",
    "wrap=sam optimizer.protocol.backward=create_graph": "wrap=sam around adam: a second pass moves the weights",
    "wrap=clip optimizer.protocol.backward=fused model=mlp data=digits": "wrap=clip around adam: it updates within its",
    "wrap=swa trainer.ema=0.9 model=mlp data=digits": "trainer.ema=0.9 beside optimizer=adam\\+swa: .*two averages",
    "wrap=clip trainer.engine=portable": "trainer.engine=portable: wrap=clip is around the steps",
    "wrap=accumulate": "wrap=accumulate sets trainer.accumulate, which is for networks",
    "wrap=[clip,lookahed]": "'lookahed' is not a choice for 'wrap'",
    "wrap=[1,2]": "wrap=\\[1,2\\]: expected names, such as wrap=\\[clip,lookahead\\]",
    "wrap=clip wrap.sam.rho=1": "'wrap.sam.rho': 'sam' is not around the optimizer",
    "wrap=clip wrap.clip.norm=-1": "wrap.clip.norm=-1.0: expected a positive number",
    "wrap=sam wrap.sam.protocol.clsure=once": "'wrap.sam.protocol' has no key 'clsure'",
}


@pytest.mark.slow
def test_what_does_not_go_together_is_a_line_before_torch(tmp_path: Path) -> None:
    answers = in_a_row([["run", *words.split()] for words in REFUSED], [tmp_path] * len(REFUSED))
    for (words, why), answer in zip(REFUSED.items(), answers, strict=True):
        assert answer.code == 2, words
        assert re.match(f"error: {why}", answer.err), answer.err
        assert len(answer.err.splitlines()) <= 3
        assert not answer.imported, words
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", members.names("optimizer"))
def test_a_chain_around_every_optimizer_goes_on_to_the_bit(optimizer: str, tmp_path: Path) -> None:
    """On a network; what cannot be around it is skipped, with the reason."""
    whole = wants_whole_batch(optimizer, str(members.read("optimizer", optimizer)["_target_"]))
    small = [one for one in SMALL if not whole or "batch_size" not in one]
    chain = "wrap=[agc,cautious,clip,sam,ema]"
    if optimizer == "lbfgs":
        (planned,) = plan_sweep([*small, f"optimizer={optimizer}", chain], out=tmp_path)
        refused = run_and_record(planned, Stop())
        assert (refused.status, refused.reason[:20]) == ("skipped", "wrap=cautious around")
        chain = "wrap=[agc,clip,ema]"
    kept = []
    for name, stops in (("whole", []), ("stopped", [2])):
        planned = plan_run([*small, f"optimizer={optimizer}", chain], out=tmp_path / name)
        for updates in stops:
            assert execute(planned, StopsAfter(updates)).status == "interrupted"
        found = execute(planned, Stop())
        assert found.status == "completed"
        kept.append(torch.load(planned.folder / "last.pt", weights_only=True))
    for key in ("model", "trained"):
        assert all(torch.equal(t, kept[1][key][n]) for n, t in kept[0][key].items())
        assert all(bool(t.isfinite().all()) for t in kept[0][key].values() if t.is_floating_point())


def test_a_list_of_wrappers_is_planned_in_its_order() -> None:
    with Composer() as composer:
        made = composer.compose(["wrap=[lookahead,clip]", "wrap.lookahead.k=7"]).config
    assert list(made["wrap"]) == ["lookahead", "clip", "order"]
    assert made["wrap"]["order"] == ["lookahead", "clip"]
    assert made["wrap"]["lookahead"]["k"] == 7
    planned = plan_run([*SURFACE, "wrap=[lookahead,clip]"])
    assert planned.folder.name.startswith("rosenbrock-adam_lookahead_clip-constant-s0-")
    with pytest.raises(IncompatibleError, match="wrap=sam around lbfgs: both call the closure several times"):
        plan_run([*SURFACE, "optimizer=lbfgs", "wrap=sam"])


def test_the_name_of_what_is_around_stands_for_settings_that_say_no_more() -> None:
    sam = {"wrap": "sam", "wrap.sam._target_": "optbench.wrappers.sam.Sam", "wrap.sam.rho": 0.05}
    chain = {**sam, "wrap": "clip+sam", "wrap.clip.norm": 1.0, "wrap.order": '["clip", "sam"]'}
    assert varying([{"optimizer.lr": 0.1}, {"optimizer.lr": 0.1, **sam}, {"optimizer.lr": 0.1, **chain}]) == ["wrap"]
    assert varying([{}, sam, {**sam, "wrap.sam.rho": 0.1}]) == ["wrap", "wrap.sam.rho"]
    assert varying([sam, {**sam, "wrap.sam.rho": 0.1}]) == ["wrap.sam.rho"]
