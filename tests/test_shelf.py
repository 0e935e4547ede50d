"""The shelf of derived data: what was put comes back as it was, and nothing else is ever believed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optbench import shelf

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))


def exact(a: Any, b: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(exact(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(exact, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=PLAIN)
def test_comes_back_as_it_was(value: Any) -> None:
    key = shelf.key_of(repr(value))
    shelf.put("things", key, value)
    assert exact(shelf.take("things", key), value)


@pytest.mark.parametrize("value", [{1: "a"}, [(1, 2)], {"a": {1, 2}}, b"bytes", object()])
def test_what_json_would_change_is_not_kept(value: Any) -> None:
    shelf.put("things", "k", value)
    assert shelf.take("things", "k") is None


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    shelf.put("things", "k", {"lr": 0.001, "steps": 1000})
    (file,) = (tmp_path / "cache" / "things").glob("*.json")
    data = file.read_bytes()
    for place in range(len(data)):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert shelf.take("things", "k") is None, place
    file.write_bytes(data[:-1])
    assert shelf.take("things", "k") is None
    file.write_bytes(data)
    assert shelf.take("things", "k") == {"lr": 0.001, "steps": 1000}


def test_a_thing_under_another_key_is_not_believed(tmp_path: Path) -> None:
    shelf.put("things", "a", 1)
    os.replace(tmp_path / "cache" / "things" / "a.json", tmp_path / "cache" / "things" / "b.json")
    assert shelf.take("things", "b") is None


def test_a_cache_that_cannot_be_used_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    shelf.put("things", "k", 1)
    assert shelf.take("things", "k") is None


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_MOST", 6)
    for i in range(7):
        shelf.put("things", str(i), i)
        os.utime(shelf._place("things", str(i)), (i, i))
    shelf.put("things", "new", "new")
    left = [i for i in range(7) if shelf.take("things", str(i)) == i]
    assert shelf.take("things", "new") == "new"
    assert len(left) < 7
    assert left == list(range(7))[-len(left) :]


def test_files_count_by_place_and_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"ab")
    two.write_bytes(b"c")
    first = shelf.sum_of_files([one, two])
    one.write_bytes(b"a")
    two.write_bytes(b"bc")
    assert first != shelf.sum_of_files([one, two]) != shelf.sum_of_files([two, one])
