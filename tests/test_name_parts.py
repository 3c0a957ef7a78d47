"""Names that hold more than a gene's name, and genes of several genomes in one matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.errors import GeneMatchError
from scvec.ingest.genes.compound import joined, numbered
from scvec.ingest.genes.features import by_name, kind_of
from scvec.ingest.genes.genomes import taxon_of
from scvec.ingest.genes.identifiers import Identifiers
from scvec.ingest.genes.lookup import look_up
from scvec.ingest.genes.packaged import packaged
from tests import sources, toy


def genes(*rows: tuple[int, str, list[str], list[str]]) -> Identifiers:
    schema: dict[str, Any] = {"gene_id": pl.Int64, "symbol": pl.String}
    schema |= {"aliases": pl.List(pl.String), "ensembl_ids": pl.List(pl.String), "gene_type": pl.String}
    return Identifiers(pl.DataFrame([(*row, "protein-coding") for row in rows], schema=schema, orient="row"))


FEW = genes(
    (1, "INS", ["OLDINS"], ["ENSG00000000001"]),
    (2, "NKX2-1", ["TITF1"], ["ENSG00000000002"]),
    (3, "NKX2", [], ["ENSG00000000003"]),
    (4, "MT-ND1", [], ["ENSG00000000004"]),
    (5, "PRPF31", ["RP11"], ["ENSG00000000005"]),
    (6, "SARS1", ["SARS"], []),
    (7, "UQCR11", [], ["ENSG00000000007"]),
)


def found(*names: str) -> list[int | None]:
    found = look_up(np.array(names, object), FEW, 9606).found
    of = dict(zip(found.columns.tolist(), found.gene_ids.tolist(), strict=True))
    return [of.get(i) for i in range(len(names))]


@pytest.mark.parametrize(
    ("name", "gene"),
    [
        ("INS_ENSG00000000001", 1),
        ("ENSG00000000001_INS", 1),
        ("ENSG00000000001.7|INS|protein_coding", 1),
        ("ENST00000000009.1|ENSG00000000001.7|OTTH|INS-201|INS|465|protein_coding|", 1),
        ("INS (ENSG00000000001.2)", 1),
        ("INS;ENSG00000000001", 1),
        ("INS-ENSG00000000001.12", 1),
        ("GRCh38_INS_ENSG00000000001", 1),
        ("UQCR11_ENSG00000000001", 1),  # the Ensembl id decides
        ("UQCR11_ENSG00000009999", 7),  # the symbol, where the id is unknown
        ("ENSG00000009999.3 UQCR11", 7),
        ("OLDINS|ENSG00000009999", 1),
        ("nothing|ENSG00000009999|17", None),
        ("GRCh38_INS", 1),
        ("GRCh38______INS", 1),
        ("hg19-INS", 1),
        ("grch38premrna-ins", 1),
        ("refdata-gex-GRCh38-2020-A_INS", 1),
        ("GRCh38_MT-ND1", 4),
        ("GRCh38_ENSG00000000001.7", 1),
        ("INS_hg38", 1),
        ("GRCh38_1", None),  # a number is a gene by chance
        ("NKX2-1", 2),
        ("NKX2.1", 2),
        ("RP11-34P13.7", None),
        ("AC012345.1", None),
        ("INS-1", None),  # no other name says that numbers are added here
    ],
)
def test_what_a_name_holds(name: str, gene: int | None) -> None:
    assert found(name) == [gene]


def test_a_number_is_taken_off_where_the_name_without_it_is_there() -> None:
    assert found("INS", "INS-1", "INS-12", "INS.1", "INS_2") == [1] * 5
    assert found("NKX2", "NKX2-1") == [3, 2]  # a name that is known goes no further
    assert found("INS", "INS-1", "UQCR11-1") == [1, 1, 7]  # here numbers are added
    assert found("INS", "INS.1", "UQCR11-1") == [1, 1, None]  # but not in this way
    assert found("INS", "INS-1", "RP11-1") == [1, 1, None]  # nor to an alias alone
    assert found("INS", "INS-100") == [1, None]
    assert found("OLDINS", "OLDINS-1") == [1, 1]


PIECES = [
    "INS",
    "GRCh38",
    "mm10",
    "ENSG00000000001",
    "_",
    "-",
    ".",
    "|",
    "1",
    "17",
    " ",
    "é",
    "\n",
    "human",
    "NKX2-1",
    "",
]


@given(names=st.lists(st.lists(st.sampled_from(PIECES), max_size=5).map("".join), max_size=40))
def test_any_names_are_looked_up(names: list[str]) -> None:
    """A name that is known as it is is that gene, unless it is of another genome; each column has one answer."""
    given = np.array(names, object)
    looked_up = look_up(given, FEW, 9606)
    plain, now = FEW.resolve(given), looked_up.found
    of = dict(zip(now.columns.tolist(), now.gene_ids.tolist(), strict=True))
    for column, gene in zip(plain.columns.tolist(), plain.gene_ids.tolist(), strict=True):
        assert of[column] == gene
    assert not set(of) & (set(now.ambiguous.tolist()) | set(np.flatnonzero(looked_up.foreign.mask).tolist()))
    assert len(looked_up.plain) == len(names)
    assert not by_name(given).keys() - {i for i, name in enumerate(names) if kind_of(name) is not None}


def test_parts_of_names() -> None:
    assert joined("ENSG00000000001.7") == []
    assert joined("XENSG00000000001_INS") == []
    assert joined("ENSMUSG00000000001-Ins1") == ["ENSMUSG00000000001", "Ins1"]
    assert numbered("INS-1") == ("INS", "-")
    assert numbered("INS") is None


@pytest.mark.parametrize(
    ("genome", "taxon"),
    [
        ("GRCh38-2020-A", 9606),
        ("GRCh38premrna", 9606),
        ("hg19", 9606),
        ("Homo_sapiens", 9606),
        ("NCBITaxon:9606", 9606),
        ("mm10", 10090),
        ("GRCm39", 10090),
        ("mRatBN7.2", 10116),
        ("SARSCoV2", None),
        ("NCBITaxon:2697049", 2697049),
    ],
)
def test_the_species_of_a_genome(genome: str, taxon: int | None) -> None:
    assert taxon_of(genome) == taxon


def test_no_symbol_loses_a_part_and_becomes_another_gene(data: Path) -> None:
    """Names of five years later, most of them clones, are not taken for genes that they begin with."""
    table = packaged(9606)
    assert table is not None
    later = pl.read_parquet(data / "genes" / "gene_table_human.parquet")
    now = later.drop_nulls("ensembl_id").filter(pl.col("symbol").is_not_null())
    names = np.array(now["symbol"].to_list(), object)
    plain = table.identifiers.resolve(names)
    looked_up = look_up(names, table.identifiers, 9606)
    more = np.setdiff1d(looked_up.found.columns, plain.columns)
    assert looked_up.foreign.mask.sum() == 0
    assert len(more) < 1e-3 * len(names), names[more].tolist()


def same_calls(left: sv.Annotation, right: sv.Annotation) -> None:
    assert left.to_frame().equals(right.to_frame())
    np.testing.assert_array_equal(left.vectors, right.vectors)


@pytest.fixture
def plain(atlas: Atlas) -> sv.Annotation:
    return sv.annotate(toy.cells(41, seed=1), atlas)


def renamed(names: list[str], cells: AnnData | None = None) -> AnnData:
    cells = toy.cells(41, seed=1) if cells is None else cells
    cells.var_names = names
    return cells


PREFIXES = ["GRCh38_", "GRCh38premrna-", "hg19-", "hg38___", "human_", "Homo_sapiens_", "HUMAN-", "gene:", "hs-"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_of_all_names_is_taken_off_and_told(atlas: Atlas, plain: sv.Annotation, prefix: str) -> None:
    calls = sv.annotate(renamed([f"{prefix}{name}" for name in toy.SYMBOLS]), atlas)
    same_calls(calls, plain)
    assert f"taken off the names: {prefix.rstrip('_-:')}" in calls.notes


WRITTEN = {
    "symbol": "TOY{i}",
    "prefixed": "GRCh38_TOY{i}",
    "joined": "TOY{i}_ENSG{i:011d}.3",
    "piped": "ENSG{i:011d}.3|TOY{i}|protein_coding",
    "prefixed id": "hg19_ENSG{i:011d}",
    "joined, id unknown": "TOY{i}_ENSG9{i:010d}",
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forms=st.lists(st.sampled_from(sorted(WRITTEN)), min_size=240, max_size=240))
def test_the_same_calls_however_names_are_written(atlas: Atlas, forms: list[str]) -> None:
    calls = sv.annotate(renamed([WRITTEN[form].format(i=i) for i, form in enumerate(forms)]), atlas)
    same_calls(calls, sv.annotate(toy.cells(41, seed=1), atlas))


@pytest.mark.parametrize("ending", ["-1", ".1", "_1", "-2"])
def test_columns_of_make_unique_are_added_to_their_gene(atlas: Atlas, plain: sv.Annotation, ending: str) -> None:
    """A gene's counts split over two columns are the gene's counts."""
    cells = toy.cells(41, seed=1, form="dense")
    part = np.minimum(cells.X[:, :10], 1.0)
    split = AnnData(np.hstack([cells.X, part]))
    split.X[:, :10] -= part
    calls = sv.annotate(renamed([*toy.SYMBOLS, *(f"TOY{i}{ending}" for i in range(10))], split), atlas)
    np.testing.assert_allclose(calls.vectors, plain.vectors, atol=1e-6)
    assert any(f"10 names are read without the number of make_unique: TOY0{ending}," in note for note in calls.notes)


def two_genomes(human: list[str], mouse: list[str], var: dict[str, tuple[str, str]] | None = None) -> AnnData:
    """Return the toy query, then as many mouse cells on their own genes."""
    x = sp.block_diag([toy.cells(41, seed=1).X, toy.cells(41, seed=2).X]).tocsr()
    both = AnnData(x, obs=pd.DataFrame(index=[f"c{i}" for i in range(82)]))
    both.var = pd.DataFrame(index=[*human, *mouse])
    for key, (ours, theirs) in (var or {}).items():
        both.var[key] = [ours] * 240 + [theirs] * 240
    return both


HUMAN = list(toy.SYMBOLS)
MOUSE = [toy.symbol_of(i, toy.MOUSE) for i in range(240)]


@pytest.mark.parametrize(
    "both",
    [
        two_genomes([f"GRCh38_{n}" for n in HUMAN], [f"mm10___{n}" for n in MOUSE]),
        two_genomes([f"human-{n}" for n in HUMAN], [f"mouse-{n}" for n in MOUSE]),
        two_genomes(HUMAN, [f"{n}_mm10" for n in MOUSE]),
        two_genomes(HUMAN, MOUSE, {"genome": ("GRCh38", "mm10")}),
        two_genomes(HUMAN, MOUSE, {"feature_reference": ("NCBITaxon:9606", "NCBITaxon:10090")}),
    ],
    ids=["prefixes", "words", "endings", "genome", "feature_reference"],
)
def test_the_atlas_s_species_is_taken_and_the_other_told(atlas: Atlas, plain: sv.Annotation, both: AnnData) -> None:
    calls = sv.annotate(both, atlas)
    np.testing.assert_array_equal(calls.vectors[:41], plain.vectors)
    assert calls.label[:41].tolist() == plain.label.tolist()
    assert set(calls.label[41:].tolist()) == {"unknown"}
    coverage = calls.provenance["query"]["coverage"]
    (other,) = coverage["other_genomes"]
    assert other["n"] == 240
    assert other["share"] == pytest.approx(both.X[:, 240:].sum() / both.X.sum(), abs=1e-6)
    assert (coverage["n_genes"], coverage["n_matched"], coverage["share"]) == (240, 240, 1.0)
    assert any(note.startswith(f"41 of 82 cells are mostly of {other['kind']}") for note in calls.notes)


def test_a_virus_is_left_out_whatever_its_share(atlas: Atlas, plain: sv.Annotation, tmp_path: Path) -> None:
    cells = toy.cells(41, seed=1)
    both = AnnData(sp.hstack([cells.X, sp.csr_matrix(np.full((41, 3), 9000.0))]).tocsr(), obs=cells.obs)
    both.var_names = [*toy.SYMBOLS, "TOY1x", "S", "N"]
    path = sources.write_tenx(both, tmp_path / "q.h5")
    with h5py.File(path, "r+") as file:
        file["matrix/features/genome"][240:] = b"Virus2"
    for query in (path, renamed([*(f"GRCh38_{n}" for n in toy.SYMBOLS), "Virus2_a", "Virus2_b", "Virus2_c"], both)):
        calls = sv.annotate(query, atlas)
        np.testing.assert_array_equal(calls.vectors, plain.vectors)
        assert any(note.startswith("genes of other genomes are left out: 3 Virus2 (") for note in calls.notes)
        assert not any("mostly of" in note for note in calls.notes)


def test_one_genome_of_another_species_is_told_as_that(store: sv.Store, tmp_path: Path) -> None:
    folder = tmp_path / "mouse"
    folder.mkdir()
    info, summary = toy.write_ncbi(folder, toy.MOUSE)
    orthologs = toy.write_orthologs(folder / "orthologs.gz")
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary, gene_orthologs=orthologs)
    atlas = sv.atlas.open_atlas(store, "toy")
    prefixed = renamed([f"mm10_{name}" for name in MOUSE])
    with pytest.raises(GeneMatchError, match=r"look like mouse genes .*set `taxon` to mouse"):
        sv.annotate(prefixed, atlas)
    bare = renamed(list(MOUSE))
    same_calls(sv.annotate(prefixed, atlas, taxon="mouse"), sv.annotate(bare, atlas, taxon="mouse"))
    # Without anything that tells genomes apart, the second species is named.
    calls = sv.annotate(two_genomes(HUMAN, MOUSE), atlas)
    assert any(note.startswith("240 names are exactly those of mouse genes (") for note in calls.notes)
    assert any(note.startswith("41 of 82 cells are mostly of mouse") for note in calls.notes)
    # A build takes the species that fits best.
    cells = two_genomes([f"GRCh38_{n}" for n in HUMAN], [f"mm10_{n}" for n in MOUSE])[41:].copy()
    cells.obs["label"] = toy.cells(41, seed=2).obs["cell_type"].to_numpy()
    built = sv.atlas.build(store, "m", cells, label_key="label", recipe=sv.RECIPES["random"])
    assert built.manifest["taxon_id"] == toy.MOUSE
    assert built.manifest["coverage"]["other_genomes"][0]["kind"] == "GRCh38"
    assert any(
        note.startswith("genes of other genomes are left out: 240 GRCh38") for note in built.manifest["label_notes"]
    )
