"""What every test starts from: one thread, so that numbers repeat to the bit, and examples that repeat.

Hypothesis draws the same examples in every run of a commit, so that a red test is the commit's and not the day's;
`HYPOTHESIS_PROFILE=explore pytest tests` draws new ones, and more of them.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

# a shell that starts something in the background has it ignore Ctrl-C, nohup the end of the terminal; and so would all
# that the tests start
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ["OPTBENCH_LANG"] = "en"  # whatever the machine's locale is
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # or Ray keeps a token in HOME, and asks for it from then on

# some hundred processes that tests start would each compile the package anew, and the slow suite all tests again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

gc.set_threshold(100_000, 20, 20)  # what 8,000 tests keep is alive, and looked through in vain
os.fsync = lambda handle: None  # some thousands of runs are recorded, and no test takes the power away

settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


@pytest.fixture(autouse=True)
def _module_path() -> Iterator[None]:
    """What a test puts on the module path (a conf folder of its own) is gone after it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Callable[[], None]]:
    """`preexec_fn=small_files(limit)`: a process whose files may have `limit` bytes, as on a disk that is full.

    It may not keep compiled modules: Python 3.11 takes a short write for a whole one, and the beginning of a `.pyc`
    that it leaves in the installation is what every process after it fails to read ("marshal data too short").
    """
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def limited(limit: int) -> Callable[[], None]:
        def before_exec() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return before_exec

    return limited


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes tests that stand together, and steals at the end: what a module shares is seldom made twice."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)
