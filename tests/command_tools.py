"""The command in the test's own process: for what needs torch and no process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from optbench.cli import main


def command(*words: str | Path) -> int:
    """The exit code of `optbench words...`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["optbench", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def invoke(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `optbench words...`."""
    code = command(*words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err
