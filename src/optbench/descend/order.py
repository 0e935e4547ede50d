"""In which order a step's instructions come, and where its loop over lanes is cut.

Both are for the processor: few values should wait for their use, since registers are few, and an iteration of a loop
should be short enough that the next ones are begun while its long chain of operations runs. Neither changes a bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from optbench.descend.program import Program, Value

_COSTS = {"sin": 30, "cos": 30, "exp": 30, "const": 0, "input": 0}
"""Machine instructions of an operation, about; others have one. sin and cos of one argument share most of theirs."""
_LONGEST_PIECE = 140
_FREE = ("const", "input")
_TURNS = {"sin": "cos", "cos": "sin"}


def cost_of(program: Program) -> int:
    """Machine instructions of a program, about."""
    return sum(_COSTS.get(instruction.op, 1) for instruction in program.code)


def schedule(program: Program, results: Sequence[Value]) -> list[Value]:
    """What the results depend on, depth first, in an order in which few values wait to be used.

    An operation whose arguments are there, and which is the last to use one of them, comes at once; so does the cosine
    of a sine's argument.
    """
    return _Schedule(program, results).order


class _Schedule:
    def __init__(self, program: Program, results: Sequence[Value]) -> None:
        self.code = program.code
        self.order: list[Value] = []
        self.done: set[Value] = set()
        self.users: dict[Value, list[Value]] = {}
        self.unused: dict[Value, int] = {}
        for value in program.needed(results):
            for a in set(self.code[value].args):
                self.users.setdefault(a, []).append(value)
                self.unused[a] = self.unused.get(a, 0) + 1
        stack = list(reversed(results))
        while stack:
            missing = self._missing(stack[-1])
            if missing:
                stack += reversed(missing)
            else:
                self._put(stack.pop())

    def _missing(self, value: Value) -> list[Value]:
        return [] if value in self.done else [a for a in self.code[value].args if a not in self.done]

    def _put(self, first: Value) -> None:
        waiting = [first]
        while waiting:
            value = waiting.pop()
            if value not in self.done:
                self.order.append(value)
                self.done.add(value)
                for a in set(self.code[value].args):
                    self.unused[a] -= 1
                near = (value, *(a for a in self.code[value].args if self.code[a].op not in _FREE))
                waiting += [u for v in near for u in self.users.get(v, ()) if self._at_once(u, value)]

    def _at_once(self, user: Value, after: Value) -> bool:
        if user in self.done or self._missing(user):
            return False
        op, args = self.code[user].op, self.code[user].args
        if _TURNS.get(op) == self.code[after].op and args == self.code[after].args:
            return True
        return any(self.unused[a] == 1 and self.code[a].op not in _FREE for a in args)


def pieces(program: Program, order: Sequence[Value]) -> list[list[Value]]:
    """The order cut into pieces of similar cost, each within reach of the ideal cut where fewest values cross it."""
    costs = [_cost(program, order, i) for i in range(len(order))]
    number = max(1, round(sum(costs) / _LONGEST_PIECE))
    passed = list(itertools.accumulate(costs))
    crossing = _crossing(program, order)
    cuts = [0]
    for j in range(1, number):
        ideal, reach = passed[-1] * j / number, passed[-1] / number / 4
        near = [i for i in range(cuts[-1], len(order)) if abs(passed[i] - ideal) <= reach]
        cuts += [min(near, key=lambda i: (crossing[i], abs(passed[i] - ideal))) + 1] if near else []
    return [list(order[begin:end]) for begin, end in itertools.pairwise([*cuts, len(order)])]


def _crossing(program: Program, order: Sequence[Value]) -> list[int]:
    """How many computed values are still waiting for a use, after each place of the order."""
    last = {a: i for i, value in enumerate(order) for a in program.code[value].args}
    change = [0] * len(order)
    for i, value in enumerate(order):
        if value in last and program.code[value].op not in _FREE:
            change[i] += 1
            change[last[value]] -= 1
    return list(itertools.accumulate(change))


def _cost(program: Program, order: Sequence[Value], i: int) -> int:
    op, args, _ = program.code[order[i]]
    before = program.code[order[i - 1]] if i else None
    if before is not None and _TURNS.get(op) == before.op and args == before.args:
        return 8
    return _COSTS.get(op, 1)
