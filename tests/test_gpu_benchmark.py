"""benchmarks/gpu.py where there is no GPU: it says so, its small mode runs, its verdicts are arithmetic."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from members import ROOT
from torch import nn

from optbench.problem import compiled, precision


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu

    return gpu


def called(gpu: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Its exit code."""
    monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "put back afterwards")
    try:
        gpu.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_without_a_gpu_it_says_so_in_a_line(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert called(gpu, monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "no NVIDIA GPU here" in err


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that compiles nothing, and 16 bits that are as quick as 32."""

    def as_it_is(model: nn.Module, dynamic: bool, mode: str | None) -> nn.Module:
        return model

    monkeypatch.setattr(torch, "compile", as_it_is)
    monkeypatch.setattr(compiled, "forget_others", lambda: None)
    monkeypatch.setattr(precision, "slowdown", lambda *_: 1.0)


def rates(gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What the small mode prints beside each arm."""
    assert called(gpu, monkeypatch, "--device", "cpu", "--small") == 0
    out, _ = capsys.readouterr()
    assert "says nothing here" in out
    assert "holds" not in out
    rows = [line.split("|") for line in out.splitlines() if line.startswith("| ")]
    return {name.strip(): rate.strip() for _, name, rate, *_ in rows if not name.startswith(" batch")}


def test_its_small_mode_runs(
    gpu: Any, pretended: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "OURS", {gpu.DEFAULT: (), "ours, tf32": gpu.OURS["ours, tf32"]})
    found = rates(gpu, monkeypatch, capsys)
    assert "tf32 is of NVIDIA GPUs" in found.pop("ours, tf32")
    assert found.keys() == {gpu.PLAIN, gpu.PLAIN_TF32, gpu.DEFAULT}
    assert all(rate.replace(",", "").isdigit() for rate in found.values()), found


@pytest.mark.slow
def test_its_small_mode_runs_every_arm(
    gpu: Any, pretended: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rates(gpu, monkeypatch, capsys)
    assert found.keys() == {gpu.PLAIN, gpu.PLAIN_TF32, *(name for name in gpu.OURS if name != gpu.GRAPHS)}
    assert all(rate.replace(",", "").isdigit() for name, rate in found.items() if name != "ours, tf32"), found


def test_its_verdicts(gpu: Any) -> None:
    setting, one = gpu.Setting("cuda"), gpu.Measured
    found = {
        (gpu.PLAIN, 64): one(4000.0), (gpu.DEFAULT, 64): one(6400.0), (gpu.DETERMINISTIC, 64): one(3200.0),
        (gpu.COMPILED, 64): one(18_000.0, 41.0), (gpu.CACHED, 64): one(18_100.0, 6.5),
        (gpu.PLAIN, 256): one(4000.0), (gpu.DEFAULT, 256): one(5600.0), (gpu.GRAPHS, 256): "RuntimeError: no",
    }  # fmt: skip
    lines = gpu.verdicts(setting, found)
    assert lines == [
        "- batch 64: default 1.60 times plain, 1.5 wanted: holds",
        "- batch 64: deterministic 0.50 times default",
        "- batch 64: compiling took 41.0 s cold, 6.5 s cached",
        "- batch 256: default 1.40 times plain, 1.5 wanted: does not hold",
        "- ours, bf16 compiled, batch 64: 18,000 images/s, 20,000 wanted: does not hold",
    ]
    found[gpu.GRAPHS, 256] = one(20_000.0, 50.0)
    assert gpu.verdicts(setting, found)[-1].endswith("batch 256: 20,000 images/s, 20,000 wanted: holds")


def test_what_was_not_begun_is_said(gpu: Any) -> None:
    found = gpu.measure(gpu.Setting("cpu", 32, 2, 32, (16,), 2), budget=-1.0)
    assert set(found.values()) == {"not begun: the budget was spent"}
    assert "not begun" in gpu.report(gpu.Setting("cpu", 32, 2, 32, (16,), 2), found)
