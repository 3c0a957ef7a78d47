"""NCBI's files to gene texts, and columns of a matrix to genes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.errors import ExistsError, FileError, GeneMatchError, KeyNotFoundError, NotInStoreError
from scvec.ingest.matching import guard, match_symbols, suspect
from scvec.ingest.ncbi import NAME_ONLY, WITH_SUMMARY, read_genes


def edited(source: Path, target: Path, old: str, new: str) -> Path:
    target.write_bytes(gzip.compress(gzip.decompress(source.read_bytes()).decode().replace(old, new).encode()))
    return target


def test_texts_are_made_by_the_template(ncbi: tuple[Path, Path]) -> None:
    genes, newest = read_genes(*ncbi, 9606)
    assert newest == "2021-07-01"
    assert len(genes) == 240
    with_summary, without = genes.row(1, named=True), genes.row(0, named=True)
    assert with_summary["text"] == (
        "TOY1: toy gene number 1. This gene takes part in insulin secretion and glucose sensing "
        "in pancreatic islet beta cells."
    )
    assert with_summary["source"] == WITH_SUMMARY
    assert without["text"] == "TOY0: toy gene number 0."
    assert without["source"] == NAME_ONLY
    assert with_summary["ensembl_id"] == "ENSG00000000001"
    assert with_summary["aliases"] == ["ANCIENT1", "OLD1"]
    assert genes["text_sha256"].n_unique() == 240


def test_the_authority_s_symbol_goes_first(ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    text = gzip.decompress(ncbi[0].read_bytes()).decode().splitlines()
    header = text[0].split("\t")
    fields = text[1].split("\t")
    fields[header.index("Symbol_from_nomenclature_authority")] = "MT-TOY"
    path = tmp_path / "info"
    path.write_text("\n".join([text[0], "\t".join(fields)]))
    genes, _ = read_genes(path, ncbi[1], 9606)
    assert genes["symbol"].to_list() == ["MT-TOY"]
    assert genes["aliases"].to_list() == [["ANCIENT0", "OLD0", "TOY0"]]


def test_regions_are_no_genes(ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    info = edited(ncbi[0], tmp_path / "i.gz", "toy gene number 7\tprotein-coding", "a region\tbiological-region")
    genes, _ = read_genes(info, ncbi[1], 9606)
    assert "TOY7" not in genes["symbol"].to_list()
    assert len(genes) == 239


@pytest.mark.parametrize("which", [0, 1])
def test_bad_files_are_named(ncbi: tuple[Path, Path], tmp_path: Path, which: int) -> None:
    def read(bad: Path, taxon: int = 9606) -> None:
        paths = list(ncbi)
        paths[which] = bad
        read_genes(paths[0], paths[1], taxon)

    with pytest.raises(FileError, match="not there"):
        read(tmp_path / "none.gz")
    truncated = tmp_path / "truncated.gz"
    truncated.write_bytes(ncbi[which].read_bytes()[:-700])
    with pytest.raises(FileError, match=r"truncated\.gz"):
        read(truncated)
    (tmp_path / "words.tsv").write_text("some\tother\ttable\n1\t2\t3\n")
    with pytest.raises(FileError, match="no column #tax_id"):
        read(tmp_path / "words.tsv")
    with pytest.raises(FileError, match="no whole numbers"):
        read(edited(ncbi[which], tmp_path / "ids.gz", "\n9606\t", "\nhuman\t"))
    (tmp_path / "empty").write_text("")
    with pytest.raises(FileError, match="empty"):
        read(tmp_path / "empty")


def test_another_species_file_is_refused(ncbi: tuple[Path, Path]) -> None:
    with pytest.raises(FileError, match="no gene of taxon 10090, only of 9606"):
        read_genes(*ncbi, 10090)


def test_a_release_is_one_tagged_commit(store: sv.Store, ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    def import_(info: Path, release: str | None = None) -> sv.ingest.GeneTexts:
        return sv.ingest.texts(store, taxon="human", gene_info=info, gene_summary=ncbi[1], release=release)

    changed = edited(ncbi[0], tmp_path / "changed.gz", "toy gene number 5\t", "toy gene number five\t")
    again = import_(ncbi[0])
    assert again.release == "2021-07-01"
    assert again.snapshot.version == 1
    with pytest.raises(ExistsError, match="2021-07-01"):
        import_(changed)
    later = import_(changed, "later")
    assert [one.release for one in sv.ingest.list_texts(store)] == ["2021-07-01", "later"]
    assert sv.ingest.open_texts(store, "human").release == "later"
    assert later.manifest["origin"] == "NCBI Gene"
    old = sv.ingest.open_texts(store, 9606, "2021-07-01")
    assert old.frame["text"][5] != later.frame["text"][5]
    assert old.frame.drop("text", "full_name", "text_sha256").equals(
        later.frame.drop("text", "full_name", "text_sha256")
    )


def test_missing_texts_say_how_to_import(tmp_path: Path, store: sv.Store) -> None:
    with pytest.raises(NotInStoreError, match="scvec genes import --taxon mouse"):
        sv.ingest.open_texts(store, "mouse")
    with pytest.raises(NotInStoreError, match="tagged 1999"):
        sv.ingest.open_texts(store, "human", "1999")
    with pytest.raises(KeyNotFoundError, match="human, mouse"):
        sv.ingest.open_texts(store, "martian")


def genes_frame(*rows: tuple[int, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["gene_id", "symbol", "gene_type"], orient="row")


def test_a_shared_symbol_goes_to_the_only_coding_gene() -> None:
    genes = genes_frame(
        (1, "TEC", "protein-coding"),
        (2, "TEC", "unknown"),
        (3, "DUP", "ncRNA"),
        (4, "DUP", "ncRNA"),
        (5, "ONE", "ncRNA"),
        (-1, "OWN", "unknown"),
    )
    match = match_symbols(np.array(["ONE", "DUP", "nope", "TEC", "OWN"], dtype=object), genes)
    assert match.columns.tolist() == [0, 3, 4]
    assert match.gene_ids.tolist() == [5, 1, -1]
    coverage = match.coverage(np.array([1.0, 2.0, 4.0, 3.0, 0.0]))
    assert coverage.share == pytest.approx(0.4)
    assert coverage.unmatched == (("nope", 0.4), ("DUP", 0.2))
    assert match.only(np.array([5])).columns.tolist() == [0]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["ENSG00000000003", "ENSG00000000005.6"], "human Ensembl ids"),
        (["ENSMUSG00000000001"], "mouse Ensembl ids"),
        (["ENSRNOG00000000001"], "Ensembl ids of another species"),
        (["1", "2"], "Entrez ids or plain numbers"),
        (["Ins1", "Gcg", "Sst"], "mouse or rat symbols"),
        (["INS", "C1orf112", "HLA-A"], "human symbols"),
        (["ins", "gcg"], "symbols in lower case"),
        (["INS", "Gcg", "7", "x"], "a mixture of kinds"),
    ],
)
def test_the_guard_says_what_genes_look_like(names: list[str], kind: str) -> None:
    assert suspect(names) == kind
    match = match_symbols(np.array(names, dtype=object), genes_frame((1, "TOY", "ncRNA")))
    with pytest.raises(GeneMatchError, match=kind):
        guard(match.coverage(np.ones(len(names))), match, "known genes", "file")
