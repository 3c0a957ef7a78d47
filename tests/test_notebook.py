"""The notebook of docs/, done, on the data that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DATA

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_labels.ipynb"
SECONDS_A_CELL = 300


def read() -> Any:
    import nbformat

    return nbformat.reads(NOTEBOOK.read_text(encoding="utf-8"), as_version=4)


def shown(notebook: Any) -> str:
    """Return what the cells of an executed notebook show as text."""
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", ())]
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs)


def test_it_is_kept_without_outputs() -> None:
    assert not [cell for cell in read().cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's packages are not ours
@pytest.mark.parametrize("there", [True, False], ids=["the donor that the reference lacks", "scanpy's own cells"])
def test_from_labelled_cells_to_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    from nbclient import NotebookClient

    if there and not (DATA / "cells" / "pancreas_baron_human.h5ad").is_file():
        pytest.skip(f"the real data is not at {DATA}; set SCVEC_DATA to where it is")
    monkeypatch.setenv("SCVEC_DATA", str(DATA.resolve() if there else tmp_path / "nowhere"))
    done = NotebookClient(read(), timeout=SECONDS_A_CELL, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = shown(done)
    assert f"Annotation: {914 if there else 350} cells" in said
    assert "accuracy" in said
    assert (tmp_path / "first-report.html").stat().st_size > 100_000
