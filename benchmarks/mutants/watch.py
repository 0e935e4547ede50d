"""Which lines each test executes and how long it takes, measured once a session; and which test noticed a mutant.

Two plugins of pytest. Lines that a fixture of a module or a session executes count for every test that uses it, not for
the first alone.
"""

from __future__ import annotations

import importlib
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest
from draw import modules

EACH = 4
"""Cases of a parametrized test that are measured; what the others take is taken to be the same."""


class Watch:
    """Measures the tests of one file and writes what it found: seconds, and for each source file line -> contexts."""

    def __init__(self, package: Path, to: Path) -> None:
        self._package, self._to = package, to
        self._coverage = coverage.Coverage(
            data_file=None, config_file=False, include=[f"{package}/*"], messages=False, context=""
        )
        self._stack: list[str] = [""]
        self._tests: dict[str, dict[str, Any]] = {}
        self._cases: dict[str, int] = {}

    def pytest_sessionstart(self) -> None:
        """Starts, and loads the areas: what runs when a module is loaded belongs to no test, not to the first one."""
        self._coverage.start()
        for file in itertools.chain(*modules(self._package).values()):
            importlib.import_module(".".join(file.relative_to(self._package.parent).with_suffix("").parts))
        self._began = time.process_time()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keeps EACH cases of a test, evenly spaced."""
        cases: dict[str, list[Any]] = defaultdict(list)
        for item in items:
            cases[item.nodeid.split("[")[0]].append(item)
        self._cases = {function: len(same) for function, same in cases.items()}
        items[:] = [each for same in cases.values() for each in same[:: -(-len(same) // EACH)]]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        fixtures = [f"{d.baseid}:{d.argname}" for ds in item._fixtureinfo.name2fixturedefs.values() for d in ds]
        self._tests[item.nodeid] = {"fixtures": fixtures, "passed": True}
        began = time.process_time()
        self._enter(item.nodeid)
        yield
        self._leave()
        self._tests[item.nodeid]["seconds"] = time.process_time() - began

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        shared = fixturedef.scope != "function"
        if shared:
            self._enter(f"{fixturedef.baseid}:{fixturedef.argname}")
        yield
        if shared:
            self._leave()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or report.skipped:
            self._tests[report.nodeid]["passed"] = False

    def pytest_collection_finish(self) -> None:
        self._collected = time.process_time() - self._began

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {
            str(Path(file).relative_to(self._package)): data.contexts_by_lineno(file) for file in data.measured_files()
        }
        found = {
            "collected": getattr(self, "_collected", 0.0),
            "cases": self._cases,
            "tests": self._tests,
            "lines": lines,
        }
        self._to.write_text(json.dumps(found))

    def _enter(self, context: str) -> None:
        self._stack.append(context)
        self._coverage.switch_context(context)

    def _leave(self) -> None:
        self._stack.pop()
        self._coverage.switch_context(self._stack[-1])


class Witness:
    """Writes the name of the first test that failed, or the file that could not be collected."""

    def __init__(self, to: Path) -> None:
        self._to = to

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self._to.exists():
            self._to.write_text(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self._to.exists():
            self._to.write_text(f"{report.nodeid} (collection)")
