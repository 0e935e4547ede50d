"""The loops over lanes that make up a step, as text: the traced program, then statistics and stop rules.

A long program is cut into several loops (`order`); what one computes and a later one needs passes through the scratch
array. A program with many constants (a rotation) is given them as numbers of the batch: then one kernel serves every
instance of a surface.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from optbench.descend.forms import FORMS, TRUTHS
from optbench.descend.layout import LANES, Layout, at, variable
from optbench.descend.order import pieces, schedule
from optbench.descend.program import Program, Step, Value

_MANY = 40
"""Constants of a program that are written into its text; the textbook's surfaces with any optimizer have fewer."""


class Body:
    """The text of a step.

    Attributes:
        lines: the loops over lanes.
        slots: quantities in the scratch array, those of the layout and those that only pass from loop to loop.
        constants: of a program with many, those that the kernel is given, after its uniform numbers.
    """

    def __init__(self, step: Step, layout: Layout) -> None:
        self._step, self._layout, self._program = step, layout, step.program
        squares, self._slope = slope_of(step)
        results: list[Value] = []
        for i, x in enumerate(step.x):
            results += [*(step.memory[name][i] for name in layout.memories), x, squares[i]]
        results += [step.loss, self._slope]
        self._far = farthest(step.program, results)
        results += [] if self._far is None else [self._far]
        self._pieces = pieces(step.program, schedule(step.program, results))
        self._given = self._constants(results)
        self.constants = [float(step.program.code[v].payload) for v in self._given]
        self.slots = len(layout.slots)
        self._places = self._crossings(results)
        self.lines = [line for n in range(len(self._pieces)) for line in self._loop(n)]

    def _constants(self, results: Sequence[Value]) -> dict[Value, int]:
        """The constants that are given, and the place of each; none where they are few."""
        code = self._program.code
        values = [v for v in self._program.needed(results) if code[v].op == "const"]
        given = [v for v in values if math.isfinite(code[v].payload) and code[v].payload not in (0.0, 1.0, -1.0)]
        return {v: i for i, v in enumerate(given)} if len(given) > _MANY else {}

    def _crossings(self, results: Sequence[Value]) -> dict[Value, str]:
        """Where values that later loops need are kept: a memory in its own place, if its old value is done with."""
        code = self._program.code
        own = {v: f"{m}[{i}]" for m in self._layout.memories for i, v in enumerate(self._step.memory[m])}
        old = {instruction.payload: v for v, instruction in enumerate(code) if instruction.op == "input"}
        places: dict[Value, str] = {}
        for n, piece in enumerate(self._pieces[:-1]):
            after = {a for later in self._pieces[n + 1 :] for v in later for a in code[v].args} | set(results)
            for value in piece:
                if value not in after or code[value].op in ("const", "input"):
                    continue
                if value in own and old.get(own[value]) not in after:
                    places[value] = at(self._layout, own[value])
                else:
                    places[value] = f"lane + {self.slots * LANES}"
                    self.slots += 1
        return places

    def _loop(self, n: int) -> Iterator[str]:
        """One loop over the lanes; the last one judges and stores."""
        args = (a for v in self._pieces[n] for a in self._program.code[v].args)
        known: set[Value] = {a for a in args if a in self._given}
        first = len(self._layout.uniform)
        yield from (f"v{v} = uniform[{first + self._given[v]}]" for v in sorted(known))
        yield "for lane in range(LANES):"
        for value in self._pieces[n]:
            if self._program.code[value].op not in ("const", "input"):
                for a in self._program.code[value].args:
                    yield from self._had(a, known)
                yield f"    v{value} = {self._text(value)}"
                known.add(value)
        if n < len(self._pieces) - 1:
            yield from (f"    w[{self._places[v]}] = v{v}" for v in self._pieces[n] if v in self._places)
        else:
            yield from self._judged(known)

    def _had(self, value: Value, known: set[Value]) -> Iterator[str]:
        """Loads what this loop does not know yet."""
        if value not in known:
            known.add(value)
            text = f"w[{self._places[value]}]" if value in self._places else self._text(value)
            kept_truth = value in self._places and self._program.code[value].op in TRUTHS
            yield f"    v{value} = {text}" + (" != ZERO" if kept_truth else "")

    def _text(self, value: Value) -> str:
        op, args, payload = self._program.code[value]
        if value in self._given:
            return f"uniform[{len(self._layout.uniform) + self._given[value]}]"
        if op == "const":
            number = repr(float(payload))
            return {"inf": "INF", "-inf": "-INF", "nan": "NAN"}.get(number, f"F({number})")
        if op != "input":
            return FORMS[op].format(*(f"v{a}" for a in args))
        name = str(payload)
        return _rate(self._layout) if name == "lr" else "t" if name == "t" else _read(self._layout, name)

    def _judged(self, known: set[Value]) -> Iterator[str]:
        step, layout = self._step, self._layout
        stored = [(f"{m}[{i}]", v) for m in layout.memories for i, v in enumerate(step.memory[m])]
        stored = [(name, v) for name, v in stored if self._places.get(v) != at(layout, name)]
        far = [] if self._far is None else [self._far]
        for value in (step.loss, self._slope, *far, *step.x, *(v for _, v in stored)):
            yield from self._had(value, known)
        yield f"    loss, slope = v{step.loss}, v{self._slope}"
        yield from (f"    {line}" for line in _rules(layout, [f"v{v}" for v in far]))
        yield from (f"    w[{at(layout, name)}] = v{v}" for name, v in stored)
        for i, value in enumerate(step.x):
            yield f"    w[{at(layout, f'x[{i}]')}] = v{value} if go else {variable(f'x[{i}]')}"


def _read(layout: Layout, quantity: str) -> str:
    return f"w[{at(layout, quantity)}]" if quantity in layout.slots else variable(quantity)


def _rate(layout: Layout) -> str:
    lr, factor = _read(layout, "lr"), _read(layout, "factor")
    if "floor" in layout.per_row + layout.uniform:
        floor = _read(layout, "floor")
        return f"{floor} + ({lr} - {floor}) * {factor}"
    return f"{lr} * {factor}"


def _folded(program: Program, op: str, values: Sequence[Value]) -> Value:
    first, *others = values
    for value in others:
        first = program.apply(op, first, value)
    return first


def slope_of(step: Step) -> tuple[list[Value], Value]:
    """The squares of the gradient's components, and their sum."""
    squares = [step.program.apply("mul", g, g) for g in step.gradient]
    return squares, _folded(step.program, "add", squares)


def farthest(program: Program, results: Sequence[Value]) -> Value | None:
    """The largest magnitude of an argument of sin or cos; None without such an operation."""
    turned = {program.code[v].args[0] for v in program.needed(results) if program.code[v].op in ("sin", "cos")}
    sizes = [program.apply("abs", v) for v in sorted(turned)]
    return _folded(program, "maximum", sizes) if sizes else None


def _rules(layout: Layout, far: Sequence[str]) -> list[str]:
    """Statistics, then the stop rules in the order of loop.rules; an ended row repeats its last iterate for ever."""
    kept = ["best", "best_step", *(f"reached{j}" for j in range(layout.targets))]
    kept += ["low", "low_step"] if layout.plateau else []
    old = [*kept, "ending", "bound", *(f"x[{i}]" for i in range(layout.dim))]
    lines = [
        *(f"{variable(name)} = w[{at(layout, name)}]" for name in old),
        "better = loss < q_best",
        "best = loss if better else q_best",
        "best_step = t if better else q_best_step",
        "sound = (math.fabs(loss) <= q_bound) & (slope < INF)",
        "new = completed",
    ]
    if layout.plateau:
        lines += [
            "enough = delta * math.fabs(q_low) if math.fabs(q_low) < INF else ZERO",
            "lower = loss < q_low - enough",
            "low = loss if lower else q_low",
            "low_step = t if lower else q_low_step",
            "new = plateau if t - low_step >= patience else new",
        ]
    for j in range(layout.targets):
        hit = f"(q_reached{j} < ZERO) & (loss <= limits[{j + 5}]) & sound"
        lines.append(f"reached{j} = t if {hit} else q_reached{j}")
    return [
        *lines,
        "new = rest if slope <= flat else new",
        "new = reached if loss <= target else new",
        "new = new if sound else diverged",
        *(f"new = far if {value} > FARTHEST else new" for value in far),
        "ending = new if q_ending == ZERO else q_ending",
        "go = ending == ZERO",
        *(f"w[{at(layout, name)}] = {name}" for name in ("ending", "loss", "slope", *kept)),
    ]
