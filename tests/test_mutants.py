"""`make mutants`: what it draws changes what the code does, and what it runs are the tests that execute the change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from members import ROOT

TOOL = ROOT / "benchmarks" / "mutants"
SOURCE = '''"""Words with one + and two - signs."""

from __future__ import annotations


def total(values: list[int] | None, start: int | None = None) -> int:
    """The sum: start + values."""
    return sum(values or (), start=start or 0)
'''


@pytest.fixture(autouse=True)
def _tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOL))


def test_every_area_is_where_the_tool_looks() -> None:
    from draw import AREAS, modules

    found = modules(ROOT / "src" / "optbench")
    files = [file for area in found.values() for file in area]
    assert found.keys() == AREAS.keys()
    assert len(files) == len(set(files)), "a module is in two areas"


def test_an_area_that_moved_away_is_an_error(tmp_path: Path) -> None:
    from draw import modules

    with pytest.raises(SystemExit, match="no module of the area 'optimizers'"):
        modules(tmp_path)


def test_a_mutant_changes_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import draw

    (tmp_path / "one.py").write_text(SOURCE)
    monkeypatch.setattr(draw, "AREAS", {"one": ("one.py",)})
    mutants, places = draw.sample(tmp_path, 100, seed=0)
    assert places["one"] > len(mutants) > 2, "the signs in annotations are places, but no mutants"
    for mutant in mutants:
        assert mutant.source != SOURCE
        assert mutant.first == 8, mutant
        compile(mutant.source, "", "exec")
    assert mutants == draw.sample(tmp_path, 100, seed=0)[0]
    changed = {mutant.after.strip().removeprefix("return ") for mutant in mutants}
    assert {"sum(values or (), **{})", "sum(values and (), start=start or 0)"} <= changed


def test_tests_of_a_line_are_those_that_execute_it(tmp_path: Path) -> None:
    from covering import Covering

    tests = {
        "t.py::test_slow": {"fixtures": [], "passed": True, "seconds": 3.0},
        "t.py::test_fast[a]": {"fixtures": [], "passed": True, "seconds": 1.0},
        "t.py::test_fast[b]": {"fixtures": [], "passed": True, "seconds": 1.5},
        "t.py::test_by_fixture": {"fixtures": ["t.py:made"], "passed": True, "seconds": 2.0},
        "t.py::test_broken": {"fixtures": [], "passed": False, "seconds": 0.1},
        "t.py::test_elsewhere": {"fixtures": [], "passed": True, "seconds": 0.1},
    }
    lines = {
        "7": [*(test for test in tests if "elsewhere" not in test and "fixture" not in test), "t.py:made"],
        "1": [""],
    }
    cases = {test.split("[")[0]: 1 for test in tests} | {"t.py::test_fast": 10}
    (tmp_path / "found.json").write_text(
        json.dumps({"collected": 0.5, "cases": cases, "tests": tests, "lines": {"m.py": lines}})
    )
    covering = Covering()
    covering.add("t.py", tmp_path / "found.json")
    covers, how = covering.of("m.py", 6, 7)
    assert how == "executed"
    assert covers == {f"t.py::test_{name}" for name in ("slow", "fast[a]", "fast[b]", "by_fixture")}
    ((file, order, seconds),) = covering.chosen(covers, 100.0)
    named = ["fast[a]", "by_fixture", "slow", "fast[b]", "elsewhere"]
    assert (file, order, seconds) == ("t.py", [f"t.py::test_{name}" for name in named], pytest.approx(8.1))
    ((_, order, _),) = covering.chosen(covers, 8.0)
    assert order == ["t.py::test_fast[a]", "t.py::test_by_fixture", "t.py::test_elsewhere"], "half of the budget"
    ((_, order, seconds),) = covering.every_case(covers, 100.0)
    named = ["fast", "by_fixture", "slow", "elsewhere"]
    assert (order, seconds) == ([f"t.py::test_{name}" for name in named], pytest.approx(0.5 + 12.5 + 2.0 + 3.0 + 0.1))
    assert covering.of("m.py", 1, 1)[1] == "executed at import"
    assert covering.of("m.py", 3, 3)[1] == "not seen executed"


@pytest.mark.slow
def test_mutants_are_tried_and_the_tree_stays_as_it_is(tmp_path: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (ROOT / "src").rglob("*.py")}

    before = content()
    words = ["--count", "3", "--seed", "1", "--only", "loop", "--tests", "test_loop.py", "--out", "found.json"]
    done = subprocess.run([sys.executable, TOOL, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())["outcomes"]
    assert len(found) == 3
    for outcome in found:
        assert outcome["word"] in ("killed", "timed out", "survived")
        assert (outcome["by"] != "") == (outcome["word"] != "survived")
    assert any(outcome["word"] == "killed" for outcome in found)
    assert content() == before


def test_the_star_of_a_signature_is_no_product(tmp_path: Path) -> None:
    import draw

    file = tmp_path / "two.py"
    file.write_text("def f(a, *, b=2):\n    return a * b\n\n\ng = lambda a, *, b: a * b\n")
    changed = [span[0] for span, changes in draw.changes(file).items() if any("Mul" in c.operator for c in changes)]
    assert changed == [(2, 13), (5, 22)]


def test_what_can_change_no_result_is_not_drawn(tmp_path: Path) -> None:
    import draw

    file = tmp_path / "three.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    T = int\n\n\n"
        "@dataclass(frozen=True, slots=True)\nclass A:\n    pairs = dict(zip((1,), (2,), strict=True), strict=True)\n"
    )
    words = [file.read_text().split("\n")[a - 1][b:d] for (a, b), (_, d) in draw.changes(file)]
    assert {"strict=True", "frozen=True"} <= set(words), "the keyword of another function is drawn"
    assert words.count("strict=True") == 1
    assert "slots=True" not in words
    assert "T = int" not in words


def test_a_file_of_tests_is_measured_again_when_it_or_what_it_shares_changed(tmp_path: Path) -> None:
    from covering import stamps

    places = ("src/a.py", "conf/b.yaml", "tests/helper.py", "tests/one/test_a.py", "tests/two/test_b.py")
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    files = [tmp_path / place for place in places[3:]]
    before = stamps(tmp_path, files)
    for place, kept in zip(places, ([], [], [], [1], [0]), strict=True):
        (tmp_path / place).write_text("changed")
        after = stamps(tmp_path, files)
        assert [i for i in (0, 1) if after[i] == before[i]] == kept, place
        before = after


def test_survivors_are_found_again_where_their_lines_have_moved_to(tmp_path: Path) -> None:
    from draw import again

    (tmp_path / "m.py").write_text("def f():\n    x = 1\n\n\ndef g():\n    if f:\n        x = 1\n    x = 1\n")
    mutant = {
        "area": "one", "file": "m.py", "first": 7, "last": 7, "operator": "NumberReplacer",
        "before": "    x = 1", "after": "    x = 2",
    }  # fmt: skip
    gone = mutant | {"before": "    y = 1"}
    (found,) = again(tmp_path, [mutant, gone, gone | {"file": "none.py"}])
    assert (found.first, found.last) == (8, 8), "the nearest, and whole lines: not the end of line 7"
    assert found.source == "def f():\n    x = 1\n\n\ndef g():\n    if f:\n        x = 1\n    x = 2\n"
    (first,) = again(tmp_path, [mutant | {"first": 1, "last": 1}])
    assert first.first == 2
