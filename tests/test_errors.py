"""Errors of somebody else's in our words: one line, whatever they say or do not say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import first_line, in_a_line


@given(st.text(max_size=40))
def test_any_error_is_one_line_that_says_something(said: str) -> None:
    for line in (first_line(RuntimeError(said)), in_a_line(RuntimeError(said))):
        assert len(line.splitlines()) == 1
        assert line.strip()


@pytest.mark.parametrize(
    ("error", "first", "whole"),
    [
        (ValueError("no\nmore"), "no", "ValueError: no"),
        (ValueError("\n  no  \n"), "no", "ValueError: no"),
        (EOFError(), "EOFError", "EOFError"),
        (AssertionError(" \n "), "AssertionError", "AssertionError"),
        (KeyError("state"), "'state'", "KeyError: 'state'"),
    ],
    ids=repr,
)
def test_the_first_line_counts_and_without_one_the_type(error: Exception, first: str, whole: str) -> None:
    assert (first_line(error), in_a_line(error)) == (first, whole)
