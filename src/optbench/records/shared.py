"""What is worked out once for an object that many configurations have in common: runs of a sweep share their parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerObject(Generic[T]):
    """A function of objects, asked once for each: the same object (not an equal one) has the same answer.

    The objects must not change; they are kept alive as long as this is, since only then an id means one of them.

    Args:
        function: what is asked.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self._known: dict[int, tuple[Any, T]] = {}

    def __call__(self, given: Any) -> T:
        found = self._known.get(id(given))
        if found is None:
            found = self._known[id(given)] = given, self._function(given)
        return found[1]
