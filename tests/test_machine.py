"""The bounds that reports give: that what is counted is what was moved."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anndata as ad
import pytest

from benchmarks import machine
from benchmarks.machine import Rate, copy_memory, read_h5ad, write_lance


@pytest.mark.parametrize("cold", [True, False])
def test_reading_counts_data_and_indices(files: Path, cold: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "BLOCK_VALUES", 1000)
    x = ad.read_h5ad(files / "reference.h5ad").X
    whole, part = (read_h5ad(files / "reference.h5ad", cold=cold, limit_cells=n) for n in (None, 30))
    assert [whole.rows, part.rows] == [120, 30]
    assert [whole.megabytes, part.megabytes] == pytest.approx([x.nnz * 8 / 1e6, x[:30].nnz * 8 / 1e6])
    assert whole.seconds > 0


def test_lance_and_memory(tmp_path: Path) -> None:
    found = write_lance(tmp_path / "new", 10_000, 16)
    assert found.rows == 10_000
    assert found.megabytes == pytest.approx(0.64)
    assert not list((tmp_path / "new").iterdir())
    assert copy_memory(2**20, rounds=2).megabytes == pytest.approx(2**20 / 1e6)


def test_rates() -> None:
    found = Rate(10, 4, 100).to_dict()
    assert found == {"megabytes": 10, "seconds": 4, "rows": 100, "megabytes_per_s": 2.5, "rows_per_s": 25}


def test_it_prints_json(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "write_lance", lambda folder: write_lance(folder, 1000, 8))
    monkeypatch.setattr(sys, "argv", ["machine", str(files / "query.h5ad"), "--folder", str(tmp_path)])
    machine.main()
    found = json.loads(capsys.readouterr().out)
    assert set(found["bounds"]) == {"h5ad_read_cold", "h5ad_read_warm", "lance_write", "memory_copy"}
    assert found["machine"]["cores"] >= 1
