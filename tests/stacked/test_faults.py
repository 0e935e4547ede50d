"""What goes wrong as a stack is put together: what is expected is a reason, a fault is said with its type and place.

The runs are made all the same.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from optbench.experiment import plan_sweep
from optbench.launch.sweep import Options, divide, sweep
from optbench.records import Status
from optbench.stacked import assembled
from optbench.stacked.chain import UnstackedError

WORDS = ("model=logistic", "data.image_size=8", "data.channels=1", "trainer.steps=2", "seeds=2",
         "hydra.launcher.jobs=0")  # fmt: skip


def raises(error: Exception) -> Any:
    def networks_of(*given: Any, **more: Any) -> Any:
        raise error

    return networks_of


@pytest.mark.parametrize("error", [ImportError("no such name"), TypeError("a bug\nin two lines")])
def test_a_fault_is_said_and_the_runs_are_made(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(assembled, "networks_of", raises(error))
    with caplog.at_level(logging.WARNING):
        runs = sweep(*WORDS, out=tmp_path, name="s", engine="stacked", least=2)
    assert [(run.status, run.summary["engine"]) for run in runs] == [(Status.COMPLETED, "loop")] * 2
    said = [record.getMessage() for record in caplog.records if "one by one" in record.getMessage()]
    line = raises.__code__.co_firstlineno + 2
    place = f"{Path(__file__).as_posix()}:{line}"
    words = str(error).partition("\n")[0]
    assert said == [f"logistic adam: its 2 runs go one by one: putting them together raised {type(error).__name__} "
                    f"at {place}: {words}"]  # fmt: skip


def test_what_is_expected_is_a_reason_and_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(assembled, "networks_of", raises(UnstackedError("it does not stack")))
    with caplog.at_level(logging.WARNING):
        why = divide(plan_sweep(WORDS, out=tmp_path, name="s"), Options(engine="stacked", least=2)).why
    assert set(why.values()) == {"networks train one by one: it does not stack"}
    assert not caplog.records
