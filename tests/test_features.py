"""Features that are not genes are left out, whatever tells them; genes never are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
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
from scvec.errors import FileError, GeneMatchError, MatrixError
from scvec.ingest.genes.features import by_company, by_name, by_type, kind_of
from scvec.ingest.genes.packaged import packaged
from tests import sources, toy

NO_GENES = {
    "spike-ins": ["ERCC-00002", "ERCC_00002", "ERCC.00131", "GRCh38_ERCC-00002", "ERCC-00002 (spike-in control)"],
    "unaligned-read counters": ["__no_feature", "__ambiguous", "--no-feature", "N_unmapped", "N_noFeature", "unmapped"],
    "antibody tags": [
        "CD3_TotalSeqB",
        "CD45RA-TotalSeqC",
        "CD3_TotalA",
        "CD4_TotalSeqB-1",
        "adt_CD3",
        "ADT_CD3",
        "CD3-ADT",
        "prot_CD3",
        "anti-human CD4 (RPA-T4)",
        "C0034_anti-human_CD3",
        "CD3-CTCATTGTAACTCCT",
        "CD3:UCHT1|CD3E|AHS0231|pAbO",
        "IgG1_control_TotalSeqB",
        "Mouse_IgG1_isotype",
    ],
    "hashtags": ["Hashtag1", "Hashtag_1", "HTO1", "HTO-A", "hto_1", "CMO301", "SampleTag01_hs|stAbO"],
    "control probes": [
        "BLANK_0001",
        "Blank-1",
        "NegControlProbe_00042",
        "NegControlCodeword_0500",
        "antisense_TOY3",
        "UnassignedCodeword_0001",
        "SystemControl12",
        "Negative1",
        "NegPrb1",
        "Negative Control 1",
        "DeprecatedCodeword_0321",
        "Intergenic_Region_12",
        "NEG_A(0)",
    ],
    "CRISPR guides": [
        "sgTP53-1",
        "TP53_sg1",
        "TP53_gRNA2",
        "non-targeting_1",
        "Non_Targeting-12",
        "TP53_+_7676594.23-P1P2",
    ],
    "lineage barcodes": ["CellTag_1", "barcode_12", "ACGTACGTACGTACGT"],
    "reporters": ["EGFP", "tdTomato", "Cre", "CreERT2", "mCherry", "WPRE", "EGFP-WPRE", "mm10___EGFP", "Cas9", "rtTA"],
    "viral genes": ["SARSCoV2_S", "SARS-CoV-2-N", "HIV-1_gag", "EBV_LMP1"],
    "peaks": ["chr1:1000-2000", "chr1-10000-20000", "GL000194.1:1000-2000"],
    "sums": ["total_counts", "nCount_RNA", "percent.mt"],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NO_GENES.items() for name in names])
def test_names_of_no_genes_are_recognised(kind: str, name: str) -> None:
    assert kind_of(name) == kind
    assert by_name(np.array(["INS", name], object)) == {1: kind}  # the two engines agree


def test_names_that_are_no_valid_text_are_read_all_the_same() -> None:
    assert by_name(np.array(["INS", "a\ud800", "ERCC-00002"], object)) == {2: "spike-ins"}
    assert by_company(np.array(["INS", "a\ud800"], object)) == {}


REPORTERS = {"BFP", "bfp", "CRE", "Cre", "cre", "Flp", "Irfp", "RFP", "Rfp"}
"""Old aliases of genes that are reporters wherever they are met today."""


@pytest.mark.parametrize("taxon", [9606, 10090])
def test_no_gene_is_taken_for_another_feature(taxon: int) -> None:
    table = packaged(taxon)
    assert table is not None
    genes = table.genes
    listed = [genes[key].explode().drop_nulls().to_list() for key in ("aliases", "ensembl_ids")]
    symbols = genes["symbol"].to_list()
    rewritten = [re for name in symbols for re in (name.lower(), name.replace("-", "."), name.replace("-", "_"))]
    names = np.array(sorted({*symbols, *rewritten, *(name for one in listed for name in one)}), object)
    assert {str(names[i]) for i in by_name(names)} <= REPORTERS
    assert by_company(np.array(symbols, object)) == {}


def test_no_later_name_is_either(data: Path) -> None:
    """Symbols and previous symbols of five years later."""
    for species in ("human", "mouse"):
        table = pl.read_parquet(data / "genes" / f"gene_table_{species}.parquet")
        names = np.array(table["symbol"].drop_nulls().unique().to_list(), object)
        assert len(names) > 40_000
        assert by_name(names) == {}


@pytest.mark.parametrize(
    ("types", "none"),
    [
        (["Gene Expression", "Antibody Capture", "Custom", "anything"], {1, 2, 3}),
        (["gene_expression", "antibody_capture", "", "nan"], {1}),
        (["gene", "spike-in", "gene", "gene"], {1}),
        (["RNA", "ADT", "HTO", "RNA"], {1, 2}),
        (["protein_coding", "lncRNA", "snRNA", "processed_pseudogene"], set()),
        (["protein_coding", "Negative Control Probe", "Unassigned Codeword", "Blank Codeword"], {1, 2, 3}),
        (["Gene Expression", "Peaks", "CRISPR Guide Capture", "Multiplexing Capture"], {1, 2, 3}),
    ],
)
def test_types_of_features(types: list[str], none: set[int]) -> None:
    assert set(by_type(np.array(types, object))) == none


def with_more(names: list[str], values: Any, var: dict[str, tuple[Any, Any]] | None = None) -> AnnData:
    """Return the toy query with more features; `var` has each column's value of genes and of these."""
    cells = toy.cells(41, seed=1)
    both = AnnData(sp.hstack([cells.X, sp.csr_matrix(values)]).tocsr(), obs=cells.obs)
    both.var = pd.DataFrame(index=[*toy.SYMBOLS, *names])
    for key, (genes, others) in (var or {}).items():
        both.var[key] = [genes] * 240 + [others] * len(names)
    return both


def large(n: int) -> Any:
    return np.random.default_rng(0).poisson(5000, (41, n)).astype(np.float32)


def same_calls(left: sv.Annotation, right: sv.Annotation) -> None:
    assert left.to_frame().equals(right.to_frame())
    np.testing.assert_array_equal(left.vectors, right.vectors)


@pytest.fixture
def plain(atlas: Atlas) -> sv.Annotation:
    return sv.annotate(toy.cells(41, seed=1), atlas)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from([one for names in NO_GENES.values() for one in names]), min_size=1, unique=True))
def test_calls_do_not_know_of_other_features(atlas: Atlas, names: list[str]) -> None:
    calls = sv.annotate(with_more(names, large(len(names))), atlas)
    same_calls(calls, sv.annotate(toy.cells(41, seed=1), atlas))
    coverage = calls.provenance["query"]["coverage"]
    assert sum(one["n"] for one in coverage["left_out"]) == len(names)
    assert (coverage["n_genes"], coverage["share"], coverage["n_unmatched"]) == (240, 1.0, 0)


@pytest.mark.parametrize(
    "var",
    [
        {"feature_types": ("Gene Expression", "Antibody Capture")},
        {"feature_type": ("protein_coding", "ADT")},
        {"feature_biotype": ("gene", "spike-in")},
        {"modality": ("RNA", "ADT")},
    ],
)
def test_a_tag_is_no_gene_of_its_name(
    atlas: Atlas, plain: sv.Annotation, tmp_path: Path, var: dict[str, tuple[str, str]]
) -> None:
    """In an h5ad, in zarr and in memory, as in files of 10x; also where the name is a gene's, and so occurs twice."""
    both = with_more(["TOY5", "TOY6-1", "tag"], large(3), var)
    same_calls(sv.annotate(both, atlas), plain)
    both.var_names_make_unique()
    both.write_h5ad(tmp_path / "q.h5ad")
    sources.write_zarr(both, tmp_path, "zarr3")
    for query in (tmp_path / "q.h5ad", tmp_path / "zarr3.zarr"):
        calls = sv.annotate(query, atlas)
        same_calls(calls, plain)
        share = 1 - toy.cells(41, seed=1).X.sum() / both.X.sum()
        kind = next(iter(var.values()))[1]
        assert f"features that are not genes are left out: 3 {kind} ({share:.1%} of the values)" in calls.notes


def test_a_10x_file_and_an_h5ad_of_it_are_one(atlas: Atlas, plain: sv.Annotation, tmp_path: Path) -> None:
    types = ["Gene Expression"] * 240 + ["Antibody Capture"] * 2
    path = sources.write_tenx(with_more(["a", "b"], large(2)), tmp_path / "q.h5", types=types)
    np.testing.assert_array_equal(sv.annotate(path, atlas).vectors, plain.vectors)


def test_centred_tags_beside_log_values_do_not_matter(atlas: Atlas) -> None:
    cells = toy.cells(41, seed=1, scale="log1p")
    tags = np.random.default_rng(0).normal(0, 2, (41, 3)).astype(np.float32)
    both = AnnData(sp.hstack([cells.X, sp.csr_matrix(tags)]).tocsr(), obs=cells.obs)
    both.var = pd.DataFrame({"feature_types": ["Gene Expression"] * 240 + ["ADT"] * 3}, [*toy.SYMBOLS, "a", "b", "c"])
    same_calls(sv.annotate(both, atlas), sv.annotate(cells, atlas))


def test_a_build_has_genes_only(store: sv.Store, tmp_path: Path) -> None:
    """The total of a cell is of genes: spike-ins change nothing in the reference."""
    labels: Any = {"label_key": "cell_type", "recipe": sv.RECIPES["random"]}
    cells = toy.cells(41, seed=1)
    both = with_more(["ERCC-00002", "ERCC-00003"], large(2))
    one = sv.atlas.build(store, "plain", cells, **labels)
    two = sv.atlas.build(store, "spiked", both, **labels)
    np.testing.assert_array_equal(one.vectors(np.arange(41)), two.vectors(np.arange(41)))
    assert two.manifest["coverage"]["left_out"][0]["kind"] == "spike-ins"


PANEL = [
    *("CD3", "CD15", "CD16", "CD56", "CD25", "CD45RA", "CD45RO", "PD-1", "CD127"),  # no symbols
    *("CD4", "CD8a", "CD14", "CD19", "TIGIT"),
]


def test_tags_without_a_mark_are_known_by_their_company(atlas: Atlas, plain: sv.Annotation) -> None:
    calls = sv.annotate(with_more([*PANEL[:9], "CD7-1"], large(10)), atlas)
    (tags,) = calls.provenance["query"]["coverage"]["left_out"]
    assert (tags["kind"], tags["n"]) == ("antibody tags", 10)
    np.testing.assert_array_equal(calls.vectors, plain.vectors)
    assert by_company(np.array(["CD4", "CD8A", "CD3E", "CD3", "INS"], object)) == {}


@pytest.mark.parametrize("names", [PANEL, [f"{one}_TotalSeqB" for one in PANEL]])
def test_tags_alone_are_refused(atlas: Atlas, names: list[str]) -> None:
    tags = AnnData(large(14))
    tags.var_names = names
    with pytest.raises(FileError, match=r"no genes \(14 antibody tags\)"):
        sv.annotate(tags, atlas)


def test_a_sample_without_a_count_is_said_to_be_that(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(41, seed=1)
    cells.X = sp.csr_matrix(cells.shape, dtype=np.float32)
    cells.write_h5ad(tmp_path / "q.h5ad")
    with pytest.raises(MatrixError, match="no cell has a count of a gene"):
        sv.annotate(tmp_path / "q.h5ad", atlas)
    few = sp.lil_matrix((20_000, 240), dtype=np.float32)
    few[301, :] = 3  # outside of the cells that are looked at first
    one = ad.AnnData(few.tocsr(), var=cells.var)
    assert (sv.annotate(one, atlas).label != "unknown").sum() == 1


def test_a_refusal_names_the_unknown_names_and_the_cause(atlas: Atlas) -> None:
    with pytest.raises(GeneMatchError) as raised:
        sv.annotate(with_more([f"odd{i}" for i in range(12)], large(12) * 100), atlas)
    said = str(raised.value)
    assert said.count("odd") == 10
    assert "most names are known, and most of the expression is on those that are not" in said
    cells = toy.cells(41, seed=1)
    cells.var = pd.DataFrame({"mine": list(toy.SYMBOLS)}, index=[f"gene_{i}" for i in range(240)])
    with pytest.raises(GeneMatchError, match=r"Fix: set `gene_key` to mine, whose names have 100%"):
        cells.var["other"] = [f"k{i}" for i in range(240)]
        sv.annotate(cells, atlas, gene_key="other")
