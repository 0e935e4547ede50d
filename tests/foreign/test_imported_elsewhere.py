"""What commands do with imported runs that need what a run was made of: they say that there is no such thing."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_tools import command

from optbench.foreign import bring


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text("step,loss,val_acc\n0,2.0,0.5\n1,1.0,0.75\n")
    return bring([tmp_path / "log.csv"], tmp_path / "out").folders[0]


@pytest.mark.parametrize("words", [
    ["curvature"], ["evaluate"], ["predict"], ["plot", "--path", "-o", "x.png"],
    pytest.param(["explain"], marks=pytest.mark.slow),
], ids=lambda words: words[0])  # fmt: skip
def test_there_is_no_model(words: list[str], imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(words[0], imported, *words[1:]) == 2
    said = capsys.readouterr().err
    assert "imported from another tool's log, which holds no model" in said
    assert len(said.splitlines()) == 2


def test_what_reads_numbers_reads_them(imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("compare", imported) == 0
    assert "75.0" in capsys.readouterr().out
    assert command("plot", imported, "-o", tmp_path / "x.svg") == 0
    assert command("verify", imported, "--json") == 3
    assert "imported: nothing to run again" in capsys.readouterr().out
