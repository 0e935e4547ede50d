"""examples/book.ipynb runs from its first cell to its last, in an empty folder, and shows tables and figures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from members import ROOT

NOTEBOOK = ROOT / "examples" / "book.ipynb"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("nbclient") is None, reason="needs optbench[notebook]")
@pytest.mark.filterwarnings("default")  # of Jupyter's own parts
def test_the_notebook_runs(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 4
    assert sum("text/html" in o.get("data", {}) for o in outputs) >= 4
    assert (tmp_path / "outputs" / "runs").is_dir()
