"""What tables are made of: Arrow arrays without pandas, and identities of many configurations."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from optbench.records import flatten, run_id
from optbench.records.arrays import array_of, dictionary_of, texts_of
from optbench.records.vocabulary import Identities, Status

WHOLE = st.integers(-(2**63), 2**63 - 1)
COLUMNS = st.one_of(
    *(st.lists(st.none() | kind, max_size=30) for kind in (WHOLE, st.floats(allow_nan=False), st.booleans())),
    st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=30),
    st.lists(st.integers(-99, 99) | st.floats(-9, 9), max_size=9),
)


@given(COLUMNS)
def test_columns_are_those_that_arrow_makes(values: list[Any]) -> None:
    wanted = pa.array(values)
    found = array_of(values)
    found.validate(full=True)
    assert found.type == wanted.type
    assert found.equals(wanted)


def test_columns_of_other_kinds() -> None:
    for values in (np.array([0.5, np.nan]), np.arange(3), np.array(["a", None], dtype=object), [[1, 2], None]):
        found, wanted = array_of(values), pa.array(values)
        assert found.type == wanted.type
        assert str(found) == str(wanted)
    assert array_of([Status.FAILED]).to_pylist() == ["failed"]
    assert texts_of([]).type == pa.string()
    assert dictionary_of(["a", "b"], [1, 0, 1]).to_pylist() == ["b", "a", "b"]
    assert array_of(found) is found


def test_tables_are_written_and_read_without_pandas() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from optbench.records.tables import add_rows, recorded_ids, recorded_ends\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "columns = {'run_id': ['a', 'b'], 'status': ['completed'] * 2, 'steps': [1, None], 'final_loss': [0.5, None]}\n"
        "for _ in range(2):\n"
        "    add_rows(folder, columns, {'run_id': ['a'], 'loss': [0.5]})\n"
        "assert recorded_ids(folder) == {'a': 'completed', 'b': 'completed'}\n"
        "assert recorded_ends(folder) == {'a': (1, 0.5)}\n"
        "assert not {'pandas', 'pyarrow.dataset'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=3)
PART = st.dictionaries(
    st.sampled_from(["lr", "_target_", "betas", "device", "root", "clip_norm", "a-b", "ü"]),
    LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.sampled_from(["x", "y"]), LEAVES, max_size=2),
    max_size=5,
)
CONFIGS = st.fixed_dictionaries(
    {"model": PART, "data": PART, "augment": PART, "optimizer": PART, "trainer": PART, "seed": st.integers(0, 9)},
    optional={"n_outputs": LEAVES, "sources": PART, "choices": PART, "model_b": PART, "model-a": LEAVES},
)


@given(st.lists(CONFIGS, min_size=1, max_size=4))
def test_identities_of_parts_that_are_shared_are_those_of_the_whole(configs: list[dict[str, Any]]) -> None:
    identify = Identities()
    for config in configs:
        for part in ("model", "data"):
            shared = {**config, part: configs[0][part]}
            assert identify(shared) == run_id(copy.deepcopy(shared)) == run_id(flatten(shared))
