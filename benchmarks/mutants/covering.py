"""From a changed line to the tests that should notice it, in an order in which a mutant dies soon."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Chosen = tuple[str, list[str], float]
"""A test file, tests of it, and the CPU seconds that they take unmutated."""


@dataclass
class Covering:
    """What the tests execute: filled from the files that `Watch` wrote, one a test file."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Of every test that passed."""
    collected: dict[str, float] = field(default_factory=dict)
    """Of every test file: seconds before its first test."""
    cases: dict[str, int] = field(default_factory=dict)
    """Of every test function: how many cases it has; some of them are measured."""
    lines: dict[str, dict[int, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    """Source file -> line -> tests."""
    imported: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Source file -> lines that run when it is loaded, or when tests are collected."""

    def add(self, test_file: str, found: Path) -> None:
        """Takes over what was measured of one test file."""
        said = json.loads(found.read_text())
        self.collected[test_file] = said["collected"]
        self.cases |= said["cases"]
        users: dict[str, set[str]] = defaultdict(set)
        for test, facts in said["tests"].items():
            if facts["passed"]:
                self.seconds[test] = facts["seconds"]
                for context in (test, *facts["fixtures"]):
                    users[context].add(test)
        for file, lines in said["lines"].items():
            for line, contexts in lines.items():
                self.lines[file][int(line)].update(*(users[context] for context in contexts if context))
                if "" in contexts:
                    self.imported[file].add(int(line))

    def of(self, file: str, first: int, last: int) -> tuple[set[str], str]:
        """Tests that execute one of the lines, and in which sense."""
        covering = set().union(*(self.lines[file].get(line, set()) for line in range(first, last + 1)))
        if covering:
            return covering, "executed"
        loaded = any(line in self.imported[file] for line in range(first, last + 1))
        touching = set().union(*self.lines[file].values())
        return touching, "executed at import" if loaded else "not seen executed"

    def chosen(self, tests: set[str], budget: float) -> list[Chosen]:
        """Test files with those of their tests to run and the seconds that these take, most telling file first.

        Of a file, first the tests given, of each function the fastest, then its next, and so on; then the others of the
        file, since what a test found may be kept for the next one. No file has more than half of the budget.
        """
        found = []
        for file, own in self._files(tests):
            covering, others = self._turns(own & tests), self._turns(own - tests)
            found.append((file, covering + others, {test: self.seconds[test] for test in own}))
        return self._within(found, tests, budget)

    def every_case(self, tests: set[str], budget: float) -> list[Chosen]:
        """As `chosen`, but whole functions, with the cases that were not measured."""
        functions = {test.split("[")[0] for test in tests}
        found = []
        for file, own in self._files(tests):
            order = list(
                dict.fromkeys(test.split("[")[0] for test in self._turns(own & tests) + self._turns(own - tests))
            )
            measured = {function: [self.seconds[t] for t in own if t.split("[")[0] == function] for function in order}
            cost = {function: sum(each) / len(each) * self.cases[function] for function, each in measured.items()}
            found.append((file, order, cost))
        return self._within(found, functions, budget)

    def _files(self, tests: set[str]) -> list[tuple[str, set[str]]]:
        """Test files with all their tests, those first of which a large share is among the given, and fast."""
        own: dict[str, set[str]] = defaultdict(set)
        for test in self.seconds:
            own[test.split("::")[0]].add(test)
        share = {file: len(own[file] & tests) / len(own[file]) for file in {test.split("::")[0] for test in tests}}
        cost = {file: self.collected[file] + _median([self.seconds[t] for t in own[file] & tests]) for file in share}
        return [(file, own[file]) for file in sorted(share, key=lambda file: (cost[file] / share[file], file))]

    def _within(
        self, files: Sequence[tuple[str, list[str], dict[str, float]]], wanted: set[str], budget: float
    ) -> list[Chosen]:
        """As many of the tests, in this order, as there are seconds for; no file has more than half of them."""
        left, found = budget, []
        for file, order, cost in files:
            room, taken = min(left, budget / 2.0) - self.collected[file], []
            for test in order:
                if cost[test] <= room:
                    taken.append(test)
                    room -= cost[test]
            if wanted.intersection(taken):
                spent = self.collected[file] + sum(cost[test] for test in taken)
                found.append((file, taken, spent))
                left -= spent
        return found

    def _turns(self, tests: Iterable[str]) -> list[str]:
        """The fastest of each function, then the second of each ..."""
        functions: dict[str, list[str]] = defaultdict(list)
        for test in sorted(tests, key=self.seconds.__getitem__):
            functions[test.split("[")[0]].append(test)
        turns = [(place, self.seconds[test], test) for same in functions.values() for place, test in enumerate(same)]
        return [test for _, _, test in sorted(turns)]


def stamps(root: Path, test_files: Sequence[Path]) -> list[str]:
    """A hash for each test file: of itself, the source, conf/ and what test files share, but not of the others."""
    shared = hashlib.sha256()
    helpers = (path for path in (root / "tests").rglob("*.py") if not path.name.startswith("test_"))
    for path in sorted([*(root / "src").rglob("*.py"), *(root / "conf").rglob("*.yaml"), *helpers]):
        shared.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return [hashlib.sha256(shared.digest() + path.read_bytes()).hexdigest()[:16] for path in test_files]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
