"""Notebooks run from top to bottom, and hold no outputs in git."""

from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_what_takes_hours_is_one_cell_of_the_thesis_and_tagged_so():
    slow = {
        path.stem: [cell.source for cell in nbformat.read(path, as_version=4).cells if "slow" in cell.metadata.get("tags", [])]
        for path in NOTEBOOKS
    }
    (cell,) = slow.pop("05_thesis")
    assert "SLOW = False" in cell  # so that "run all" is quick
    assert "seeds=range(5)" in cell
    assert not any(slow.values())


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NNVIS_MNIST", raising=False)  # the thesis's notebook is on the digits here
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "slow" not in cell.metadata.get("tags", [])]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) >= 2, "the static picture of the first explorer, and a plot"
