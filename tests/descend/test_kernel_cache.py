"""Compiled kernels on disk: what is loaded is what was written, and what is not is made again with a word."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from descend_tools import Rows
from numba.core.errors import NumbaError

from optbench.descend import kernel
from optbench.descend.batch import Batch
from optbench.descend.engine import descend
from optbench.descend.fused import fuse
from optbench.descend.plan import make_plan
from optbench.records import locked


@pytest.fixture(scope="module")
def batch() -> Batch:
    return Rows("beale", "rmsprop", changes={"lr": [0.001, 0.01]}).batch("fused")


@pytest.fixture(scope="module")
def source(batch: Batch) -> str:
    return fuse(batch, make_plan(batch)).source


@pytest.fixture(scope="module")
def compiled(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the kernel, compiled once for all tests."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(folder))
        patch.setattr(kernel, "_loaded", {})
        kernel.load(source)
    return folder


@pytest.fixture
def files(source: str, compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> kernel._Files:
    """Those of the kernel in a cache of the test's own."""
    shutil.copytree(compiled, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel, "_loaded", {})
    kernel.load(source)
    return kernel._Files(kernel.cache_folder() / kernel.kernel_name(source))


def forget(source: str) -> None:
    """As if a new process had begun."""
    kernel._loaded.clear()
    sys.modules.pop(kernel.kernel_name(source), None)


def everything(files: kernel._Files) -> list[Path]:
    return [files.source, files.sums, *files.made()]


def test_every_change_of_a_byte_is_noticed(files: kernel._Files, source: str) -> None:
    """200 changes in each file; a change that leaves the checksums' meaning as it was is harmless."""
    random = np.random.default_rng(0)
    assert files.sound(source)
    assert len(everything(files)) == 4
    for path in everything(files):
        whole = path.read_bytes()
        meant = json.loads(whole) if path == files.sums else None
        for place in random.integers(0, len(whole), 50):
            changed = bytearray(whole)
            changed[place] ^= int(random.integers(1, 256))
            path.write_bytes(changed)
            if files.sound(source):
                assert meant is not None
                assert json.loads(path.read_bytes()) == meant
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            assert not files.sound(source)
        path.write_bytes(whole)
        assert files.sound(source)


def test_a_damaged_kernel_is_compiled_again_with_a_word(
    files: kernel._Files, source: str, batch: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    right = descend(batch).x
    code = next(path for path in files.made() if path.suffix == ".nbc")
    whole = code.read_bytes()
    code.write_bytes(whole[: len(whole) // 2])
    forget(source)
    with caplog.at_level(logging.WARNING):
        again = descend(batch)
    assert again.engine == "fused"
    assert np.array_equal(again.x, right)
    assert "compiled again: it is not as it was written" in caplog.text
    assert files.sound(source)
    forget(source)
    assert kernel.cache_hits(kernel.load(source)) == 1


def test_files_that_numba_cannot_read_are_made_again(
    files: kernel._Files, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With checksums that fit: written by something else than this numba."""
    for path in files.made():
        path.write_bytes(b"not what numba reads")
    files.sums.write_text(json.dumps(files.found()))
    assert files.sound(source)
    forget(source)
    with caplog.at_level(logging.WARNING):
        kernel.load(source)
    assert "compiled again" in caplog.text
    assert files.sound(source)


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("kind", [OSError, NumbaError, ValueError])
def test_what_is_not_the_files_fault_is_raised(
    kind: type[Exception], made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an error that numba's files can have caused makes them anew, once."""
    files = kernel._Files(tmp_path / "kept")
    (tmp_path / "kept" / "__pycache__").mkdir(parents=True)
    files.source.write_text("source")
    if made:
        (tmp_path / "kept" / "__pycache__" / "kept.nbc").write_text("code")
    files.sums.write_text(json.dumps(files.found()))
    calls: list[str] = []

    def broken(name: str, *_: str) -> None:
        calls.append(name)
        raise kind("broken")

    monkeypatch.setattr(kernel, "_module", broken)
    with pytest.raises(kind, match="broken"):
        files.module("source")
    again = made and kind is ValueError
    assert len(calls) == (2 if again else 1)
    assert bool(files.made()) == (made and not again)


def test_who_wants_a_kernel_that_another_compiles_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_module", lambda *_: SimpleNamespace(run=None))
    monkeypatch.setattr(kernel, "cache_hits", lambda _: 1)
    files = kernel._Files(tmp_path / "kept")
    files.folder.mkdir()
    with futures.ThreadPoolExecutor() as pool:
        with locked(files.folder):
            second = pool.submit(files.module, "source")
            with pytest.raises(futures.TimeoutError):
                second.result(timeout=0.2)
            assert not files.source.exists()
        second.result()
    assert files.source.read_text() == "source"


def test_python_code_in_the_cache_is_not_believed(files: kernel._Files, source: str) -> None:
    """Neither a changed source nor Python's own compiled form of it is ever run."""
    files.source.write_text(source + "\nraise SystemExit('run')\n")
    forget(source)
    kernel.load(source)
    assert files.source.read_text() == source


@pytest.mark.slow
@pytest.mark.parametrize("place", ["a file in the way", "no room"])
def test_without_room_a_kernel_serves_this_process(
    place: str, source: str, tmp_path: Path, small_files: Callable[[int], Callable[[], None]]
) -> None:
    (tmp_path / "source.py").write_text(source)
    (tmp_path / "cache").write_text("") if place == "a file in the way" else (tmp_path / "cache").mkdir()

    room = 20_000 if place == "no room" else 10**9  # the source fits, the machine code does not
    code = "import sys; from optbench.descend.kernel import load; print(load(open(sys.argv[1]).read()).signatures)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "source.py"], capture_output=True, text=True,
        preexec_fn=small_files(room), timeout=300,
        env=os.environ | {"OPTBENCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "float64" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("kernels cannot be kept (")
    assert line.endswith("): compiled for this process alone")
