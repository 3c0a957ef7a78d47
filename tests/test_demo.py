"""The demo, whole: real cells, a real text model, files and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import lancedb
import polars as pl
import pytest

import scvec as sv
from scvec.cli import main
from scvec.cli.demo import run as demo
from scvec.cli.demo.cards import CARDS, SOURCE, import_cards


def test_the_cards_are_marked_as_ours(tmp_path: Path) -> None:
    cards = pl.read_csv(CARDS, separator="\t", quote_char=None)
    assert len(cards) == cards["symbol"].n_unique() == cards["gene_id"].n_unique() == cards["text"].n_unique() == 765
    assert cards["text"].str.ends_with(".").all()
    assert min(len(one.split()) for one in cards["text"]) >= 12
    texts = import_cards(sv.Store(tmp_path / "store"))
    assert texts.frame["source"].unique().to_list() == [SOURCE]
    assert "not NCBI's" in texts.manifest["origin"]
    assert texts.release.startswith("scvec-cards-")


@pytest.mark.slow
def test_the_demo_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["demo", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "not NCBI's" in text
    assert "easier than a new donor" in text
    for name in demo.FILES:
        assert str(out / name) in text
        assert (out / name).stat().st_size > 1000
    calls = pl.read_parquet(out / "calls.parquet")
    annotated = ad.read_h5ad(out / "query_annotated.h5ad")
    assert calls["label"].to_list() == annotated.obs["scvec_label"].tolist()
    assert not set(ad.read_h5ad(out / "reference.h5ad").obs_names) & set(annotated.obs_names)
    table = {row["method"]: row for row in json.loads((out / demo.RESULTS).read_text())["table"]}
    accuracy = (annotated.obs["scvec_label"].astype(str) == annotated.obs[demo.LABEL_KEY].astype(str)).mean()
    assert table[demo.SHOWN]["accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert sum("(control)" in name for name in table) == 4
    # The largest class is a third of the cells: every method knows more than that.
    assert all(row["accuracy"] > 0.6 for row in table.values())
    # The commands it suggests are commands.
    for line in text.splitlines():
        if line.startswith("  scvec "):
            arguments = line.split()[1:]
            arguments[-1] = str(tmp_path / arguments[-1])
            assert main(arguments) == 0
    # Its store is a database, without a word of scvec.
    database = lancedb.connect(str(out / "store"))
    (name,) = database.list_namespaces(namespace_path=["atlases"]).namespaces
    cells, labels = (database.open_table(one, namespace_path=["atlases", name]) for one in ("cells", "labels"))
    counted = cells.to_polars().group_by("label").len().collect()
    assert dict(counted.iter_rows()) == {row["label"]: row["n_cells"] for row in labels.to_arrow().to_pylist()}
    capsys.readouterr()
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert main(["demo", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["table"] == list(table.values())
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == written
    (out / "umap.png").unlink()
    again = demo.run(out)
    assert not again.reused
    assert {name: round(value, 4) for name, value, _ in again.rows} == {n: row["accuracy"] for n, row in table.items()}


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err
