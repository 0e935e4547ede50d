"""The command where a process of its own would only cost time: in the test's process, or many in a row in one.

The first is for what needs torch; the second is for what must not, and is seen to be without it after each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


IN_A_ROW = """
import json, os, sys, tempfile
from optbench.cli import main
errands, places, heavy = json.loads(sys.argv[1])
answer, usual = os.dup(1), dict(os.environ)
for (words, more), place in zip(errands, places):
    os.chdir(place)
    os.environ.update(more)
    streams = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
    sys.argv, code = ["optbench", *words], 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ.clear()
    os.environ.update(usual)
    for stream in streams:
        stream.seek(0)
    said = [stream.read().decode() for stream in streams]
    os.write(answer, json.dumps([code, *said, [m for m in heavy if m in sys.modules]]).encode() + bytes([10]))
"""


@dataclass(frozen=True)
class Answer:
    """What a command did: its exit code, what it wrote, and which of the heavy packages were imported by then."""

    code: int
    out: str
    err: str
    imported: frozenset[str]


def in_a_row(
    commands: Sequence[Sequence[str | Path]],
    places: Sequence[Path],
    env: Sequence[Mapping[str, str]] = (),
    heavy: Sequence[str] = ("torch",),
    **kwargs: Any,
) -> list[Answer]:
    """Commands one after another in one new process, each in a folder and with further variables of its own."""
    variables = env or [{}] * len(commands)
    errands = [[[*map(str, words)], dict(more)] for words, more in zip(commands, variables, strict=True)]
    told = json.dumps([errands, [*map(str, places)], list(heavy)])
    usual = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_ROW, told], env=usual, capture_output=True, text=True, timeout=300, **kwargs
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(commands), done.stderr
    return [Answer(code, out, err, frozenset(found)) for code, out, err, found in rows]
