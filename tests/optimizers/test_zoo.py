"""The zoo: optimizers of other packages, which the extra of that name brings; and every optimizer over three problems.

The checks are those of benchmarks/zoo.py, which writes docs/zoo.md with them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import members
import pytest
from command_tools import invoke

from optbench.catalogue import catalogue
from optbench.config import Composer
from optbench.errors import ConfigError

ZOO = members.zoo()
MODULES = {
    "pytorch_optimizer": "pytorch-optimizer", "optimi": "torch-optimi", "prodigyplus": "prodigy-plus-schedule-free",
    "lion_pytorch": "lion-pytorch", "adopt": "torch-adopt", "came_pytorch": "came-pytorch", "adam_mini": "adam-mini",
    "kron_torch": "kron-torch",
}  # fmt: skip
"""Modules whose package has another name."""


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/zoo.py as a module."""
    monkeypatch.syspath_prepend(str(members.ROOT / "benchmarks"))
    import zoo

    return zoo


def module_of(name: str) -> str:
    return str(members.read("optimizer", name)["_target_"]).partition(".")[0]


def test_every_package_of_the_zoo_is_in_the_extra_and_the_other_way_round() -> None:
    project = tomllib.loads((members.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {re.split(r"[><=~! ;]", line)[0] for line in project["optional-dependencies"]["zoo"]}
    modules = {module_of(name) for name in ZOO}
    assert {MODULES.get(module, module) for module in modules} == extra
    assert len(ZOO) >= 100
    entries = [entry for entry in catalogue("optimizer") if entry.extra]
    assert {(entry.name, entry.extra) for entry in entries} == {(name, "zoo") for name in ZOO}


def test_without_its_package_a_member_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pytorch_optimizer" else find(name))
    code, out, err = invoke(capsys, "run", "optimizer=zoo/lion")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: optimizer=zoo/lion needs the package of pytorch_optimizer.Lion",
        "pip install 'optbench[zoo]'",
    ]
    assert not list(tmp_path.iterdir())
    code, _, err = invoke(capsys, "run", "optimizer=zoo/lino")
    assert code == 2
    assert "did you mean: optimizer=zoo/lion" in err
    assert len(err) < 300


def test_what_a_member_composes_imports_no_package_and_keeps_its_protocol() -> None:
    before = set(sys.modules)
    with Composer() as composer, pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: True)
        patch.setattr(Composer, "found", lambda self, composed: composed)
        for name in ("zoo/adahessian", "zoo/muon", "zoo/ranger21"):
            on_network = composer.compose([f"optimizer={name}", "model=mlp"]).config["optimizer"]
            assert on_network["_target_"].startswith("pytorch_optimizer.")
    assert not {module.partition(".")[0] for module in set(sys.modules) - before} & {module_of(name) for name in ZOO}
    with pytest.raises(ConfigError, match="expected plain, create_graph or fused"), Composer() as composer:
        composer.compose(["optimizer=zoo/adahessian", "optimizer.protocol.backward=graph"])


def test_list_shows_the_zoo_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "list", "--zoo", "--json")
    assert code == 0
    assert [entry["name"] for entry in json.loads(out)] == ZOO
    code, out, _ = invoke(capsys, "list", "optimizer")
    assert "zoo/" not in out
    assert out.splitlines()[-1].startswith(f"{len(ZOO)} more from other packages")
    code, _, err = invoke(capsys, "list", "model", "--zoo")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # some of torch's warn of their own settings
@pytest.mark.parametrize("name", members.names("optimizer"))
def test_every_optimizer_over_three_problems(name: str, zoo: Any) -> None:
    """It learns on each or fails for a reason that is written down, goes on to the bit, and pickles its state."""
    tried = zoo.attempt(name, with_costs=False)
    assert zoo.unexpected(tried) == []
    assert {*tried.falls, *tried.failed} >= {*zoo.PROBLEMS}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", ZOO)
def test_every_member_of_the_zoo_over_three_problems(name: str, zoo: Any) -> None:
    """As those of this package; `make test-zoo` installs what they need."""
    import torch._dynamo

    import optbench.vision  # noqa: F401  timm imports torchvision, whose operators a CPU build of torch lacks

    if importlib.util.find_spec(module_of(name)) is None:
        pytest.skip("the extra zoo is not installed")
    with torch._dynamo.config.patch(disable=True):  # HeavyBall compiles for minutes
        tried = zoo.attempt(name, with_costs=False)
    assert zoo.unexpected(tried) == []
    assert {*tried.falls, *tried.failed} >= {*zoo.PROBLEMS}  # each was tried, or the reason stands there


def test_the_page_has_a_row_for_each_member_and_a_reason_for_each_failure(zoo: Any) -> None:
    found = json.loads(zoo.FOUND.read_text(encoding="utf-8"))
    assert sorted(found) == ZOO
    assert [s for name, one in found.items() for s in zoo.unexpected(zoo.Tried(name, **one))] == []
    assert zoo.table(found) in zoo.PAGE.read_text(encoding="utf-8")
    assert {name for name, _ in zoo.KNOWN} <= {*ZOO, *members.names("optimizer")}
    assert all(reason for reason in zoo.KNOWN.values())
    assert sum(not one["failed"] for one in found.values()) >= 100


def test_an_error_on_the_page_is_one_plain_sentence(zoo: Any) -> None:
    assert zoo.first_sentence("Weights only load failed. See \x1b[1mthis\x1b[0m.\nmore") == "Weights only load failed"
    assert zoo.first_sentence("") == ""


def test_a_loss_that_first_rose_falls_from_where_it_began(zoo: Any) -> None:
    assert zoo.factor([2.3, 1.6e4, 900.0, 2.4, 2.3, 2.2], 2) == pytest.approx(2.3 / 2.25)
    assert zoo.factor([2.3, 2.1, 1.0, 0.6, 0.5], 2) == pytest.approx(2.2 / 0.55)
