"""The real command in a process of its own: exit codes, what stands where, what is imported.

A process without torch costs a third of a second, with torch some seconds; so checks that can share one, do (commands
that are refused run in a row in one), and what needs more than one process with torch is slow.
"""

from __future__ import annotations

import csv
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import members
import pytest
import yaml
from command_tools import Answer, in_a_row, invoke

from optbench.cli import every_command
from optbench.config import Composer
from optbench.records import CURVE_COLUMNS, RUN_COLUMNS

OPTBENCH = (sys.executable, "-m", "optbench")
HEAVY = ("torch", "torchvision", "hydra", "omegaconf", "numpy", "pandas", "rich", "yaml", "matplotlib", "sklearn")
WATCHED = """
import json, sys
from optbench.cli import main
sys.argv[0] = "optbench"
code = 0
try:
    main()
except SystemExit as end:
    code = end.code or 0
finally:
    print("IMPORTED", *(m for m in %r if m in sys.modules), file=sys.stderr)
sys.exit(code)
"""
COMMANDS = every_command()
NAMES = [command.name for command in COMMANDS]
EXAMPLES = [
    (command.name, example.group(1).strip())
    for command in COMMANDS
    for example in re.finditer(r"^ *optbench (.*)$", inspect.getdoc(command.function()) or "", re.MULTILINE)
]


class Done:
    """A process that ended: exit code, both streams, and which heavy packages it had imported."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out = process.returncode, process.stdout
        lines = process.stderr.splitlines()
        self.imported = next((set(line.split()[1:]) for line in lines if line.startswith("IMPORTED")), None)
        self.err = "\n".join(line for line in lines if not line.startswith("IMPORTED"))
        assert "Traceback" not in process.stderr, process.stderr

    def json(self) -> Any:
        """Standard output, which must be one strict JSON document."""

        def refuse(text: str) -> None:
            raise AssertionError(f"{text} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


def optbench(*words: str, cwd: Path, **kwargs: Any) -> Done:
    """Runs the command; what it imported is reported."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **kwargs.pop("env", {})}
    command = [sys.executable, "-c", WATCHED % (HEAVY,), *words]
    return Done(subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, **kwargs))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name, away from the repository."""
    return tmp_path_factory.mktemp("a place")


@pytest.fixture(scope="module")
def first_run(place: Path) -> Done:
    """The first headline command, once for all that look at it."""
    return optbench("run", "optimizer=rmsprop", "trainer.steps=20", "--json", cwd=place)


# ---- one run, looked at from all sides


def test_run_prints_its_record(first_run: Done, place: Path) -> None:
    assert first_run.code == 0
    row = first_run.json()
    assert set(RUN_COLUMNS) | {"provenance", "path"} <= set(row)
    assert (row["model"], row["optimizer"], row["status"], row["steps"]) == ("rosenbrock", "rmsprop", "completed", 20)
    assert first_run.err == ""
    folder = place / row["path"]
    stored = json.loads((folder / "run.json").read_text())
    assert stored == {k: v for k, v in row.items() if k != "path"}
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == list(range(21))
    assert set(rows[0]) <= {*CURVE_COLUMNS, "x0", "x1"}


def test_the_same_run_is_not_repeated_and_costs_no_torch(first_run: Done, place: Path) -> None:
    folder = place / first_run.json()["path"]
    before = (folder / "metrics.csv").stat().st_mtime_ns
    again = optbench("run", "optimizer=rmsprop", "trainer.steps=20", cwd=place)
    assert again.code == 0
    assert "--force" in again.err
    assert "torch" not in (again.imported or ())
    assert "\x1b" not in again.out + again.err
    assert (folder / "metrics.csv").stat().st_mtime_ns == before


def test_compare_reads_it_without_torch(first_run: Done, place: Path) -> None:
    done = optbench("compare", "outputs", "--json", cwd=place)
    assert done.code == 0
    assert not {"torch", "torchvision", "hydra", "omegaconf"} & (done.imported or set())
    (group,) = done.json()["groups"]
    assert group["n"] == 1
    assert group["n_by_status"]["completed"] == 1
    assert done.err == ""


def test_compare_prints_a_plain_table_when_piped(first_run: Done, place: Path) -> None:
    done = optbench("compare", "outputs/", cwd=place)
    assert done.code == 0
    assert "rmsprop" in done.out
    assert "\x1b" not in done.out + done.err


# ---- bad input: one to three lines, exit code 2, nothing on standard output, no torch

BAD = [
    (("run", "optimizer=sdg"), "did you mean: optimizer=sgd?"),
    (("run", "optimizer.lrr=1"), "did you mean: optimizer.lr?"),
    (("run", "optimizer.lr=-1"), "expected a positive number"),
    (("run", "trainer.start=[nan,1]"), "finite coordinates"),
    (("run", "optimizer=adam,sgd"), "optbench sweep"),
    (("run", "trainer.threads=100000"), "from 1 to 1024"),
    (("run", "--\rx"), r"no such option: --\rx"),
    (("run", "optimizer"), "key=value"),
    (("run", "--plto"), "--plto"),
    (("run", "--config-dir", "gone"), "gone: no such folder"),
    (("run", "model=hw3_cnn", "data=food11"), "data/food11"),
    (("sweep", "optimizer=adam,sdg"), "did you mean"),
    (("sweep", "seeds=0"), "how many seeds"),
    (("sweep", "seed=range(0)"), "no value"),
    (("sweep", "optimizer=adam", "--name", "../up"), "--name"),
    (("sweep", "seeds=2", "--threads", "100000"), "at most 1024"),
    (("sweep", "seeds=2", "--name", "a" * 300), "300 bytes long"),
    (("config", "model=rosenbrok"), "did you mean: model=rosenbrock?"),
    (("list", "optimiser"), "did you mean: optimizer?"),
    (("list", "--config-dir", "gone"), "gone: no such folder"),
    (("compare", "gone"), "gone"),
    (("compare", "a" * 300), "too long"),
    (("reproduce", "momentum", "--quick", "--html", "."), "it is a folder"),
    (("compare",), "optbench compare --help"),
    (("compare", "--explain"), "scores: final_loss"),
    (("compare", "--explain", "errt"), "did you mean ert?"),
    (("compare", ".", "--json", "--csv"), "choose one form"),
    (("compare", "."), "no runs under ."),
    (("plot", "gone"), "gone"),
    (("plot", "."), "no runs under ."),
    (("plot", ".", "--path", "--curvature"), "choose one figure"),
    (("plot", ".", "--curves", "0"), "--curves"),
    (("plot", ".", "-o", "x.docx"), "docx"),
    (("classify-critical", "--fn", "rosenbrok"), "did you mean: --fn rosenbrock?"),
    (("classify-critical", "--box", "1"), "box"),
    (("classify-critical", "--at", "a,b"), "--at"),
    (("classify-critical", "--fn", "gone.py:f", "--box", "-1,1"), "gone.py"),
    (("classify-critical", "--csv", "--json"), "choose one form"),
    (("classify-critical", "--budget", "0"), "--budget"),
    (("curvature", "gone"), "gone"),
    (("curvature", "gone", "--share", "2"), "--share 2"),
    (("curvature", "gone", "--plot", "figure.txt"), "figure.txt"),
    (("evaluate", "gone"), "gone"),
    (("predict", "gone"), "gone"),
    (("evaluate", "gone", "--checkpoint", "worst"), "--checkpoint worst"),
    (("bogus",), "optbench --help"),
    (("doctor", "--bogus"), "--bogus"),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], tuple[Answer, Path]]:
    """What every command of BAD answers, and the folder where it was."""
    places = [tmp_path_factory.mktemp("bad") for _ in BAD]
    answers = in_a_row([words for words, _ in BAD], places)
    return {words: found for (words, _), *found in zip(BAD, answers, places, strict=True)}


@pytest.mark.parametrize(("words", "expected"), BAD, ids=[" ".join(words)[:60] for words, _ in BAD])
def test_bad_input_costs_a_line_or_two(
    words: tuple[str, ...], expected: str, refusals: dict[tuple[str, ...], tuple[Answer, Path]]
) -> None:
    done, place = refusals[words]
    assert done.code == 2
    assert done.out == ""
    assert 1 <= len(done.err.splitlines()) <= 3
    assert done.err.startswith("error: ")
    assert expected in done.err
    assert not done.imported
    assert not list(place.iterdir()), "a refused request leaves nothing behind"


@pytest.mark.parametrize("where", ["file", pytest.param("file/below", marks=pytest.mark.slow)])
def test_a_folder_that_cannot_be_written(where: str, tmp_path: Path) -> None:
    """Below a regular file: permissions do not bind root, who runs the tests in some containers."""
    (tmp_path / "file").write_text("here")
    done = optbench("run", "trainer.steps=1", "--out", where, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"error: cannot write file.*\nchoose another place .*", done.err)
    assert (tmp_path / "file").read_text() == "here"


# ---- help


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    done = optbench("--help", cwd=tmp_path)
    assert (done.code, done.err, done.imported) == (0, "", set())
    assert all(re.search(rf"^  {name}  ", done.out, re.MULTILINE) for name in NAMES)
    assert optbench(cwd=tmp_path).out == done.out


@pytest.fixture(scope="module")
def helps(place: Path) -> dict[str, Answer]:
    answers = in_a_row([(name, "--help") for name in NAMES], [place] * len(NAMES), heavy=HEAVY)
    return dict(zip(NAMES, answers, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command(name: str, helps: dict[str, Answer]) -> None:
    done = helps[name]
    assert (done.code, done.err, done.imported) == (0, "", set())
    if name != "doctor":
        assert "Examples:" in done.out
        assert f"optbench {name}" in done.out
    options = done.out.partition("Options:")[2]
    rows = [line.strip() for line in options.splitlines() if line.strip().startswith("-")]
    assert rows
    bare = [r for r in rows if not re.search(r"\S  +\S", r) and len(r) < 24]
    assert not bare, "every option says what it does"


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with Composer() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[e for _, e in EXAMPLES])
def test_an_example_of_the_help_is_valid(name: str, example: str, composer: Composer) -> None:
    import shlex

    import typer

    from optbench.cli import build_app
    from optbench.play.lesson import lessons

    command, *words = shlex.split(example.partition(" > ")[0])
    makes_what_it_takes = (name, command) == ("check-proof", "classify-critical")
    assert command == name or makes_what_it_takes
    parser = typer.main.get_command(build_app()).commands[command]
    parameters = parser.make_context(command, words).params
    overrides = parameters.get("overrides") or []
    if parameters.get("config_dir"):
        return  # of files that are not here
    if parameters.get("lesson"):
        assert overrides in [[name] for name in lessons()]
        return
    if command in ("sweep", "tune", "which", "transfer", "cost", "basins", "sensitivity", "play"):
        assert list(composer.grid([re.sub(r"^seeds=(\d+)$", r"seed=range(\1)", o) for o in overrides]))
    else:
        composer.compose(overrides)


def test_version(tmp_path: Path) -> None:
    from importlib.metadata import version

    done = optbench("--version", cwd=tmp_path)
    assert (done.code, done.out, done.imported) == (0, f"optbench {version('optbench')}\n", set())


# ---- list, config, doctor


def test_list_shows_every_choice_without_torch(tmp_path: Path) -> None:
    done = optbench("list", "--json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert not {"torch", "hydra", "omegaconf", "numpy", "pandas"} & (done.imported or set())
    entries = done.json()
    groups = [p.name for p in members.CONF.iterdir() if p.is_dir() and p.name != "hydra"]
    assert {(e["group"], e["name"]) for e in entries} == {(g, n) for g in groups for n in members.listed(g)}
    assert all(e["description"] for e in entries)
    plain = optbench("list", "optimizer", cwd=tmp_path)
    assert [line.split()[0] for line in plain.out.splitlines()[1:-2]] == members.names("optimizer")
    assert plain.out.splitlines()[-1].startswith(f"{len(members.zoo())} more from other packages")
    assert "\x1b" not in plain.out


def test_config_prints_yaml(tmp_path: Path) -> None:
    words = ("config", "model=hw3_cnn", "optimizer=radam", "optimizer.lr=0.25")
    done = optbench(*words, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "torch" not in (done.imported or ())
    found = yaml.safe_load(done.out)
    assert found["optimizer"]["lr"] == 0.25
    assert found == optbench(*words, "--json", cwd=tmp_path).json()
    assert re.search(r"^# run_id [0-9a-f]{12}$", done.out, re.MULTILINE)


def test_the_plan_of_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = invoke(capsys, "sweep", "optimizer=adam,sgd", "seeds=2", "--dry-run", "--json")
    assert (code, err.count("seed changes nothing"), err.count("\n")) == (0, 1, 1)
    found = json.loads(out)
    assert {(r["optimizer"], r["seed"]) for r in found} == {(o, s) for o in ("adam", "sgd") for s in (0, 1)}
    assert len({r["run_id"] for r in found}) == 4
    assert {r["status"] for r in found} == {"to do"}
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_doctor(tmp_path: Path) -> None:
    facts = {f["what"]: f for f in optbench("doctor", "--json", cwd=tmp_path).json()}
    assert {"python", "torch", "torchvision", "device", "torchvision state", "conf", "outputs"} <= set(facts)
    assert all(f["ok"] and f["value"] for f in facts.values())
    assert str(members.CONF) in facts["conf"]["value"]
    (tmp_path / "outputs").write_text("in the way")
    done = optbench("doctor", "--json", cwd=tmp_path)
    assert done.code == 1
    assert [f["what"] for f in done.json() if not f["ok"]] == ["outputs"]


# ---- completion


COMPLETIONS: list[tuple[str, int, list[str]]] = [
    ("optbench run optimizer=r", 2, [f"optimizer={n}" for n in members.names("optimizer") if n.startswith("r")]),
    ("optbench run optimizer = r", 4, [n for n in members.names("optimizer") if n.startswith("r")]),
    ("optbench run optimizer.l", 2, ["optimizer.lr="]),
    ("optbench run optimizer=zoo/mad", 2, ["optimizer=zoo/madgrad"]),
    ("optbench list opt", 2, ["optimizer"]),
    ("optbench cl", 1, ["classify-critical"]),
    ("optbench run 'optimizer={", 2, []),
]


def test_completion(tmp_path: Path) -> None:
    """What typer's bash protocol answers."""
    variables = [
        {"_OPTBENCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        for words, position, _ in COMPLETIONS
    ]
    answers = in_a_row([()] * len(variables), [tmp_path] * len(variables), variables)
    assert [answer.out.split() for answer in answers] == [expected for *_, expected in COMPLETIONS]
    assert {(answer.code, answer.err, answer.imported) for answer in answers} == {(0, "", frozenset())}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_in_bash(tmp_path: Path) -> None:
    """The script that typer installs, sourced by a real bash, asked as its completion would be."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "optbench").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m optbench "$@"\n')
    (bin_folder / "optbench").chmod(0o755)
    script = """
        eval "$(_OPTBENCH_COMPLETE=source_bash optbench)"
        function=$(complete -p optbench | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=(optbench run optimizer = rm); COMP_CWORD=4; COMP_LINE="optbench run optimizer=rm"
        $function optbench rm =
        echo "${COMPREPLY[@]}"
    """
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.stdout.split() == ["rmsprop"], done.stderr


# ---- streams and signals


@pytest.mark.parametrize("words", ["", "list", "list --json", "config"])
def test_a_reader_that_leaves_early(words: str, tmp_path: Path) -> None:
    shell = f'"{sys.executable}" -m optbench {words} | head -n 1'
    done = subprocess.run(["sh", "-c", shell], cwd=tmp_path, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_closed_standard_output(tmp_path: Path) -> None:
    """A pipe whose reader is gone before the first byte."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*OPTBENCH, "list"], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 1


def wait_for(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if holds():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("it never came so far")


def whole_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a curve; every line must be whole."""
    text = path.read_text()
    assert text.endswith("\n")
    header, *lines = text.splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    assert [int(r["step"]) for r in rows] == list(range(len(rows)))
    return rows


@pytest.mark.slow
def test_ctrl_c_ends_the_step_and_says_interrupted(tmp_path: Path) -> None:
    words = ("run", "optimizer.lr=1e-7", "trainer.steps=10000000", "trainer.grad_tol=0", "--json")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*OPTBENCH, *words], cwd=tmp_path, text=True, **pipes)
    try:
        curves = tmp_path / "outputs/runs"
        wait_for(lambda: any(p.stat().st_size > 5000 for p in curves.glob("*/metrics.csv")), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    (folder,) = curves.iterdir()
    row = json.loads((folder / "run.json").read_text())
    assert row["status"] == "interrupted"
    assert json.loads(out)["status"] == "interrupted"
    last = int(whole_rows(folder / "metrics.csv")[-1]["step"])
    assert row["steps"] > 0
    assert row["steps"] - last in (0, 1), "the last update's iterate is measured by the step that did not come"
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [400, 900, 8_000])
def test_a_full_disk(limit: int, tmp_path: Path, small_files: Callable[[int], Callable[[], None]]) -> None:
    """Files may not grow beyond `limit` bytes: at the configuration, at the record, in the middle of the curve."""
    done = optbench("run", "trainer.steps=3000", cwd=tmp_path, preexec_fn=small_files(limit))
    assert (done.code, done.out) == (2, "")
    assert re.match(r"error: cannot write .*: File too large\n", done.err)
    assert len(done.err.splitlines()) <= 3
    left = list(tmp_path.glob("outputs/runs/*/*"))
    assert not [p for p in left if p.name.endswith(".tmp")]
    records = [json.loads(p.read_text()) for p in left if p.name == "run.json"]
    assert [r["status"] for r in records] == (["interrupted"] if limit > 1000 else [])
    again = optbench("run", "trainer.steps=3000", "--json", cwd=tmp_path)
    assert again.json()["status"] == "completed"
    assert len(whole_rows(tmp_path / again.json()["path"] / "metrics.csv")) == 3001


@pytest.mark.slow
def test_a_run_that_fails_in_a_sweep_is_a_row(tmp_path: Path) -> None:
    words = ("sweep", "trainer.start=[0,0],[1e9,1e9]", "trainer.steps=5", "--json")
    done = optbench(*words, cwd=tmp_path)
    assert done.code == 3
    by_status = {r["status"]: r for r in done.json()}
    assert set(by_status) == {"completed", "failed"}
    assert by_status["failed"]["reason"]
    assert "1 of 2 runs failed" in done.err


@pytest.mark.slow
def test_a_surface_with_data_is_refused_alone_and_skipped_in_a_sweep(tmp_path: Path) -> None:
    alone = optbench("run", "model=booth", "data=digits", cwd=tmp_path)
    assert (alone.code, alone.out) == (2, "")
    assert 1 <= len(alone.err.splitlines()) <= 3
    done = optbench("sweep", "model=booth", "data=none,digits", "trainer.steps=5", "--json", cwd=tmp_path)
    assert done.code == 0
    assert {r["data"]: r["status"] for r in done.json()} == {"none": "completed", "digits": "skipped"}


ONLY_TORCH_CAN_TELL = [
    "trainer.start=[5000,1]",
    "trainer.start=[1]",
    "trainer.device=gpu",
    "trainer.device=cuda:99",
    "+optimizer.foo=1",
    "optimizer.betas=[0.9]",
    "optimizer._target_=os.system",
    "optimizer._target_=no.such.thing",
    "trainer=network",
]


@pytest.mark.slow
def test_bad_input_that_only_torch_can_tell(tmp_path: Path) -> None:
    lines = [("run", text) for text in ONLY_TORCH_CAN_TELL]
    for text, done in zip(ONLY_TORCH_CAN_TELL, in_a_row(lines, [tmp_path] * len(lines)), strict=True):
        assert (done.code, done.out) == (2, ""), text
        assert 1 <= len(done.err.splitlines()) <= 3, (text, done.err)
        assert "Traceback" not in done.err, (text, done.err)
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.slow
def test_classify_critical(tmp_path: Path) -> None:
    done = optbench("classify-critical", "--fn", "rosenbrock", "--json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    found = done.json()
    keys = "surface dim box method complete why winding_number index_sum points clusters seconds boxes"
    assert set(keys.split()) <= set(found)
    (point,) = found["points"]
    assert point["type"] == "minimum"
    assert point["x"] == pytest.approx([1.0, 1.0], abs=1e-9)
    plain = optbench("classify-critical", "--fn", "rosenbrock", cwd=tmp_path)
    assert "minimum" in plain.out
    assert "\x1b" not in plain.out


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_sentences_break_between_words_on_a_terminal_alone() -> None:
    words = (*OPTBENCH, "compare", "--explain", "ert")
    whole = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert max(map(len, whole.splitlines())) > 60
    ours, theirs = os.openpty()
    subprocess.run(words, stdout=theirs, env={**os.environ, "COLUMNS": "40"}, check=True)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode().replace("\r\n", "\n")
    os.close(ours)
    assert max(map(len, shown.splitlines())) <= 40
    assert shown.split() == whole.split()


def test_a_sentence_beside_a_name_breaks_below_its_own_beginning() -> None:
    from optbench.cli.common import wrapped

    assert wrapped("  hw3/x   one two three four", 20) == "  hw3/x   one two\n          three four"
    assert wrapped("   one two three four", 12) == "   one two\n   three\n   four"


@pytest.mark.parametrize(
    "line", ["a  row   of  a  table", "figure    somewhere/else.png", "/a place/with blanks.png", "short"]
)
def test_what_is_a_row_or_a_path_is_not_broken(line: str) -> None:
    from optbench.cli.common import wrapped

    assert wrapped(line, 6) == line
