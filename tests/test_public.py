"""What is public: applebook uses nothing else, importing it costs nothing, and packages add commands and functions."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from members import ROOT

import optbench

BOOK = sorted((ROOT / "src" / "applebook").rglob("*.py"))
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
SECTION = PAGE.partition("## What is public")[2].partition("\n## ")[0]
MODULES = set(re.findall(r"`(optbench\.[a-z.]+)`", SECTION)) - {"optbench.commands", "optbench.functions"}
"""As ARCHITECTURE lists them."""


def offered(module: str) -> set[str]:
    """What a module offers: its __all__, else what it defines without an underscore; by reading it, as text."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    found: set[str] = set()
    for node in ast.parse(Path(spec.origin).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            if "__all__" in names and node.value is not None:
                return set(ast.literal_eval(node.value))
            found |= names
    return {name for name in found if not name.startswith("_")}


def taken(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each import from optbench; name "" where the module itself is imported."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "optbench")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "optbench":
            yield from ((str(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize("path", BOOK, ids=[p.relative_to(BOOK[0].parent).as_posix() for p in BOOK])
def test_the_application_uses_what_is_public(path: Path) -> None:
    known = {module: offered(module) for module in (*MODULES, "optbench")}
    foreign = [f"{module}.{name}" for module, name in taken(path) if name not in known.get(module, set())]
    assert not foreign, "make it public (optbench.__all__, ARCHITECTURE), or do without"


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 5
    assert len({pair for path in BOOK for pair in taken(path)}) > 30


def test_every_other_room_is_forbidden_to_the_application() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if c["name"].startswith("applebook stands on what is public")]
    rooms = {f"optbench.{p.stem}" for p in (ROOT / "src" / "optbench").iterdir() if p.suffix in ("", ".py")}
    assert set(contract["forbidden_modules"]) == {room for room in rooms if "__" not in room} - MODULES


def test_every_name_is_there() -> None:
    assert len(set(optbench.__all__)) == len(optbench.__all__) > 10
    for name in optbench.__all__:
        assert getattr(optbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = optbench.nothing_of_the_kind


def python(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    before = os.environ.get("PYTHONPATH", "")
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(path or ""), before]))}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=env, check=False)


def test_importing_both_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "yaml", "typer", "hydra", "matplotlib")
    done = python("-c", f"import sys, optbench, applebook; print([m for m in {heavy} if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


# packages of others ---------------------------------------------------------------------------------------------------

GREETING = """\
import typer
from optbench.cli import Command
GREET = Command("greet", "Say hello.", "greeting:greet")
def greet(name: str) -> None:
    typer.echo(f"hello {name}")
def double(x: float) -> float:
    return 2 * x
"""
ENTRIES = """\
[optbench.commands]
greet = greeting:GREET
gone = greeting:NOTHING
run = greeting:GREET

[optbench.functions]
double = greeting:double
compare = greeting:double
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of an installed package that adds to optbench."""
    (tmp_path / "greeting.py").write_text(GREETING)
    info = tmp_path / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return tmp_path


def test_a_package_adds_commands(installed: Path) -> None:
    overview = python("-m", "optbench", "--help", path=installed)
    assert re.search(r"^  greet +Say hello\.$", overview.stdout, re.MULTILINE)
    assert re.search(r"^  gone +Cannot be loaded", overview.stdout, re.MULTILINE)
    assert re.search(r"^  run +Run one configuration", overview.stdout, re.MULTILINE)
    assert "the command run of greeting:GREET is left out" in overview.stderr
    assert python("-m", "optbench", "greet", "you", path=installed).stdout == "hello you\n"
    gone = python("-m", "optbench", "gone", path=installed)
    assert (gone.returncode, gone.stdout) == (2, "")
    assert re.search(
        r"^error: gone: greeting:NOTHING cannot be loaded \(.*\)\nreinstall .*\n\Z", gone.stderr, re.MULTILINE
    )


def test_a_package_adds_functions(installed: Path) -> None:
    code = "import optbench; print(optbench.double(4), optbench.compare.__module__)"
    assert python("-c", code, path=installed).stdout == "8 optbench.comparison.comparison\n"
