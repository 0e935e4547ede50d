"""Every command with each standard stream closed, full, or left by its reader: the work is done, or a line says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from command_tools import command
from made_runs import make_run

from optbench.cli import every_command

FATES = ("closed", "full", "left")
LIGHT = {  # without torch: a third of a second each
    "list": ["list", "--json"],
    "config": ["config", "model=sphere"],
    "compare": ["compare", "RUNS", "--json"],
    "power": ["power", "RUNS", "--difference", "1", "--json"],
    "rank": ["rank", "RUNS", "--json"],
    "cache": ["cache", "--json"],
    "import": ["import", "LOG", "--json"],
}
STEPS = ["model=sphere", "trainer.steps=3", "optimizer=sgd"]
SMALL = ["model=mlp", "model.hidden=[8]", "data.image_size=8", "trainer.epochs=1", "trainer.threads=1"]
HEAVY = {
    "run": ["run", *STEPS, "--json"],
    "sweep": ["sweep", *STEPS, "optimizer.lr=0.1,0.2", "--json"],
    "tune": ["tune", *STEPS, "trainer.start=random", "--trials", "1", "--report-seeds", "1", "--json"],
    "which": ["which", *STEPS[:2], "optimizer=sgd,adam", "trainer.start=random", "--budget", "20runs", "--json"],
    "transfer": ["transfer", *SMALL, "optimizer.lr=1e-3,1e-2,1e-1", "--batches", "64,512", "--seeds", "1", "--json"],
    "plot": ["plot", "RUNS", "-o", "figure.svg"],
    "classify-critical": ["classify-critical", "--fn", "sphere", "--json"],
    "basins": ["basins", *STEPS, "--grid", "3", "--json"],
    "sensitivity": ["sensitivity", *STEPS, "--json"],
    "play": ["play", *STEPS, "--json"],
    "check-proof": ["check-proof", "PROOF", "--json"],
    "reproduce": ["reproduce", "--list"],
    "curvature": ["curvature", "TRAINED", "--budget", "0.1", "--json"],
    "evaluate": ["evaluate", "TRAINED", "--json"],
    "predict": ["predict", "TRAINED", "-o", "answers.csv"],
    "explain": ["explain", "TRAINED", "--features", "layer.png"],
    "cost": ["cost", *SMALL, "--repeats", "1", "--json"],
    "export": ["export", "RUNS", "--callback", "jsonl", "--json"],
    "verify": ["verify", "TRAINED", "--json"],
    "doctor": ["doctor", "--json"],
}
SERVES = ("view",)
"""What answers until it is ended; see test_pages_browser."""
PROVED = ["classify-critical", "--fn", "sphere", "--quiet", "--certificate"]
MAKES = {"run": "outputs/runs/*/run.json", "sweep": "outputs/sweeps/*/*/run.json", "plot": "figure.svg",
         "import": "outputs/imported/*/run.json", "predict": "answers.csv", "explain": "layer.png",
         "play": "play.html", "export": "outputs/events.jsonl"}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed, lr in product(range(2), (0.1, 0.2)):
        make_run(folder / f"run-{seed}-{lr}", {"seed": seed, "optimizer.lr": lr})
    return folder


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    path.write_text("step,loss\n0,1.0\n1,0.5\n")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import optbench

    run = optbench.run(*SMALL, out=tmp_path_factory.mktemp("trained"))
    assert run.path is not None
    return run.path


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proofs") / "proof.json"
    assert command(*PROVED, path) == 0
    return path


FORKS = """
import importlib, json, os, signal, sys
from optbench.cli import main
for module in json.loads(sys.argv[1]):
    importlib.import_module(module)
answers = os.dup(1)
for line in sys.stdin:
    words, place, fates, read = json.loads(line)
    child = os.fork()
    if child:
        os.write(answers, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        continue
    signal.alarm(300)
    os.close(answers)
    os.chdir(place)
    names = {"stdin": "r", "stdout": "w", "stderr": "w"}
    for number, name in enumerate(names):
        if fates.get(name) == "left":
            reader, stream = os.pipe()
            os.close(reader)
        else:
            path = {"full": "/dev/full"}.get(fates.get(name), read[number])
            stream = os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(stream, number)
        os.close(stream)
    for number, (name, mode) in enumerate(names.items()):  # as an interpreter finds them when it begins
        if fates.get(name) == "closed":
            os.close(number)
        stream = None if fates.get(name) == "closed" else open(number, mode, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["optbench", *words]
    main()
"""
WARM = {
    "LIGHT": ["yaml", "optbench.comparison", "optbench.config.reading"],
    "HEAVY": ["torch", "numpy", "matplotlib.figure", "optbench.config.reading"],
}


class Server:
    """A process that has imported what commands have in common, and forks for each: that is most of their time.

    The fork's streams are what those of a new process would be, and it ends as one does.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}
        command = [sys.executable, "-c", FORKS, json.dumps(WARM[kind])]
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, words: list[str], place: Path, **fates: str) -> subprocess.CompletedProcess[str]:
        """The command with `stdin`, `stdout` or `stderr` closed, full or left."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out, err = self._folder / "out", self._folder / "err"
        for file in (out, err):
            file.write_text("")
        self._process.stdin.write(json.dumps([words, str(place), fates, [os.devnull, str(out), str(err)]]) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())

    def end(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("said"), "LIGHT")
    yield server
    server.end()


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("said"), "HEAVY")
    yield server
    server.end()


@contextmanager
def stream(fate: str) -> Iterator[Any]:
    """What to give a process as a stream: a file that is full, a pipe whose reader is gone, or one that is read."""
    with ExitStack() as stack:
        if fate == "full":
            yield stack.enter_context(open("/dev/full", "w"))
        elif fate == "left":
            read, write = os.pipe()
            os.close(read)
            stack.callback(os.close, write)
            yield write
        else:
            yield subprocess.PIPE


def optbench(words: list[str], place: Path, **fates: str) -> subprocess.CompletedProcess[str]:
    """The command in a new process with `stdin`, `stdout` or `stderr` closed, full or left."""
    numbers = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-"}
    closed = " ".join(numbers[name] for name, fate in fates.items() if fate == "closed")
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "optbench", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}
    with stream(fates.get("stdout", "")) as out, stream(fates.get("stderr", "")) as err:
        return subprocess.run(shell, cwd=place, env=env, stdout=out, stderr=err, text=True, timeout=300)


def filled(words: list[str], **paths: Path) -> list[str]:
    return [str(paths.get(word, word)) for word in words]


def check(
    run: Callable[..., subprocess.CompletedProcess[str]],
    words: list[str],
    place: Path,
    fates: Mapping[str, str],
    makes: str | None,
) -> None:
    done = run(words, place, **fates)
    expected = {"full": 2, "left": 1}.get(fates.get("stdout", ""), 0)
    assert done.returncode == expected, (done.stderr, fates)
    if "stderr" not in fates:
        wanted = ["error: standard output cannot be written: No space left on device"] if expected == 2 else []
        assert [line for line in done.stderr.splitlines() if line.startswith("error") or "Trace" in line] == wanted
    if "stdout" not in fates and "--json" in words:
        assert json.loads(done.stdout)
    if makes is not None:
        assert list(place.glob(makes)), "the work was not done"


@pytest.mark.parametrize(("name", "out", "err"), [
    *((name, out, "") for name, out in product(LIGHT, FATES)),
    *(("list", "", err) for err in FATES), ("list", "closed", "closed"), ("config", "full", "full"),
])  # fmt: skip
def test_a_stream_that_takes_nothing(
    name: str, out: str, err: str, light: Server, runs: Path, log: Path, tmp_path: Path
) -> None:
    fates = {stream: fate for stream, fate in (("stdout", out), ("stderr", err)) if fate}
    run = optbench if name == "list" else light
    check(run, filled(LIGHT[name], RUNS=runs, LOG=log), tmp_path, fates, MAKES.get(name))


def test_an_error_that_cannot_be_told_keeps_its_code(tmp_path: Path) -> None:
    for fate in FATES:
        assert optbench(["list", "optimiser"], tmp_path, stderr=fate).returncode == 2


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What is printed on a closed stream must not end up in the first file that the command opens."""
    code = (
        "import os, sys\nfrom optbench.cli.streams import guarded_streams\nwith guarded_streams():\n"
        "    file = open('record', 'w')\n    assert file.fileno() > 2\n    os.write(2, b'noise')\n    print('noise')\n"
        "    print('noise', file=sys.stderr)\n"
    )
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(shell, cwd=tmp_path, timeout=60).returncode == 0
    assert (tmp_path / "record").read_text() == ""


def test_streams_are_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    assert command("list", "optimizer") == 0
    assert (sys.stdin, sys.stdout, sys.stderr) == before
    assert "adam" in capsys.readouterr().out


def test_all_commands_are_tried() -> None:
    assert {*LIGHT, *HEAVY, *SERVES} == {command.name for command in every_command()}


@pytest.mark.slow
@pytest.mark.parametrize("fates", [
    {"stderr": "full"}, {"stderr": "left"}, {"stdout": "full"},
    {"stdin": "closed", "stdout": "closed", "stderr": "closed"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", HEAVY)
def test_a_long_command_with_a_stream_that_takes_nothing(
    name: str, fates: dict[str, str], heavy: Server, runs: Path, trained: Path, proof: Path, tmp_path: Path
) -> None:
    if name == "plot" and fates.get("stdout") in ("full", "left"):
        pytest.skip("prints nothing on standard output")
    check(heavy, filled(HEAVY[name], RUNS=runs, TRAINED=trained, PROOF=proof), tmp_path, fates, MAKES.get(name))
