"""What genes are called to which genes they are: routes, reports, species, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.errors import GeneMatchError, KeyNotFoundError
from scvec.ingest.genes.identifiers import Identifiers, are_row_numbers
from scvec.ingest.guards import suspect
from tests import toy

CODING, NOT = "protein-coding", "ncRNA"


def genes_of(*rows: tuple[int, str, list[str], list[str], str]) -> pl.DataFrame:
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "gene_id": pl.Int64,
        "symbol": pl.String,
        "aliases": pl.List(pl.String),
        "ensembl_ids": pl.List(pl.String),
        "gene_type": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


GENES = genes_of(
    (1, "HLA-A", ["HLAA"], ["ENSG00000000001"], CODING),
    (2, "TEC", ["SHARED", "OLD"], ["ENSG00000000002", "ENSG00000000902"], CODING),
    (3, "TEC", ["SHARED"], ["ENSG00000000002"], NOT),
    (4, "DUP", ["TEC", "Mixed"], [], NOT),
    (5, "DUP", ["old2"], ["ENSG00000000005", "ENSG00000000006"], NOT),
    (6, "Dup.x", ["p53"], ["ENSG00000000006"], NOT),
    (-1, "OWN", ["hla-a"], [], "unknown"),
)


@pytest.mark.parametrize(
    ("name", "gene", "route"),
    [
        ("HLA-A", 1, "symbol"),
        ("hla-a", 1, "spelling"),  # before an alias that is spelt so
        ("HLA.A", 1, "spelling"),
        ("HLA_A", 1, "spelling"),
        ("HLAA", 1, "alias"),
        ("hlaa", 1, "alias"),
        ("TEC", 2, "symbol"),  # the only coding one; another gene's alias is not asked
        ("OLD", 2, "alias"),
        ("OLD2", 5, "alias"),
        ("MIXED", 4, "alias"),
        ("OWN", -1, "symbol"),
        ("ENSG00000000001", 1, "ensembl"),
        ("ENSG00000000001.17", 1, "ensembl"),
        ("ensg00000000001.2", 1, "ensembl"),
        ("ENSG00000000001.2_PAR_Y", 1, "ensembl"),
        ("ENSG00000000002", 2, "ensembl"),
        ("ENSG00000000902.1", 2, "ensembl"),
        ("ENSG00000000005", 5, "ensembl"),
        ("6", 6, "entrez"),
        ("DUP", None, "ambiguous"),
        ("SHARED", None, "ambiguous"),
        ("tec", None, "ambiguous"),  # spelt as the symbols of two genes
        ("ENSG00000000006", None, "ambiguous"),
        ("ENSG00000009999", None, None),
        ("77", None, None),
        ("nothing", None, None),
        ("", None, None),
        ("²", None, None),
    ],
)
def test_every_name_has_one_route_or_none(name: str, gene: int | None, route: str | None) -> None:
    found = Identifiers(GENES).resolve(np.array(["absent", name], dtype=object))
    assert found.gene_ids.tolist() == ([] if gene is None else [gene])
    assert found.columns.tolist() == ([] if gene is None else [1])
    assert found.routes.tolist() == ([] if gene is None else [route])
    assert found.ambiguous.tolist() == ([1] if route == "ambiguous" else [])


@given(st.lists(st.text(max_size=8), max_size=30))
def test_any_names_are_resolved_or_left_out(names: list[str]) -> None:
    found = Identifiers(GENES).resolve(np.array(names, dtype=object))
    assert len(found.columns) == len(found.gene_ids) == len(found.routes)
    assert not set(found.columns.tolist()) & set(found.ambiguous.tolist())
    assert found.columns.tolist() == sorted(set(found.columns.tolist()))


def test_row_numbers_are_no_entrez_ids() -> None:
    assert are_row_numbers(["0", "1", "2"])
    assert are_row_numbers(["1", "2", "3"])
    assert are_row_numbers(["5", "9", "11", "13714"])  # rows that a filter left
    assert not are_row_numbers(["1", "2", "9", "100131187"])  # Entrez ids, sorted
    assert not are_row_numbers(["3630", "2641"])
    assert not are_row_numbers(["1", "2", "INS"])
    assert not are_row_numbers(["1" * 5000])
    assert not are_row_numbers([])


FORMS: dict[str, Callable[[int], str]] = {
    "symbol": lambda i: f"TOY{i}",
    "lower case": lambda i: f"toy{i}",
    "mixed case": lambda i: f"tOy{i}",
    "ensembl": lambda i: f"ENSG{i:011d}",
    "ensembl with version": lambda i: f"ENSG{i:011d}.{i % 7 + 1}",
    "entrez": lambda i: str(1000 + i),
    "previous symbol": lambda i: f"OLD{i}",
    "alias in lower case": lambda i: f"ancient{i}",
}


def called(atlas: Atlas, path: Path, names: list[str], **options: Any) -> sv.Annotation:
    cells = toy.cells(41, seed=1)
    cells.var_names = names
    cells.write_h5ad(path)
    return sv.annotate(path, atlas, **options)


def same_calls(left: sv.Annotation, right: sv.Annotation) -> None:
    assert left.to_frame().equals(right.to_frame())
    np.testing.assert_array_equal(left.vectors, right.vectors)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_calls_whatever_the_genes_are_called(atlas: Atlas, files: Path, tmp_path: Path, form: str) -> None:
    plain = sv.annotate(files / "query.h5ad", atlas)
    same_calls(called(atlas, tmp_path / "q.h5ad", [FORMS[form](i) for i in range(240)]), plain)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forms=st.lists(st.sampled_from(sorted(FORMS)), min_size=240, max_size=240))
def test_the_same_calls_of_a_mixture_of_names(atlas: Atlas, files: Path, tmp_path: Path, forms: list[str]) -> None:
    calls = called(atlas, tmp_path / "q.h5ad", [FORMS[form](i) for i, form in enumerate(forms)])
    same_calls(calls, sv.annotate(files / "query.h5ad", atlas))


def test_the_report_says_by_which_route_and_what_is_left_out(atlas: Atlas, tmp_path: Path) -> None:
    names = [FORMS["symbol"](i) for i in range(240)]
    names[:4] = ["OLD0", "toy1", "ENSG00000000002.1", "1003"]
    names[4] = "mystery"
    names[5] = "TOY6-like"
    calls = called(atlas, tmp_path / "q.h5ad", names)
    coverage = calls.provenance["query"]["coverage"]
    assert {route: part["n_genes"] for route, part in coverage["routes"].items()} == {
        "ensembl": 1,
        "entrez": 1,
        "symbol": 234,
        "spelling": 1,
        "alias": 1,
    }
    assert {name for name, _ in coverage["unmatched"]} == {"mystery", "TOY6-like"}
    counts = np.asarray(toy.cells(41, seed=1).X.sum(axis=0)).ravel()
    shares = [part["share"] for part in coverage["routes"].values()]
    assert sum(shares) == pytest.approx(coverage["share"], abs=1e-5)
    assert coverage["share"] == pytest.approx(1 - counts[4:6].sum() / counts.sum(), abs=1e-6)
    assert coverage["routes"]["alias"]["share"] == pytest.approx(counts[0] / counts.sum(), abs=1e-6)
    assert sum(part["n_genes"] for part in coverage["texts"].values()) == 238
    assert calls.notes[1] == "var_names taken as human symbols, by the human gene texts 2021-07-01"
    assert "234 by symbol" in calls.notes[2]
    assert "1 by alias" in calls.notes[2]


def test_ambiguous_names_are_reported_apart_from_unknown_ones(
    store: sv.Store, files: Path, ncbi: tuple[Path, Path], tmp_path: Path
) -> None:
    info = (
        gzip.decompress(ncbi[0].read_bytes()).decode().replace("\tOLD5|", "\tSHARED|").replace("\tOLD6|", "\tSHARED|")
    )
    (tmp_path / "info").write_text(info)
    sv.ingest.texts(store, taxon="human", gene_info=tmp_path / "info", gene_summary=ncbi[1], release="shared")
    cells = toy.cells(41, seed=1)
    cells.var_names = ["SHARED", "mystery", *toy.SYMBOLS[2:]]
    cells.write_h5ad(tmp_path / "q.h5ad")
    found = sv.ingest.coverage(store, tmp_path / "q.h5ad")
    assert [name for name, _ in found.ambiguous] == ["SHARED"]
    assert [name for name, _ in found.unmatched] == ["mystery"]
    assert (found.n_matched, found.n_unmatched) == (238, 1)
    assert any("1 ambiguous name is left out" in note for note in found.notes())
    assert any("1 name is not matched; most expressed: mystery" in note for note in found.notes())


def test_names_that_fit_by_the_letter_may_look_like_any_species(
    ncbi: tuple[Path, Path], files: Path, tmp_path: Path
) -> None:
    (tmp_path / "info").write_text(gzip.decompress(ncbi[0].read_bytes()).decode().replace("\tTOY", "\tToy"))
    store = sv.Store(tmp_path / "store")
    sv.ingest.texts(store, taxon="human", gene_info=tmp_path / "info", gene_summary=ncbi[1])
    cells = toy.cells(41, seed=1)
    cells.var_names = [name.capitalize() for name in toy.SYMBOLS]
    cells.write_h5ad(tmp_path / "q.h5ad")
    built = sv.atlas.build(store, "title", tmp_path / "q.h5ad", label_key="cell_type", recipe=sv.RECIPES["random"])
    assert built.manifest["coverage"]["routes"].keys() == {"symbol"}


def test_two_columns_of_one_gene_are_added_up_with_a_note(atlas: Atlas, files: Path, tmp_path: Path) -> None:
    """A gene's counts split over its symbol and its previous one are the gene's counts."""
    cells = toy.cells(41, seed=1, form="dense")
    part = np.minimum(cells.X[:, :10], 1.0)
    split = ad.AnnData(np.hstack([cells.X, part]), obs=cells.obs)
    split.X[:, :10] -= part
    split.var_names = [*toy.SYMBOLS, *(f"OLD{i}" for i in range(10))]
    split.write_h5ad(tmp_path / "split.h5ad")
    calls = sv.annotate(tmp_path / "split.h5ad", atlas)
    assert calls.provenance["query"]["coverage"]["n_merged"] == 10
    assert any("10 columns were added to another column of the same gene" in note for note in calls.notes)
    plain = sv.annotate(files / "query.h5ad", atlas)
    assert calls.label.tolist() == plain.label.tolist()
    np.testing.assert_allclose(calls.vectors, plain.vectors, atol=1e-6)


def with_column(path: Path, key: str, values: list[Any], names: list[str] | None = None) -> Path:
    cells = toy.cells(41, seed=1)
    cells.var[key] = values
    cells.var_names = names or [f"probe_{i}" for i in range(240)]
    cells.write_h5ad(path)
    return path


def test_row_numbers_do_not_hide_a_column(atlas: Atlas, files: Path, tmp_path: Path) -> None:
    """Neither counted from one, nor with some rows taken out, nor where by chance they are gene ids."""
    for first, step in ((1, 1), (3, 2), (900, 1)):
        numbers = [str(first + step * i) for i in range(240)]
        path = with_column(tmp_path / "q.h5ad", "feature_name", list(toy.SYMBOLS), numbers)
        same_calls(sv.annotate(path, atlas), sv.annotate(files / "query.h5ad", atlas))
    backwards = [str(i) for i in range(1239, 999, -1)]  # every one is an Entrez id, of another gene
    path = with_column(tmp_path / "q.h5ad", "feature_name", list(toy.SYMBOLS), backwards)
    same_calls(sv.annotate(path, atlas), sv.annotate(files / "query.h5ad", atlas))


def test_the_column_that_covers_most_is_taken(atlas: Atlas, files: Path, tmp_path: Path) -> None:
    cells = toy.cells(41, seed=1)
    cells.var["feature_name"] = [name if i % 3 else f"lost{i}" for i, name in enumerate(toy.SYMBOLS)]
    cells.var["gene_ids"] = [FORMS["ensembl"](i) for i in range(240)]
    cells.var_names = [f"probe_{i}" for i in range(240)]
    cells.var.index.name = "gene_symbols"  # an index may be named as a usual column
    cells.write_h5ad(tmp_path / "q.h5ad")
    calls = sv.annotate(tmp_path / "q.h5ad", atlas)
    assert calls.notes[1].startswith("gene_ids taken as human Ensembl ids")
    same_calls(calls, sv.annotate(files / "query.h5ad", atlas))


def test_entrez_ids_as_numbers_some_missing(atlas: Atlas, tmp_path: Path) -> None:
    whole = sv.annotate(
        with_column(tmp_path / "q.h5ad", "entrez", [1000 + i for i in range(240)]), atlas, gene_key="entrez"
    )
    assert whole.provenance["query"]["coverage"]["n_matched"] == 240
    some = [np.nan if i == 7 else float(1000 + i) for i in range(240)]
    few = sv.annotate(with_column(tmp_path / "q.h5ad", "entrez", some), atlas, gene_key="entrez")
    assert few.provenance["query"]["coverage"]["n_matched"] == 239


@pytest.mark.parametrize("key", ["feature_name", "gene_symbols", "gene_ids"])
def test_a_usual_column_is_found_where_var_names_are_no_genes(
    atlas: Atlas, files: Path, tmp_path: Path, key: str
) -> None:
    form = FORMS["ensembl with version" if key == "gene_ids" else "symbol"]
    calls = sv.annotate(with_column(tmp_path / "q.h5ad", key, [form(i) for i in range(240)]), atlas)
    same_calls(calls, sv.annotate(files / "query.h5ad", atlas))
    assert calls.notes[1].startswith(f"{key} taken as human {'Ensembl ids' if key == 'gene_ids' else 'symbols'}")


def test_a_cellxgene_file_is_read_by_its_ensembl_ids(atlas: Atlas, files: Path, tmp_path: Path) -> None:
    names = [f"ENSG{i:011d}" for i in range(240)]
    path = with_column(tmp_path / "q.h5ad", "feature_name", [f"wrong{i}" for i in range(240)], names)
    same_calls(sv.annotate(path, atlas), sv.annotate(files / "query.h5ad", atlas))


def test_any_column_can_be_named_and_may_lack_values(atlas: Atlas, tmp_path: Path) -> None:
    names: list[Any] = [*toy.SYMBOLS]
    names[7], names[8], names[10] = None, "TOY9", "TOY9"  # a column may have a name twice
    path = with_column(tmp_path / "q.h5ad", "my genes", names)
    for asked in ("my genes", None):  # it is found, too
        calls = sv.annotate(path, atlas, gene_key=asked)
        coverage = calls.provenance["query"]["coverage"]
        assert (coverage["n_matched"], coverage["n_merged"]) == (239, 2)
        assert calls.notes[1].startswith("my genes taken as human symbols")
    with pytest.raises(KeyNotFoundError, match="my genes"):
        sv.annotate(path, atlas, gene_key="yours")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["ENSG00000000003", "ENSG00000000005.6"], "human Ensembl ids"),
        (["ENSMUSG00000000001"], "mouse Ensembl ids"),
        (["ENSRNOG00000000001"], "rat Ensembl ids"),
        (["ENSDARG00000000001"], "zebrafish Ensembl ids"),
        (["ENSCAFG00000000001"], "Ensembl ids of another species"),
        (["ENST00000000001.2", "ENST00000000002"], "Ensembl ids of transcripts"),
        (["NM_000207.3"], "RefSeq ids of transcripts"),
        (["1007_s_at", "121_at"], "probes of an array"),
        (["gene_1", "gene_2"], "numbered names"),
        (["2", "0", "1", "3"], "row numbers"),
        (["17", "2"], "Entrez ids"),
        (["0", "1", "2"], "row numbers"),
        (["Ins1", "Gcg", "Sst"], "mouse or rat symbols"),
        (["INS", "C1orf112", "HLA-A"], "human symbols"),
        (["ins", "gcg"], "symbols in lower case"),
        (["INS", "Gcg", "7", "x"], "a mixture of kinds"),
    ],
)
def test_what_names_look_like(names: list[str], kind: str) -> None:
    assert suspect(names) == kind


def test_too_little_is_refused_with_the_likely_cause(atlas: Atlas, tmp_path: Path) -> None:
    for names, looks in (
        ([f"ENSRNOG{i:011d}" for i in range(240)], "rat Ensembl ids"),
        ([str(i) for i in range(1000, 1240)][::-1], None),  # Entrez ids, backwards: genes all the same
        ([str(i) for i in range(240)], "row numbers"),
    ):
        if looks is None:
            assert called(atlas, tmp_path / "q.h5ad", names).provenance["query"]["coverage"]["share"] == 1
            continue
        with pytest.raises(GeneMatchError, match=f"0 of 240 genes matched.*look like {looks}"):
            called(atlas, tmp_path / "q.h5ad", names)


@pytest.fixture
def two_species(store: sv.Store, tmp_path: Path) -> sv.Store:
    """The toy store with mouse texts and orthologs too."""
    folder = tmp_path / "mouse"
    folder.mkdir()
    info, summary = toy.write_ncbi(folder, toy.MOUSE)
    orthologs = toy.write_orthologs(folder / "orthologs.gz")
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary, gene_orthologs=orthologs)
    return store


def test_mouse_genes_on_a_human_atlas_are_refused_until_it_is_said(
    two_species: sv.Store, files: Path, tmp_path: Path
) -> None:
    atlas = sv.atlas.open_atlas(two_species, "toy")
    names = [toy.symbol_of(i, toy.MOUSE) for i in range(240)]
    with pytest.raises(GeneMatchError, match=r"look like mouse genes \(100% .*set `taxon` to mouse"):
        called(atlas, tmp_path / "q.h5ad", names)
    calls = called(atlas, tmp_path / "q.h5ad", names, taxon="mouse")
    coverage = calls.provenance["query"]["coverage"]
    assert coverage["n_matched"] == 238  # genes 0 and 1 have no ortholog of their own
    assert coverage["names"] == (
        "var_names taken as mouse symbols, by the mouse gene texts 2021-07-01, "
        "and as their one-to-one orthologs, by the human gene texts 2021-07-01"
    )
    assert calls.label.tolist() == sv.annotate(files / "query.h5ad", atlas).label.tolist()
    # By Ensembl id just so, and one may insist on the other reading.
    ensembl = called(atlas, tmp_path / "q.h5ad", [f"ENSMUSG{i:011d}" for i in range(240)], taxon="mouse")
    same_calls(ensembl, calls)
    spelt = called(atlas, tmp_path / "q.h5ad", names, taxon="human")
    assert spelt.provenance["query"]["coverage"]["routes"]["spelling"]["n_genes"] == 240
    assert spelt.notes[-1] == (
        "the genes look like mouse genes (100% of the expression by exact match, 0% with human genes), "
        "but `taxon` says human"
    )
    assert not any("look like" in note for note in calls.notes)


def test_without_the_other_s_texts_the_spelling_tells(atlas: Atlas, store: sv.Store, tmp_path: Path) -> None:
    names = [toy.symbol_of(i, toy.MOUSE) for i in range(240)]
    with pytest.raises(GeneMatchError, match=r"look like mouse or rat symbols.*`taxon` to mouse"):
        called(atlas, tmp_path / "q.h5ad", names)
    with pytest.raises(GeneMatchError, match="look like mouse or rat symbols"):
        sv.atlas.build(store, "m", tmp_path / "q.h5ad", label_key="cell_type", recipe=sv.RECIPES["random"])
    with pytest.raises(GeneMatchError, match="Fix: scvec genes pull --taxon mouse"):
        sv.atlas.build(store, "m", tmp_path / "q.h5ad", label_key="cell_type", recipe=sv.RECIPES["random"])


def test_an_atlas_takes_the_species_that_fits(two_species: sv.Store, files: Path, tmp_path: Path) -> None:
    def taxon_of(names: list[str]) -> int:
        cells = toy.cells(41, seed=1)
        cells.var_names = names
        cells.write_h5ad(tmp_path / "r.h5ad")
        recipe = sv.RECIPES["random"]
        built = sv.atlas.build(
            two_species, "r", tmp_path / "r.h5ad", label_key="cell_type", recipe=recipe, overwrite=True
        )
        return int(built.manifest["taxon_id"])

    assert taxon_of(list(toy.SYMBOLS)) == toy.HUMAN
    assert taxon_of([toy.symbol_of(i, toy.MOUSE) for i in range(240)]) == toy.MOUSE
    assert taxon_of([f"ENSMUSG{i:011d}" for i in range(240)]) == toy.MOUSE
    # And a human query meets the mouse atlas by the same orthologs.
    mouse = sv.atlas.open_atlas(two_species, "r")
    with pytest.raises(GeneMatchError, match="`taxon` to human"):
        sv.annotate(files / "query.h5ad", mouse)
    calls = sv.annotate(files / "query.h5ad", mouse, taxon="human")
    assert calls.provenance["query"]["coverage"]["n_matched"] == 238
    assert np.mean(calls.label == toy.cells(41, seed=1).obs["cell_type"].to_numpy()) == 1


def test_species_do_not_meet_without_orthologs(store: sv.Store, tmp_path: Path) -> None:
    info, summary = toy.write_ncbi(tmp_path, toy.MOUSE)
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary)
    atlas = sv.atlas.open_atlas(store, "toy")
    with pytest.raises(GeneMatchError, match=r"mouse gene texts 2021-07-01 have no orthologs.*scvec genes pull"):
        called(atlas, tmp_path / "q.h5ad", [toy.symbol_of(i, toy.MOUSE) for i in range(240)], taxon="mouse")


def test_coverage_without_an_atlas(two_species: sv.Store, files: Path) -> None:
    found = sv.ingest.coverage(two_species, files / "query.h5ad")
    assert found.n_matched == 240
    assert found.share == pytest.approx(1)
    assert found.names.startswith("var_names taken as human symbols")
    poor = sv.ingest.coverage(two_species, files / "query.h5ad", taxon="mouse")
    assert poor.routes.keys() == {"spelling"}
