"""Values that note what is done to them: what a surface's program is written with.

Each point of a batch has a tape of its own, so a surface in which one point's value depends on another point is
noticed. What two places compute alike is noted once, and a few steps that are the identity in real arithmetic (+ 0,
* 1, / 1) not at all.
"""

from __future__ import annotations

from typing import NamedTuple, Self

from optbench.critical.programs.scalar import CONTINUOUS, JUMPS, MissingRule, Scalar


class Step(NamedTuple):
    """One operation.

    Attributes:
        op: what is done, a method of `Scalar`:
            "x"          the coordinate of that number
            "constant"   the number
            "plus", "times", "maximum"            of two steps
            "shift", "scale", "over"              a + number, a * number, a / number
            "power", "real_power"                 a ** number: a whole exponent; a real one, for a > 0
            "where"      of three steps: the second where the first is > 0, the third elsewhere; the number says what is
                         known where the first is 0: -1 nothing (a jump), 0 both are equal, 1 their derivatives, too
            or an elementary function of functions.RULES, by its name.
        args: numbers of earlier steps.
        number: of a constant, a shift, a factor, a divisor, an exponent, a "where", or which coordinate; else None.
    """

    op: str
    args: tuple[int, ...] = ()
    number: float | None = None


class Tape:
    """The steps so far, each once, after the coordinates."""

    def __init__(self, dim: int = 0) -> None:
        self.steps: list[Step] = []
        self._known: dict[tuple[str, tuple[int, ...], str | None], int] = {}
        self.x = tuple(Recorded(self, self.put("x", (), float(i))) for i in range(dim))

    def put(self, op: str, args: tuple[int, ...] = (), number: float | None = None) -> int:
        """The number of the step."""
        # hex: 0.0 and -0.0 are two numbers
        key = (op, args, None if number is None else float(number).hex())
        if key not in self._known:
            self._known[key] = len(self.steps)
            self.steps.append(Step(op, args, number))
        return self._known[key]


class Recorded(Scalar):
    """A value on a tape.

    Attributes:
        tape: of its point.
        at: number of the step that computes it.
    """

    __slots__ = ("at", "tape")

    def __init__(self, tape: Tape, at: int) -> None:
        self.tape, self.at = tape, at

    @property
    def step(self) -> Step:
        """The step that computes it."""
        return self.tape.steps[self.at]

    def constant(self, c: float) -> Self:
        return self._put("constant", (), c)

    def plus(self, other: Self) -> Self:
        return self._put("plus", (self, other))

    def times(self, other: Self) -> Self:
        if self.at == other.at and self.tape is other.tape:
            return self if self.is_truth() else self.apply("square")
        for one, factor in ((self, other), (other, self)):
            if one.is_truth():  # 0 NaN is NaN: the factor counts also where it is not chosen
                return one.choose(factor, one.constant(0.0) if factor.is_truth() else factor.scale(0.0))
        return self._put("times", (self, other))

    def maximum(self, other: Self) -> Self:
        return self if self.at == other.at and self.tape is other.tape else self._put("maximum", (self, other))

    def where(self, positive: Self, other: Self, meet: int) -> Self:
        return self._put("where", (self, positive, other), meet)

    def shift(self, c: float) -> Self:
        return self if c == 0.0 else self._put("shift", (self,), c)

    def scale(self, c: float) -> Self:
        return self if c == 1.0 else self._put("scale", (self,), c)

    def over(self, c: float) -> Self:
        return self if c == 1.0 else self._put("over", (self,), c)

    def apply(self, name: str) -> Self:
        if name == "square" and self.step.op == "sqrt":
            under = self._of(self.step.args[0])
            if under.is_never_negative():  # a squared norm is smooth where the norm is not
                return under
        return self._put(name, (self,))

    def power(self, n: int) -> Self:
        return self if n == 1 else self._put("power", (self,), n)

    def real_power(self, p: float) -> Self:
        return self._put("real_power", (self,), p)

    def _put(self, op: str, args: tuple[Self, ...], number: float | None = None) -> Self:
        if any(a.tape is not self.tape for a in args):
            raise MissingRule("a point's value that depends on the other points of its batch")
        return type(self)(self.tape, self.tape.put(op, tuple(a.at for a in args), number))

    def _of(self, at: int) -> Self:
        return type(self)(self.tape, at)

    def is_never_negative(self) -> bool:
        """Whether its operations show that it is at least 0 wherever it is defined."""
        op, args, number = self.step
        if op in ("scale", "over", "shift", "constant"):
            return (number or 0.0) >= 0.0 and all(self._of(a).is_never_negative() for a in args)
        if op in ("plus", "times", "maximum"):
            return all(self._of(a).is_never_negative() for a in args)
        return op in ("square", "abs", "exp", "sqrt") or (op == "power" and (number or 0.0) % 2 == 0)

    # truth values -----------------------------------------------------------------------------------------------------

    def is_truth(self) -> bool:
        """Whether it is made of comparisons, 1 or 0."""
        step = self.step
        if step.op == "constant":
            return step.number in (0.0, 1.0)
        return step.op == "where" and all(self._of(a).is_truth() for a in step.args[1:])

    def condition(self) -> tuple[Self, bool]:
        """(c, turned): self, a truth value, is 1 where c > 0, or, turned, where c <= 0."""
        numbers = [self._number(a) for a in self.step.args[1:]]
        if sorted(map(str, numbers)) == ["0.0", "1.0"]:
            return self._of(self.step.args[0]), numbers[0] == 0.0
        return self.shift(-0.5), False  # no derivative is known where c is 0

    def choose(self, yes: Self, no: Self) -> Self:
        """`yes` where self, a truth value, is 1, `no` elsewhere; pieces that meet are seen to meet."""
        condition, turned = self.condition()
        if turned:
            yes, no = no, yes
        if yes.at == no.at and yes.tape is no.tape:
            return yes
        found = condition._larger_of(yes, no)
        if found is not None:
            return found
        return condition.where(yes, no, CONTINUOUS if condition._meet(yes, no) else JUMPS)

    def _number(self, at: int) -> float | None:
        step = self.tape.steps[at]
        return step.number if step.op == "constant" else None

    def _larger_of(self, yes: Self, no: Self) -> Self | None:
        """max(yes, no) or min(yes, no) where self is yes - no or no - yes."""
        minus_no, minus_yes = (self._difference(*pair) for pair in ((yes, no), (no, yes)))
        if self.at in minus_no:
            return yes.maximum(no)
        if self.at in minus_yes:
            return yes.scale(-1.0).maximum(no.scale(-1.0)).scale(-1.0)
        return None

    def _difference(self, a: Self, b: Self) -> set[int]:
        """The steps that a - b may be, as `operations` writes it."""
        number_a, number_b = self._number(a.at), self._number(b.at)
        if number_b is not None:
            return {a.shift(-number_b).at}
        minus = b.scale(-1.0)
        return {minus.shift(number_a).at if number_a is not None else a.plus(minus).at}

    def _meet(self, yes: Self, no: Self) -> bool:
        """Whether both are multiples of self, and so 0 where self is."""
        base = self._base()
        return all(self._number(v.at) == 0.0 or v._base() == base for v in (yes, no))

    def _base(self) -> int:
        """The step that this one is a multiple of."""
        at = self.at
        while self.tape.steps[at].op in ("scale", "over"):
            at = self.tape.steps[at].args[0]
        return at


def truth(c: Recorded) -> Recorded:
    """1 where c > 0, else 0."""
    return c.where(c.constant(1.0), c.constant(0.0), JUMPS)
