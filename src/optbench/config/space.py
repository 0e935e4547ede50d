"""What is searched over: a key of the configuration, and the numbers or the values that it may have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dimension:
    """A key to search over: a number between two, or one of some values.

    Attributes:
        key: of the configuration, or a group.
        low, high: of a number; its ends count.
        log: whether its logarithm is what is even.
        values: to choose from, in order; empty for a number.
    """

    key: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    values: tuple[Any, ...] = ()

    def at(self, share: float) -> Any:
        """The value at a share of the way, 0 to 1; numbers with six digits, as a person would type them."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return float(f"{math.exp(low + share * (high - low)):.6g}")
        return float(f"{self.low + share * (self.high - self.low):.6g}")

    def share(self, value: Any) -> float:
        """How far along a value is, 0 to 1; of the values to choose from, the middle of its own part."""
        if self.values:
            return (self.values.index(value) + 0.5) / len(self.values)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def override(self) -> str:
        """As it is typed."""
        if self.values:
            return f"{self.key}={','.join(map(str, self.values))}"
        interval = f"interval({self.low:g},{self.high:g})"
        return f"{self.key}={f'tag(log,{interval})' if self.log else interval}"
