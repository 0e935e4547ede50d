"""What an arithmetic provides to run a surface's program: intervals, jets of intervals or Arb balls, recording.

A function with a jump is the one thing that needs care: a range that is finite means that the operation is continuous
there (the proofs about extrema rest on it), so where a jump may lie, everything is unbounded, the value too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from optbench.errors import OptbenchError

JUMPS, CONTINUOUS, SMOOTH = -1, 0, 1
"""What is known of a function given by two pieces, where they meet: nothing, equal values, equal first derivatives."""


class MissingRule(OptbenchError):
    """Something in the surface has no interval rule: nothing can be proved about it."""

    exit_code = 2

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} has no interval rule, so nothing can be proved about this surface",
            "use --method numeric, or write the surface in operations that have a rule (the table at the top of "
            "optbench/critical/programs/operations.py)",
        )


class Scalar(ABC):
    """One number a box. Methods take and return values of the same arithmetic."""

    __slots__ = ()

    def constant(self, c: float) -> Self:
        """The number c."""
        raise MissingRule("a constant in this arithmetic")

    @abstractmethod
    def plus(self, other: Self) -> Self:
        """self + other."""

    @abstractmethod
    def times(self, other: Self) -> Self:
        """self * other."""

    def maximum(self, other: Self) -> Self:
        """The larger of both; the derivatives where they meet are Clarke's: any mean of those of both."""
        raise MissingRule("a maximum in this arithmetic")

    def where(self, positive: Self, other: Self, meet: int) -> Self:
        """`positive` where self > 0, `other` elsewhere; `meet` (JUMPS and following) says what is known at self = 0."""
        raise MissingRule("a function by pieces in this arithmetic")

    @abstractmethod
    def shift(self, c: float) -> Self:
        """self + c."""

    @abstractmethod
    def scale(self, c: float) -> Self:
        """self * c."""

    @abstractmethod
    def over(self, c: float) -> Self:
        """self / c."""

    @abstractmethod
    def apply(self, name: str) -> Self:
        """The elementary function `name` of functions.RULES."""

    @abstractmethod
    def power(self, n: int) -> Self:
        """self**n for whole n."""

    @abstractmethod
    def real_power(self, p: float) -> Self:
        """self**p for self > 0."""
