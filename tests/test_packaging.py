"""What is built is what runs: sdist and wheel, installed in a fresh environment away from the repository.

The environment sees the packages of this one through a .pth file and installs the wheel with --no-deps: what is tested
is our own package, and nothing is downloaded. That every dependency is declared is checked by reading the imports.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from members import CONF, ROOT

SRC = ROOT / "src"
EXTRAS_ONLY = {"ray", "submitit", "optuna", "flint", "tensorboard", "mlflow", "numba", "plotly"}
"""Imported only inside functions, when the user asks for them; their extras are declared beside the dependencies."""


def names_of(requirements: list[str]) -> set[str]:
    return {normal(re.match(r"[\w.-]+", r)[0]) for r in requirements}  # type: ignore[index]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def top_level_imports(path: Path) -> set[str]:
    """First names of what importing a module imports: not what stands under TYPE_CHECKING or in a function."""
    found: set[str] = set()
    pending: list[ast.stmt] = list(ast.parse(path.read_text("utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Try):
            pending += node.body
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            pending += node.body + node.orelse
    return found - set(sys.stdlib_module_names) - {"optbench", "applebook"}


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = names_of(project["dependencies"])
    extras = names_of([r for group in project.get("optional-dependencies", {}).values() for r in group])
    owners = packages_distributions()
    for path in SRC.rglob("*.py"):
        for name in top_level_imports(path):
            distributions = {normal(d) for d in owners.get(name, [name, f"python-{name}"])}
            allowed = declared | extras if name in EXTRAS_ONLY else declared
            assert distributions & allowed, f"{path.relative_to(ROOT)} imports {name}, which pyproject does not declare"


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))} | {
        "OMP_NUM_THREADS": "1"
    }
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, the wheel made from the tree, and sdist/ with the wheel made from the sdist."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation")
    run(*build, "--sdist", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    run(*build, "--wheel", "--outdir", folder / "sdist", source, cwd=folder)
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_code_and_conf_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    files = contents(wheel)
    yamls = {n.removeprefix("optbench/conf/") for n in files if n.startswith("optbench/conf/")}
    assert yamls == {p.relative_to(CONF).as_posix() for p in CONF.rglob("*.yaml")}
    code = {n for n in files if n.endswith(".py")}
    assert code == {p.relative_to(SRC).as_posix() for p in SRC.rglob("*.py")}
    assert {"optbench/py.typed", "applebook/py.typed"} <= set(files)
    assert "applebook/phrases.zh.yaml" in files
    lessons = [p.relative_to(SRC).as_posix() for p in (SRC / "optbench/play/lessons").glob("*.yaml")]
    assert lessons
    assert set(lessons) <= set(files)
    roots = {n.partition("/")[0] for n in files}
    assert {r for r in roots if not r.endswith(".dist-info")} == {"optbench", "applebook"}
    assert any(n.endswith("licenses/LICENSE") for n in files)


@pytest.mark.slow
def test_the_sdist_makes_the_same_wheel(built: Path) -> None:
    (wheel,), (again,) = built.glob("*.whl"), (built / "sdist").glob("*.whl")
    assert contents(wheel) == contents(again)
    (source,) = (built / "unpacked").iterdir()
    assert {"README.md", "LICENSE", "Makefile", "conf", "src", "tests"} <= {p.name for p in source.iterdir()}
    assert not list(source.rglob("__pycache__"))


@pytest.mark.slow
def test_the_wheel_runs_from_any_folder(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "a fresh place"
    run(sys.executable, "-m", "venv", place / "env", cwd=tmp_path)
    python = place / "env/bin/python"
    (site,) = (place / "env/lib").glob("python*/site-packages")
    # appended, so that the wheel's own optbench stands first; this environment's editable .pth is not processed
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", "--force-reinstall", wheel, cwd=place)
    optbench = place / "env/bin/optbench"
    where = run(python, "-c", "import optbench, optbench.paths as p; print(p.conf_folder())", cwd=place).stdout.strip()
    assert Path(where) == site.resolve() / "optbench/conf"
    row = json.loads(run(optbench, "run", "optimizer=rmsprop", "trainer.steps=5", "--json", cwd=place).stdout)
    assert (row["status"], row["steps"]) == ("completed", 5)
    assert (place / row["path"] / "run.json").is_file()
    assert "rmsprop" in run(optbench, "list", "optimizer", cwd=place).stdout
    found = run(optbench, "classify-critical", "--fn", "rosenbrock", "--json", cwd=place).stdout
    assert [p["type"] for p in json.loads(found)["points"]] == ["minimum"]
    assert run(optbench, "compare", "outputs", cwd=place).stdout
    claims = json.loads(run(optbench, "reproduce", "--list", "--json", cwd=place).stdout)
    assert {claim["id"] for claim in claims} == {path.stem for path in (CONF / "experiment" / "book").glob("*.yaml")}
    where = run(python, "-c", "import optbench; print(optbench.reproduce.__module__)", cwd=place).stdout.strip()
    assert where == "applebook", "what the package registers is found in its own metadata"
