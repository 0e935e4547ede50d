"""The house rules that a machine can hold: sizes, docstrings, catalogue lines, layers."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from members import CONF, ROOT

from optbench.catalogue import GROUPS, LISTED, catalogue

SRC = ROOT / "src"
STRUCTURE = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/inside.md")
FILES = sorted(SRC.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Every file of the package, parsed."""
    return {path.relative_to(SRC): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines_without_docstring(node: Function) -> int:
    """Lines from `def` to the end; the docstring's own lines do not count."""
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """Public functions and classes of a module. Methods are left to the eye: many carry out a documented interface."""
    return (n for n in tree.body if isinstance(n, Function | ast.ClassDef) and not n.name.startswith("_"))


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 50


def test_functions_are_short_and_documented() -> None:
    unopened, long, bare = [], [], []
    for path, tree in trees().items():
        unopened += [] if ast.get_docstring(tree) else [path]
        long += [(path, f.name) for f in functions(tree) if lines_without_docstring(f) > 50]
        bare += [(path, node.name) for node in public(tree) if not documented(node)]
    assert not unopened, "the module opens with its idea"
    assert not long, "split the functions"
    assert not bare, "give them docstrings"


def documented(node: Function | ast.ClassDef) -> bool:
    """A docstring, or an overload, whose docstring stands with the implementation."""
    return bool(ast.get_docstring(node)) or "overload" in {ast.unparse(d) for d in node.decorator_list}


def test_only_the_command_line_prints() -> None:
    calls = [(p, n) for p, tree in trees().items() for n in ast.walk(tree) if isinstance(n, ast.Call)]
    prints = [(p, n.lineno) for p, n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
    printed = [(path, line) for path, line in prints if "cli" not in path.parts]
    assert not printed, "results are returned; only cli/ and an explicit console write to the terminal"


def declares_all(path: Path) -> bool:
    return re.search(r"^__all__\b", path.read_text("utf-8"), re.MULTILINE) is not None


@pytest.mark.parametrize("path", [f for f in FILES if declares_all(f)], ids=lambda f: f.parent.name)
def test_all_is_sorted_and_true(path: Path) -> None:
    name = path.relative_to(SRC).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    module = importlib.import_module(name)
    constants, rest = [n for n in module.__all__ if n.isupper()], [n for n in module.__all__ if not n.isupper()]
    assert module.__all__ == [*sorted(constants), *sorted(n for n in rest if n[0].isupper()),
                              *sorted(n for n in rest if not n[0].isupper())]  # fmt: skip
    assert len(set(module.__all__)) == len(module.__all__)
    assert not [n for n in module.__all__ if not hasattr(module, n)]


def test_every_choice_has_its_catalogue_line() -> None:
    entries = catalogue()
    files = {p.relative_to(CONF).with_suffix("").as_posix() for g in LISTED for p in (CONF / g).rglob("[!_]*.yaml")}
    assert {f"{e.group}/{e.name}" for e in entries} == files
    poor = [f"{e.group}={e.name}" for e in entries if len(e.description.split()) < 3 or e.description.endswith(".")]
    assert not poor, "the first comment line says what it is, without a full stop"
    lines = [e.description for e in entries]
    assert len(set(lines)) == len(lines), "two choices with the same line"


def test_every_group_is_a_folder() -> None:
    assert set(LISTED) <= {p.name for p in CONF.iterdir() if p.is_dir()}


def test_no_path_of_a_machine() -> None:
    """Files must work from any folder: none names a home folder or the folder that this test runs in."""
    marks = (*(f"/{name}/" for name in ("home", "Users", "root")), f"{ROOT}/")
    trees = [f for folder in (SRC, CONF) for kind in ("*.py", "*.yaml") for f in folder.rglob(kind)]
    files = [*trees, *ROOT.glob("*.toml"), *ROOT.glob("*.md"), ROOT / "Makefile"]
    found = [(f.name, m) for f in files for m in marks if m in f.read_text("utf-8")]
    assert not found


def arrows(*packages: str) -> set[tuple[str, str]]:
    """(importer, imported) of all modules: imports inside functions and for type checkers count as any others."""
    graph = pytest.importorskip("grimp").build_graph(*packages, cache_dir=None)
    return {(module, other) for module in graph.modules for other in graph.find_modules_directly_imported_by(module)}


def siblings(package: str, found: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The same between the files and rooms of one package, each as a whole."""
    depth = package.count(".") + 2
    inside = [(a, b) for a, b in found if a.startswith(f"{package}.") and b.startswith(f"{package}.")]
    pairs = {(".".join(a.split(".")[:depth]), ".".join(b.split(".")[:depth])) for a, b in inside}
    return {(a, b) for a, b in pairs if a != b}


def circles(found: Iterable[tuple[str, str]]) -> list[list[str]]:
    """One circle each of the files, and of the neighbours in every folder (files and rooms) as wholes; empty: none."""
    levels: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for importer, imported in found:
        levels[""][importer].add(imported)
        a, b = importer.split("."), imported.split(".")
        shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        if shared is not None:  # else one is the room of the other: its __init__ hands out what is inside
            levels[".".join(a[:shared])][".".join(a[: shared + 1])].add(".".join(b[: shared + 1]))
    met = []
    for level in levels.values():
        try:
            graphlib.TopologicalSorter(level).prepare()
        except graphlib.CycleError as error:
            met.append(error.args[1])
    return met


@pytest.fixture(scope="module")
def house() -> set[tuple[str, str]]:
    return arrows("optbench", "applebook")


def test_no_import_circles(house: set[tuple[str, str]]) -> None:
    """Neither files nor rooms know each other in a circle; what would close one belongs together, or below both."""
    assert not circles(house)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from . import other", "def f():\n    from circling.one import g"),
        (
            "from circling.other import g",
            "import typing\nif typing.TYPE_CHECKING:\n    import circling.one",
        ),
        ("import circling.room.low", "import json"),
    ],
    ids=["inside a function", "for type checkers", "of rooms"],
)
def test_circles_are_seen(one: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "__init__": "",
        "one": one,
        "other": other,
        "room/__init__": "",
        "room/low": "",
        "room/high": "import circling.one",
    }
    for name, text in files.items():
        path = tmp_path / "circling" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = circles(arrows("circling"))
    assert [set(circle) for circle in found] == (
        [{"circling.one", "circling.room"}] if "room" in one else [{"circling.one", "circling.other"}] * 2
    )


OPENED = ["critical", *(f"critical/{p.name}" for p in sorted((SRC / "optbench/critical").iterdir()) if p.is_dir()),
          "curvature", "landmarks"]  # fmt: skip


@pytest.mark.parametrize("room", [r for r in OPENED if "__pycache__" not in r])
def test_a_room_opens_with_its_files_in_reading_order(room: str, house: set[tuple[str, str]]) -> None:
    """The opening names every file and room inside, each after those that it imports."""
    folder, package = SRC / "optbench" / room, f"optbench.{room.replace('/', '.')}"
    inside = {p.stem for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - {"__init__"}
    opening = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    table = [re.findall(r"\w+", line.split("  ")[0]) for line in re.findall(r"^    (\w.*)$", opening, re.MULTILINE)]
    named = [name for names in table if set(names) <= inside for name in names]
    assert sorted(named) == sorted(inside)
    knows = {(a.split(".")[-1], b.split(".")[-1]) for a, b in siblings(package, house)}
    assert not [(a, b) for a, b in knows if named.index(b) > named.index(a)], "first what the others import"


@pytest.mark.slow
def test_the_layers_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# names in prose ------------------------------------------------------------------------------------------------------

MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path.read_text() for path in FILES
}
NAME = re.compile(r"`([a-z_]\w*(?:\.\w+)+)`|\b(optbench(?:\.\w+)+)")
FILE_ENDINGS = {"csv", "jpg", "json", "md", "npy", "parquet", "pt", "py", "toml", "txt", "yaml"}
REGISTERED = {"optbench.commands", "optbench.functions", "optbench.reproduce"}  # entry points, in pyproject.toml
EXAMPLES = {"optbench.models.name.Name", "optbench.surfaces.egg.Egg"}  # of CONTRIBUTING: what its reader writes
KEYS = {*GROUPS, "provenance"}  # of configurations and of run.json; some are names of folders as well


def is_there(name: str, module: str) -> bool:
    """Whether a dotted name of optbench in the prose of a module is a module, or a name in one; others pass."""
    parts, home = name.split("."), module.split(".")
    bases = [[], *(home[:k] for k in range(1, len(home) + 1)), ["optbench"]]
    rooms = [base for base in bases if ".".join([*base, parts[0]]) in MODULES]
    if not rooms or parts[0] in KEYS or parts[-1] in FILE_ENDINGS or name in REGISTERED | EXAMPLES:
        return True
    for base in rooms:
        path = [*base, *parts]
        if ".".join(path) in MODULES:
            return True
        known = next(k for k in range(len(path), 0, -1) if ".".join(path[:k]) in MODULES)
        text = MODULES[".".join(path[:known])]
        if known > len(base) and all(re.search(rf"\b{word}\b", text) for word in path[known:]):
            return True
    return False


def prose(text: str) -> Iterator[str]:
    """The docstrings and the comments of a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    yield from (line.partition("#")[2] for line in text.splitlines() if "#" in line)


def test_prose_names_only_what_is_there() -> None:
    """Dotted names in docstrings, comments and the pages on the structure: modules, and names in them."""
    texts = [(module, part) for module, text in MODULES.items() for part in prose(text)]
    texts += [("optbench", (ROOT / name).read_text()) for name in STRUCTURE]
    named = {(module, a or b) for module, text in texts for a, b in NAME.findall(text)}
    assert len(named) > 100
    assert not is_there("optbench.comparison.NoSuchName", "optbench.records")
    assert not is_there("descend.no_such_file", "optbench.records")
    assert sorted(f"{module}: {name}" for module, name in named if not is_there(name, module)) == []


@pytest.mark.parametrize("page", STRUCTURE)
def test_the_pages_on_the_structure_name_files_that_are_there(page: str) -> None:
    """`config/groups`, `records/belief.py`, `stacked/average.Around`: from the package's folder, or the project's."""
    named = set(
        re.findall(r"`([\w.]+(?:/[\w.]+)+)`", re.sub(r"(?ms)^```.*?^```", "", (ROOT / page).read_text("utf-8")))
    )
    assert len(named) > 10
    made_up = [name for name in named if re.search(r"\b(mine|name|egg|heavy|asgd)\b", name)]  # a page's own examples
    places = [SRC / "optbench", SRC, ROOT, ROOT / "docs"]
    absent = [
        name
        for name in named.difference(made_up)
        if not any(
            (at / end).exists() for at in places for end in (name, f"{name}.py", re.sub(r"\.[A-Za-z]\w*$", ".py", name))
        )
    ]
    assert not absent


def test_every_room_has_its_line_and_every_line_its_room() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## The rooms")[2].partition("\n## ")[0]
    named = {word for row in table.splitlines() for word in re.findall(r"\w+", row.split("|")[1] if "|" in row else "")}
    own = {path.stem for path in (SRC / "optbench").iterdir() if not path.name.startswith(("_", ".", "py."))}
    assert own | {"applebook"} == named - {"room", "src"}


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest imports them by name alone."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
