"""Whether a run is only being planned: then a data set that makes its pictures leaves the place that the user named as
it is, and makes them in the cache. The same parameters give the same pictures, so that what is planned is what will
run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PLANNING: ContextVar[bool] = ContextVar("planning", default=False)


@contextmanager
def planning() -> Iterator[None]:
    """Within it nothing is written where the user will find it."""
    before = _PLANNING.set(True)
    try:
        yield
    finally:
        _PLANNING.reset(before)


def is_planning() -> bool:
    """Whether that is so now."""
    return _PLANNING.get()
