"""What each command imports: what it uses, and of the heavy packages nothing else.

One process imports what the help of a command needs, and forks for each command, which so begins with no more than any
command has; a table says what it may have in the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import make_run, make_table

from optbench.cli import every_command

HEAVY = (
    "torch", "torch._dynamo", "torchvision", "sympy", "hydra", "omegaconf", "numpy", "pandas", "pyarrow", "scipy",
    "numba", "matplotlib", "PIL", "sklearn", "rich", "yaml",
)  # fmt: skip
FORKS = """
import contextlib, io, json, os, sys
from optbench.cli import main
lines, sys.argv = json.loads(sys.argv[1]), ["optbench", "list", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
for words in lines:
    child = os.fork()
    if not child:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        answer = os.dup(1)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.argv = ["optbench", *words]
        try:
            main()
        except SystemExit as end:
            found = [name for name in json.loads(os.environ["HEAVY"]) if name in sys.modules]
            os.write(answer, (json.dumps([words, end.code, found]) + chr(10)).encode())
        except BaseException as error:  # a bug of main, which is to be seen
            os.write(answer, (json.dumps([words, repr(error), []]) + chr(10)).encode())
        os._exit(0)
    os.waitpid(child, 0)
"""
COMPOSED = {"hydra", "omegaconf", "yaml", "numpy"}
ALLOWED: dict[str, set[str]] = {
    "--help": set(),
    "--version": set(),
    **{f"{command.name} --help": set() for command in every_command()},
    "list": set(),
    "list optimizer": set(),
    "list optimizer --json": {"yaml"},
    "check-proof no.json": set(),
    "import log.csv": {"yaml"},
    "reproduce --list": {"yaml"},
    "compare runs": {"numpy", "yaml"},
    "compare runs --json": {"numpy", "yaml"},
    "compare table --json": {"numpy", "yaml", "pyarrow"},
    "run optimizer=adamm": COMPOSED,
    "cost model=sphere": COMPOSED,
}
MISCOUNTED = "run model=mlp data=image_folder data.root=pictures data.n_classes=3"
MISNAMED = "run model=mlp data=torchvision data.name=ImageNet"
ENDS = {"check-proof no.json": 2, "run optimizer=adamm": 2, "cost model=sphere": 2, "plot no-such-run": 2,
        MISCOUNTED: 2, MISNAMED: 2}  # fmt: skip
SURFACE = {"torch", *COMPOSED}
SLOW: dict[str, set[str]] = {
    "plot no-such-run": {"numpy", "yaml", "matplotlib", "PIL"},
    MISCOUNTED: COMPOSED,
    MISNAMED: COMPOSED,
    "config model=himmelblau": COMPOSED,
    "compare --explain ert": {"numpy", "yaml"},
    "compare runs --md": {"numpy", "yaml"},
    "plot runs -o x.png": {"numpy", "yaml", "matplotlib", "PIL"},
    "plot table -o x.png": {"numpy", "yaml", "matplotlib", "PIL", "pyarrow"},
    "compare runs --csv": {"numpy", "yaml"},
    "compare table --csv": {"numpy", "yaml", "pyarrow"},
    "doctor": {"torch", "torchvision", "numpy", "yaml", "PIL"},
    "classify-critical --fn rosenbrock": SURFACE,
    "classify-critical --fn himmelblau --json": SURFACE,
}


COMPILED = {"numpy", "yaml", "numba", "scipy"}  # numba asks which scipy there is, and takes no more of it
KEPT: dict[str, set[str]] = {
    "run model=matyas optimizer=adam trainer.steps=20 --force": {"numpy", "yaml"},
    "sweep model=matyas optimizer=gd,adam trainer.steps=20 --name one --force": {"numpy", "yaml", "pyarrow"},
    "sweep model=matyas optimizer=adam seeds=20 trainer.start=random trainer.steps=9 --name few --force": {
        "numpy", "yaml", "pyarrow",
    },
    "run model=matyas optimizer=adam trainer.steps=20 --dry-run": {"numpy", "yaml"},
    "sweep model=matyas optimizer=adam seeds=20 trainer.start=random trainer.steps=9 --dry-run": {"numpy", "yaml"},
    "sweep model=matyas optimizer=adam seeds=20 trainer.start=random trainer.steps=9 --name all --engine fused --force":
        {*COMPILED, "pyarrow"},
    "basins model=matyas --grid 30 --engine fused": COMPILED,
    "sensitivity model=matyas --points 20 --seeds 4 --engine fused": COMPILED,
}  # fmt: skip
"""Commands whose second call finds the programs of the first on the shelf."""


def imported(lines: list[str], cwd: Path) -> dict[str, tuple[int | str, set[str]]]:
    """Exit code of each command, and which heavy packages it had imported at its end."""
    env = {**os.environ, "HEAVY": json.dumps(HEAVY), "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    words = json.dumps([line.split() for line in lines])
    done = subprocess.run([sys.executable, "-c", FORKS, words], cwd=cwd, env=env, capture_output=True, text=True,
                          check=True, timeout=300)  # fmt: skip
    found = {
        " ".join(words): (code or 0, set(names)) for words, code, names in map(json.loads, done.stdout.splitlines())
    }
    assert list(found) == lines
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs, and with a table of runs."""
    folder = tmp_path_factory.mktemp("imports")
    for seed in range(3):
        make_run(folder / "runs" / str(seed), {"seed": seed}, final_loss=0.5)
    for label in "ab":
        (folder / "pictures" / "train" / label).mkdir(parents=True)
    (folder / "log.csv").write_text("step,loss\n0,1.0\n1,0.5\n")
    make_table(folder / "table", [{"seed": 7, "final_loss": 0.1}, {"seed": 8, "final_loss": 0.2}])
    return folder


def check(allowed: dict[str, set[str]], place: Path) -> dict[str, tuple[int | str, set[str]]]:
    found = imported(list(allowed), place)
    assert {line: code for line, (code, _) in found.items() if code} == {k: v for k, v in ENDS.items() if k in allowed}
    too_many = {line: names - allowed[line] for line, (_, names) in found.items() if names - allowed[line]}
    assert not too_many
    return found


def test_a_command_imports_what_it_uses(place: Path) -> None:
    assert check(ALLOWED, place)["compare runs"][1] == {"numpy", "yaml"}  # what is imported is seen


@pytest.mark.slow
def test_a_command_that_computes_imports_what_it_uses(place: Path) -> None:
    check(SLOW, place)


@pytest.mark.slow
def test_a_command_that_finds_its_programs_needs_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    first = imported(list(KEPT), tmp_path)
    assert "torch" in first[next(iter(KEPT))][1]
    check(KEPT, tmp_path)
