"""NCBI's files to gene texts, releases of them, and what changed from one to the next."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scvec as sv
from scvec.cli import main
from scvec.errors import ExistsError, FileError, InputError, KeyNotFoundError, NotInStoreError, StoreError
from scvec.ingest.genes.cleaning import clean, without_repeats
from scvec.ingest.genes.ncbi import read_info, read_orthologs, read_summaries
from scvec.ingest.genes.template import NAMES, SUMMARY, ortholog_source, with_texts
from tests import toy

MOUSE_LENDS, HUMAN_LENDS = ortholog_source("mouse"), ortholog_source("human")


def edited(source: Path, target: Path, *changes: tuple[str, str]) -> Path:
    text = gzip.decompress(source.read_bytes()).decode()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    target.write_bytes(gzip.compress(text.encode()))
    return target


def test_texts_are_made_by_the_template(store: sv.Store) -> None:
    texts = sv.ingest.open_texts(store, "human")
    assert texts.release == "2021-07-01"
    assert len(texts) == 240
    with_summary, without = texts.frame.row(1, named=True), texts.frame.row(0, named=True)
    assert with_summary["text"] == (
        "TOY1: toy gene number 1. This gene takes part in insulin secretion and glucose sensing "
        "in pancreatic islet beta cells."
    )
    assert with_summary["source"] == SUMMARY
    assert without["text"] == "TOY0: toy gene number 0."
    assert without["source"] == NAMES
    assert with_summary["ensembl_ids"] == ["ENSG00000000001"]
    assert with_summary["aliases"] == ["ANCIENT1", "OLD1"]
    assert texts.frame["text_sha256"].n_unique() == 240


GENE = {
    "gene_id": 1,
    "symbol": "Abc1",
    "full_name": "ABC protein 1",
    "designations": ["abc-protein 1", "ATPase X", "atpase x"],
}


@pytest.mark.parametrize(
    ("more", "text", "source"),
    [
        ({"summary": "It pumps."}, "Abc1: ABC protein 1. It pumps.", SUMMARY),
        ({}, "Abc1: ABC protein 1. Also called ATPase X.", NAMES),
        (
            {"ortholog": "human", "ortholog_summary": "It pumps [provided by RefSeq, Jul 2008]."},
            "Abc1: ABC protein 1. Also called ATPase X. Human ortholog: It pumps",
            HUMAN_LENDS,
        ),
        ({"summary": " ", "designations": []}, "Abc1: ABC protein 1.", NAMES),
        ({"full_name": None, "designations": []}, "Abc1.", NAMES),
    ],
)
def test_what_stands_in_for_a_summary(more: dict[str, object], text: str, source: str) -> None:
    row = with_texts(pl.DataFrame([GENE | more])).row(0, named=True)
    assert (row["text"], row["source"]) == (text, source)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("It pumps. [provided by RefSeq, Jul 2008].", "It pumps."),
        ("It pumps [supplied by OMIM, Mar 2010]. And [Ca2+] rises.", "It pumps And [Ca2+] rises."),
        ("the <i>INS</i> gene<sup>2</sup> &amp; others", "the INS gene 2 & others"),
        ("a&nbsp;space", "a space"),
        ("TNF-\u03b1 and Φ, naïve cells \u2013 “so” ≥ 5 µM", 'TNF-alpha and phi, naive cells - "so" >= 5 muM'),
        ("two  spaces\nand a line", "two spaces and a line"),
        # Angle brackets of NCBI's own that are no HTML.
        ("deletion, Chr 17, t<w18> 1, distal", "deletion, Chr 17, t<w18> 1, distal"),
        ("p34<PSK-J3>/cdk4", "p34<PSK-J3>/cdk4"),
        ("deletion, Chr Y, B10.BR-Y<del>, Mishima", "deletion, Chr Y, B10.BR-Y<del>, Mishima"),
    ],
)
def test_prose_is_cleaned(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@given(st.text())
def test_cleaning_gives_ascii_without_stray_spaces(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.isascii()
    assert cleaned == " ".join(cleaned.split())


def test_repeated_names_are_dropped() -> None:
    assert without_repeats(["alpha-1B", "Alpha 1b", "beta", "", "the said"], "The-Said") == ["alpha-1B", "beta"]


def test_real_rows_are_clean(data: Path) -> None:
    """On NCBI's own files: double spaces in summaries, alleles in names, repeated designations."""
    ncbi = data / "ncbi"
    genes, _ = read_info(ncbi / "Mus_musculus.gene_info.gz", 10090)
    summaries = read_summaries(ncbi / "gene_summary.gz", [10090], [10090])
    human = read_summaries(ncbi / "gene_summary.gz", [9606], [9606]).filter(pl.col("summary").str.contains("  "))
    assert human.height == 121
    assert not any("  " in clean(one) for one in human["summary"])
    frame = with_texts(genes.join(summaries.drop("taxon_id"), on="gene_id", how="left"))
    for column in ("text", "full_name", "summary"):
        values = frame[column].drop_nulls()
        assert not values.str.contains(r"  |\[provided by|</?(i|b|sup|sub)>|[^\x00-\x7F]").any(), column
    by_symbol = {row["symbol"]: row for row in frame.to_dicts()}
    assert by_symbol["Cdk4"]["text"].startswith("Cdk4: cyclin-dependent kinase 4. Also called PSK-J3; cell division")
    assert "p34<PSK-J3>/cdk4" in by_symbol["Cdk4"]["text"]
    assert by_symbol["Del(17)1t<w18>-d"]["full_name"] == "deletion, Chr 17, t<w18> 1, distal"


def test_the_authority_s_symbol_goes_first(ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    text = gzip.decompress(ncbi[0].read_bytes()).decode().splitlines()
    header = text[0].split("\t")
    fields = text[1].split("\t")
    fields[header.index("Symbol_from_nomenclature_authority")] = "MT-TOY"
    path = tmp_path / "info"
    path.write_text("\n".join([text[0], "\t".join(fields)]))
    genes, newest = read_info(path, 9606)
    assert newest == "2021-07-01"
    assert genes["symbol"].to_list() == ["MT-TOY"]
    assert genes["aliases"].to_list() == [["ANCIENT0", "OLD0", "TOY0"]]


def test_a_gene_may_have_two_ensembl_ids(ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    two = edited(
        ncbi[0], tmp_path / "i.gz", ("Ensembl:ENSG00000000007", "Ensembl:ENSG00000000007|Ensembl:ENSG00000000907")
    )
    genes, _ = read_info(two, 9606)
    assert genes["ensembl_ids"][7].to_list() == ["ENSG00000000007", "ENSG00000000907"]


def test_regions_are_no_genes(ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    region = ("toy gene number 7\tprotein-coding", "a region\tbiological-region")
    genes, _ = read_info(edited(ncbi[0], tmp_path / "i.gz", region), 9606)
    assert "TOY7" not in genes["symbol"].to_list()
    assert len(genes) == 239


def test_of_two_summaries_refseq_s_counts(tmp_path: Path) -> None:
    rows = [
        "#tax_id\tGeneID\tSource\tSummary",
        "9606\t1\t-\tNobody's.",
        "9606\t1\tOther\tTheirs.",
        "9606\t1\tRefSeq\tOurs.",
        "9606\t2\tRefSeq\t-",
        "9606\t2\tOther\tTheirs.",
        "9606\t3\tRefSeq\t-",
        "7955\t1\tRefSeq\tNo.",
    ]
    toy.write_lines(tmp_path / "s.gz", rows)
    found = read_summaries(tmp_path / "s.gz", [9606], [9606])
    assert sorted(found.rows()) == [(9606, 1, "Ours."), (9606, 2, "Theirs.")]


@pytest.mark.parametrize("which", [0, 1])
def test_bad_files_are_named(ncbi: tuple[Path, Path], tmp_path: Path, which: int) -> None:
    def read(bad: Path) -> None:
        if which == 0:
            read_info(bad, 9606)
        else:
            read_summaries(bad, [9606, 10090], [9606])

    with pytest.raises(FileError, match="does not exist"):
        read(tmp_path / "none.gz")
    truncated = tmp_path / "truncated.gz"
    truncated.write_bytes(ncbi[which].read_bytes()[:-700])
    with pytest.raises(FileError, match=r"truncated\.gz"):
        read(truncated)
    (tmp_path / "words.tsv").write_text("some\tother\ttable\n1\t2\t3\n")
    with pytest.raises(FileError, match="no column #tax_id"):
        read(tmp_path / "words.tsv")
    with pytest.raises(FileError, match="not whole numbers"):
        read(edited(ncbi[which], tmp_path / "ids.gz", ("\n9606\t1001\t", "\n9606\tone\t")))
    with pytest.raises(FileError, match="no gene of taxon 9606, only of human"):
        read(edited(ncbi[which], tmp_path / "taxa.gz", ("\n9606\t", "\nhuman\t")))
    (tmp_path / "empty").write_text("")
    with pytest.raises(FileError, match="empty"):
        read(tmp_path / "empty")


def test_another_species_file_is_refused(ncbi: tuple[Path, Path]) -> None:
    with pytest.raises(FileError, match="no gene of taxon 10090, only of 9606"):
        read_info(ncbi[0], 10090)


def test_one_file_of_many_taxa_serves_each(ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    mouse = toy.write_ncbi(tmp_path, toy.MOUSE)
    both = tmp_path / "all.gene_info"
    lines = gzip.decompress(mouse[0].read_bytes()).splitlines()[1:]
    both.write_bytes(gzip.decompress(ncbi[0].read_bytes()) + b"\n".join(lines) + b"\n")
    for taxon, first in toy.FIRST_ID.items():
        genes, _ = read_info(both, taxon)
        assert genes["gene_id"].to_list() == list(range(first, first + 240))


def test_only_one_to_one_orthologs_count_whichever_stands_first(tmp_path: Path) -> None:
    header = "#tax_id\tGeneID\trelationship\tOther_tax_id\tOther_GeneID"
    rows = [
        "9606\t1\tOrtholog\t10090\t11",
        "10090\t12\tOrtholog\t9606\t2",
        "9606\t3\tOrtholog\t10090\t13",
        "9606\t3\tOrtholog\t10090\t14",
        "9606\t4\tOrtholog\t10090\t15",
        "9606\t5\tOrtholog\t10090\t15",
        "9606\t6\tPotential readthrough sibling\t10090\t16",
        "9606\t10090\tOrtholog\t10116\t21",
    ]
    toy.write_lines(tmp_path / "o.gz", [header, *rows])
    assert sorted(read_orthologs(tmp_path / "o.gz", 9606, 10090).rows()) == [(1, 11), (2, 12)]
    assert sorted(read_orthologs(tmp_path / "o.gz", 10090, 9606).rows()) == [(11, 1), (12, 2)]
    assert read_orthologs(tmp_path / "o.gz", 9606, 10116).rows() == [(10090, 21)]
    assert read_orthologs(tmp_path / "o.gz", 10090, 10116).is_empty()


def test_an_ortholog_lends_its_summary(ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    mouse = toy.write_ncbi(tmp_path, toy.MOUSE)
    human_lines = gzip.decompress(ncbi[1].read_bytes()).decode().splitlines()
    mouse_lines = [line for line in gzip.decompress(mouse[1].read_bytes()).decode().splitlines() if "\t5005\t" in line]
    toy.write_lines(tmp_path / "summaries.gz", human_lines + mouse_lines)
    texts = sv.ingest.texts(
        sv.Store(tmp_path / "store"),
        taxon="mouse",
        gene_info=mouse[0],
        gene_summary=tmp_path / "summaries.gz",
        gene_orthologs=toy.write_orthologs(tmp_path / "orthologs.gz"),
    )
    rows = texts.frame.to_dicts()
    assert rows[5]["source"] == SUMMARY
    assert (
        rows[4]["text"] == "Toy4: toy gene number 4. Human ortholog: This gene takes part in housekeeping in all cells."
    )
    assert (rows[4]["source"], rows[4]["human_ortholog"]) == (HUMAN_LENDS, 1004)
    assert (rows[3]["source"], rows[3]["human_ortholog"]) == (NAMES, 1003)
    assert (rows[1]["source"], rows[1]["human_ortholog"]) == (NAMES, None)  # two human genes share it
    assert texts.manifest["n_by_source"] == {NAMES: 81, HUMAN_LENDS: 158, SUMMARY: 1}


def test_of_two_lenders_the_first_lends(ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    lines = gzip.decompress(ncbi[1].read_bytes()).decode().splitlines()
    toy.write_lines(tmp_path / "s.gz", [*lines, "10116\t7\tRefSeq\tThe rat's.", "10090\t8\tRefSeq\tThe mouse's."])
    rows = ["9606\t1000\tOrtholog\t10116\t7", "9606\t1000\tOrtholog\t10090\t8", "9606\t1003\tOrtholog\t10116\t9"]
    toy.write_lines(tmp_path / "o.gz", ["#tax_id\tGeneID\trelationship\tOther_tax_id\tOther_GeneID", *rows])
    texts = sv.ingest.texts(
        sv.Store(tmp_path / "store"),
        taxon="human",
        gene_info=ncbi[0],
        gene_summary=tmp_path / "s.gz",
        gene_orthologs=tmp_path / "o.gz",
    )
    assert texts.frame["text"][0] == "TOY0: toy gene number 0. Mouse ortholog: The mouse's."
    assert texts.frame["source"][0] == MOUSE_LENDS
    assert texts.frame["source"][3] == NAMES
    assert texts.frame["human_ortholog"].null_count() == 240


def test_a_release_is_one_tagged_commit(store: sv.Store, ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    def import_(info: Path, release: str | None = None) -> sv.ingest.GeneTexts:
        return sv.ingest.texts(store, taxon="human", gene_info=info, gene_summary=ncbi[1], release=release)

    changed = edited(ncbi[0], tmp_path / "changed.gz", ("toy gene number 5\t", "toy gene number five\t"))
    first = store.table("gene_texts/9606").latest().version
    again = import_(ncbi[0])
    assert again.release == "2021-07-01"
    assert again.snapshot.version == first
    with pytest.raises(ExistsError, match="2021-07-01"):
        import_(changed, "2021-07-01")
    later = import_(changed, "later")
    assert [one.release for one in sv.ingest.list_texts(store)] == ["2021-07-01", "later"]
    for _ in range(2):
        assert import_(changed).release == "2021-07-01.2"
    with pytest.raises(StoreError, match="tag 'not a tag'"):
        import_(changed, "not a tag")
    versions = [one.snapshot.version for one in sv.ingest.list_texts(store)]
    assert versions == sorted(set(versions))
    assert (len(versions), versions[0]) == (3, first)
    assert store.table("gene_texts/9606").latest().version == versions[-1]
    assert sv.ingest.open_texts(store, "human").release == "2021-07-01.2"
    assert later.manifest["origin"] == "NCBI Gene"
    old = sv.ingest.open_texts(store, 9606, "2021-07-01")
    assert old.frame["text"][5] != later.frame["text"][5]
    changing = ("text", "full_name", "text_sha256")
    assert old.frame.drop(changing).equals(later.frame.drop(changing))


def test_missing_texts_say_how_to_get_them(store: sv.Store) -> None:
    with pytest.raises(NotInStoreError, match="scvec genes pull --taxon mouse"):
        sv.ingest.open_texts(store, "mouse")
    with pytest.raises(NotInStoreError, match="tagged 1999"):
        sv.ingest.open_texts(store, "human", "1999")
    for taxon in ("martian", "²", "-1"):
        with pytest.raises(KeyNotFoundError, match="human, mouse, rat"):
            sv.ingest.open_texts(store, taxon)


CHANGES = (
    ("toy gene number 5\t", "toy gene number five\t"),
    ("\tTOY9\tOLD9|ANCIENT9\t", "\tFRESH9\tTOY9|OLD9|ANCIENT9\t"),
    ("\n9606\t1011\t", "\n9606\t7777\t"),
)
"""A text, a symbol (the old one becoming an alias), and a gene withdrawn with another in its place."""


def test_a_diff_names_every_change(store: sv.Store, ncbi: tuple[Path, Path], tmp_path: Path) -> None:
    info = edited(ncbi[0], tmp_path / "later.gz", *CHANGES)
    old = sv.ingest.open_texts(store, "human")
    new = sv.ingest.texts(store, taxon="human", gene_info=info, gene_summary=ncbi[1], release="later")
    found = sv.ingest.diff(old, new)
    assert found.drop("before", "after").rows() == [
        ("added", 7777, "TOY11"),
        ("removed", 1011, "TOY11"),
        ("renamed", 1009, "FRESH9"),
        ("text changed", 1005, "TOY5"),
        ("text changed", 1009, "FRESH9"),
    ]
    by_gene = {(row["change"], row["gene_id"]): (row["before"], row["after"]) for row in found.to_dicts()}
    assert by_gene["renamed", 1009] == ("TOY9", "FRESH9")
    assert by_gene["added", 7777] == (None, "TOY11: toy gene number 11.")
    assert sv.ingest.diff(old, old).is_empty()
    back = sv.ingest.diff(new, old)
    assert back["change"].value_counts().sort("change").rows() == found["change"].value_counts().sort("change").rows()
    mouse = toy.write_ncbi(tmp_path, toy.MOUSE)
    other = sv.ingest.texts(store, taxon="mouse", gene_info=mouse[0], gene_summary=mouse[1])
    with pytest.raises(InputError, match="human and mouse"):
        sv.ingest.diff(old, other)


def test_the_story_of_two_releases(
    store: sv.Store, files: Path, ncbi: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refresh, diff, re-embed what changed; the old atlas answers as before, and a new one is built on the new."""

    def scvec(*arguments: object) -> str:
        capsys.readouterr()
        assert main([*map(str, arguments), "--store", store.uri]) == 0
        return capsys.readouterr().out

    query = files / "query.h5ad"
    before = sv.annotate(query, sv.atlas.open_atlas(store, "toy"))
    info = edited(ncbi[0], tmp_path / "later.gz", *CHANGES)
    imported = ("genes", "import", "--taxon", "human", "--gene-info", info, "--gene-summary", ncbi[1])
    scvec(*imported, "--release", "later")
    said = scvec("genes", "diff", "2021-07-01", "later", "--taxon", "human")
    assert "1 added, 1 removed, 1 renamed, 2 text changed" in said
    # The two changed, and the new gene's.
    assert "3 of 240 texts to encode" in scvec("embed", "--taxon", "human", "--encoder", "hash", "--dry-run")
    assert "3 of 240 texts encoded" in scvec("embed", "--taxon", "human", "--encoder", "hash")
    assert "0 of 240 texts encoded" in scvec("embed", "--taxon", "human", "--encoder", "hash")
    after = sv.annotate(query, sv.atlas.open_atlas(store, "toy"))
    assert after.to_frame().equals(before.to_frame())
    assert after.provenance == before.provenance
    assert after.provenance["atlas"]["recipe"]["release"] == "2021-07-01"
    keys = ("--label-key", "cell_type", "--batch-key", "donor")
    build = ("atlas", "build", "toy", files / "reference.h5ad", *keys, "--encoder", "hash")
    scvec(*build, "--overwrite")
    rebuilt = sv.atlas.open_atlas(store, "toy")
    assert rebuilt.recipe.release == "later"
    assert rebuilt.manifest["coverage"]["routes"]["alias"]["n_genes"] == 1  # TOY9, which is FRESH9 now
    assert sv.annotate(query, rebuilt).label.tolist() == before.label.tolist()
    scvec(*build, "--overwrite", "--release", "2021-07-01")
    again = sv.annotate(query, sv.atlas.open_atlas(store, "toy"))
    assert again.to_frame().drop("label_id").equals(before.to_frame().drop("label_id"))
