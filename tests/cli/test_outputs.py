"""What cannot be written is refused before the work, by every command and every option that names something to write.

The options are found in the commands' signatures: whatever takes a path is either read, and named here as such, or
written, and tried here. One process runs them all, and is seen to be without torch after each: no work has begun.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
from command_tools import in_a_row, invoke

from optbench.cli import every_command
from optbench.errors import UserError
from optbench.experiment.plan import plan_sweep
from optbench.launch.sweep import Options, divide

READ = {"--config-dir", "--data", "--run", "--points"}
"""Options that name what is read, as every argument does."""
MORE = {
    "run": ["trainer.steps=1"],
    "sweep": ["trainer.steps=1"],
    "tune": ["trainer.steps=1", "trainer.start=random", "--trials", "1", "--report-seeds", "1"],
    "which": ["trainer.steps=1", "trainer.start=random", "--budget", "40runs"],
    "transfer": ["model=mlp", "--widths", "4,8"],
    "plot": ["nowhere"],
    "evaluate": ["nowhere"],
    "predict": ["nowhere"],
    "explain": ["nowhere"],
    "curvature": ["nowhere"],
    "import": ["nowhere"],
}
"""What else a command needs before it can begin."""


def written() -> list[tuple[str, str]]:
    """Command and option, of every option that names a place to write to."""
    found = []
    for command in every_command():
        for hint in typing.get_type_hints(command.function(), include_extras=True).values():
            kind, *infos = typing.get_args(hint) or (hint,)
            info = next((i for i in infos if hasattr(i, "param_decls")), None)
            if info is None or "Path" not in str(kind):
                continue
            names = [str(n) for n in (info.default, *(info.param_decls or ()), info.metavar)]  # typer's first is a name
            if type(info).__name__ == "OptionInfo" and not READ & set(names):
                found.append((command.name, next(n for n in names if n.startswith("--"))))
    return found


WRITTEN = written()


def test_every_option_that_writes_is_found() -> None:
    assert {("run", "--out"), ("sweep", "--out"), ("plot", "--output"), ("predict", "--output")} <= set(WRITTEN)
    assert {("classify-critical", "--plot"), ("classify-critical", "--certificate")} <= set(WRITTEN)
    assert {("basins", "--plot"), ("sensitivity", "--plot"), ("evaluate", "--plot"), ("curvature", "--plot")} <= set(
        WRITTEN
    )
    assert {("play", "--out"), ("play", "--records")} <= set(WRITTEN)
    assert {("reproduce", "--out"), ("reproduce", "--html"), ("reproduce", "--docs"), ("compare", "--html")} <= set(
        WRITTEN
    )


def commands(place: str) -> list[list[str]]:
    return [[name, *MORE.get(name, []), option, place] for name, option in WRITTEN]


def test_a_file_in_the_way_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    odd = [line for line in commands("x.bmp") if line[-2] == "--plot" or line[0] == "plot"]
    lines = [*commands("file/below/x.png"), *commands("/proc/nowhere/x.png"), *odd]
    answers = in_a_row(lines, [tmp_path] * len(lines))
    assert len(odd) == 7
    assert {(answer.code, answer.out, answer.imported) for answer in answers} == {(2, "", frozenset())}
    for answer in answers[: -len(odd)]:
        error = r"error: cannot write (file/below|/proc/nowhere)/.*: .*\nchoose another place .*\n"
        assert re.search(error, answer.err), answer
    for answer in answers[-len(odd) :]:
        assert "error: x.bmp: expected a figure ending in .png, .svg, .pdf" in answer.err, answer
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "here"


@pytest.mark.slow
def test_a_full_disk_is_found_before_the_work(tmp_path: Path, small_files: Callable[[int], Callable[[], None]]) -> None:
    """Files may have 100 bytes: as with a disk that is full, names can be made."""
    import matplotlib.font_manager  # noqa: F401  a new machine has no list of fonts, and here would be no room for it

    (tmp_path / "here").mkdir()
    lines = commands("new/x.png")
    for answer in in_a_row(lines, [tmp_path / "here"] * len(lines), preexec_fn=small_files(100)):
        assert re.search(r"error: cannot write .*: File too large\n", answer.err), answer
        assert (answer.code, answer.out, answer.imported) == (2, "", frozenset())
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


SWEPT = ["model=sphere", "trainer.steps=2", "seeds=3"]


@pytest.mark.parametrize("name", ["runs.parquet", "sweep.json", "RUN"])
def test_what_lies_in_the_way_within_a_sweep(name: str, tmp_path: Path) -> None:
    plan = plan_sweep(SWEPT, out=tmp_path, name="s")
    plan.folder.mkdir()
    if name == "RUN":
        plan[1].folder.write_text("here")
    else:
        (plan.folder / name).mkdir()
    before = sorted(plan.folder.rglob("*"))
    with pytest.raises(UserError, match=r"cannot write|not a regular file"):
        divide(plan, Options(engine="loop"), to_run=True)
    assert sorted(plan.folder.rglob("*")) == before


@pytest.mark.slow
def test_a_dry_run_and_a_repeat_need_no_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("here")
    code, _, _ = invoke(capsys, "sweep", *SWEPT, "--engine", "loop", "--dry-run", "--out", tmp_path / "file" / "x")
    assert code == 0
