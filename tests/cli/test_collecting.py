"""Python's collector while torch is imported, and when the process ends."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from optbench.cli import collecting


class Knot:
    """A cycle, which only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def lasting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a module called `lasting_one` is to be written, which stands for torch."""
    monkeypatch.setattr(collecting, "_LASTING", "lasting_one")
    monkeypatch.setattr(sys, "meta_path", [m for m in sys.meta_path if type(m).__name__ != "_Finder"])
    monkeypatch.setattr("atexit.register", lambda function: None)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("lasting_one", None)
    collecting.spare()
    yield tmp_path / "lasting_one.py"
    gc.unfreeze()


def test_nothing_is_collected_while_it_is_imported_and_all_is_afterwards(lasting: Path) -> None:
    lasting.write_text("import gc\nmeanwhile = gc.isenabled()\nkept = [[] for _ in range(5000)]\n")
    before = gc.get_freeze_count()
    module = importlib.import_module("lasting_one")
    assert not module.meanwhile
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + 5000  # what it made is looked at no more
    assert Path(str(module.__file__)) == lasting
    knot = Knot()
    end = weakref.ref(knot)
    del knot
    gc.collect()
    assert end() is None


def test_a_module_that_cannot_be_imported_leaves_the_collector_as_it_was(lasting: Path) -> None:
    lasting.write_text("raise ImportError('broken')\n")
    with pytest.raises(ImportError, match="broken"):
        importlib.import_module("lasting_one")
    assert gc.isenabled()
    gc.disable()  # as a user may have it
    try:
        with pytest.raises(ImportError, match="broken"):
            importlib.import_module("lasting_one")
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_it_is_put_off_once(lasting: Path) -> None:
    collecting.spare()
    assert sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path) == 1


def test_at_the_end_of_the_process_nothing_is_collected() -> None:
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count()))\n"
        "from optbench.cli.collecting import spare; spare()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 1000
