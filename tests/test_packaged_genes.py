"""The gene identifiers that come with scvec: the same genes as NCBI's files give, in a store that has no texts."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import anndata as ad
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.errors import GeneMatchError, InputError, NotInStoreError
from scvec.explain.gene_sets import match_sets
from scvec.ingest.genes import packaged as packaged_module
from scvec.ingest.genes.gene_sets import GeneSets
from scvec.ingest.genes.gene_table import newest_tables, open_table
from scvec.ingest.genes.gene_texts import HUMAN, TAXA, write_texts
from scvec.ingest.genes.identifiers import Identifiers
from scvec.ingest.genes.ncbi import read_info
from scvec.ingest.genes.packaged import FOLDER, PackagedGenes, packaged
from tests import toy
from tools import gene_table as tool

MOUSE = TAXA["mouse"]
WHEEL_BYTES = 4_000_000
FROM_EXPRESSION = sv.Recipe(name="small", weights="svd", dimension=8)


def ours(taxon: int) -> PackagedGenes:
    found = packaged(taxon)
    assert found is not None
    return found


@cache
def of_ncbi(data: Path, taxon: str) -> tuple[pl.DataFrame, Identifiers]:
    genes, _ = read_info(data / "ncbi" / tool.INFO[taxon], TAXA[taxon])
    return genes, Identifiers(genes)


@cache
def orthologs() -> pl.DataFrame:
    """Coding genes of both species that are one to one, with their symbols, which differ in spelling at least."""
    coding = pl.col("gene_type") == "protein-coding"
    human = ours(HUMAN).genes.filter(coding).select("gene_id", "symbol", "ensembl_ids")
    mouse = ours(MOUSE).genes.filter(coding).select("human_ortholog", "gene_id", "symbol", "ensembl_ids")
    return human.join(mouse, left_on="gene_id", right_on="human_ortholog", suffix="_mouse").sort("gene_id")


@pytest.fixture
def empty(tmp_path: Path) -> sv.Store:
    return sv.Store(tmp_path / "store")


def cells(folder: Path, names: list[str], seed: int, n: int = 120) -> Path:
    """Write toy cells whose genes have these names."""
    made = toy.cells(n, seed)
    made.var_names = names
    path = folder / f"{seed}-{names[0]}.h5ad"
    made.write_h5ad(path)
    return path


def named(column: str, n: int = toy.N_GENES) -> list[str]:
    picked = orthologs().filter(pl.col("ensembl_ids").list.len() > 0, pl.col("ensembl_ids_mouse").list.len() > 0)
    # Not the first ones: as ids of mouse, human Entrez ids this small would be genes too.
    rows = picked[1000 : 1000 + n]
    values = rows[column]
    return [str(one[0]) if isinstance(one, pl.Series) else str(one) for one in values]


@pytest.fixture
def built(empty: sv.Store, tmp_path: Path) -> Atlas:
    """An atlas of human cells, by symbols, in a store without texts."""
    path = cells(tmp_path, named("symbol"), 0)
    return sv.atlas.build(empty, "toy", path, label_key="cell_type", batch_key="donor", recipe=FROM_EXPRESSION)


def test_the_tables_fit_into_the_wheel() -> None:
    files = sorted(FOLDER.iterdir())
    assert [one.name for one in files] == ["human.parquet", "mouse.parquet"]
    assert sum(one.stat().st_size for one in files) < WHEEL_BYTES


@pytest.mark.parametrize("taxon", ["human", "mouse"])
def test_a_table_says_what_it_was_made_from_and_is_made_again(data: Path, tmp_path: Path, taxon: str) -> None:
    table, ncbi = ours(TAXA[taxon]), data / "ncbi"
    about = tool.make(taxon, ncbi / tool.INFO[taxon], ncbi / tool.ORTHOLOGS, tmp_path / "made.parquet")
    assert about == table.manifest
    assert table.release == f"packaged-{about['date']}" == "packaged-2021-07-11"
    assert pl.read_parquet(tmp_path / "made.parquet").equals(pl.read_parquet(table.path))
    assert len(table) == len(table.genes) == table.genes["gene_id"].n_unique()
    assert table.genes["gene_id"].is_sorted()


def test_names_and_orthologs_are_those_of_texts_of_the_same_files(data: Path, empty: sv.Store) -> None:
    ncbi = data / "ncbi"
    texts = sv.ingest.texts(
        empty,
        taxon="mouse",
        gene_info=ncbi / tool.INFO["mouse"],
        gene_summary=ncbi / "gene_summary.gz",
        gene_orthologs=ncbi / tool.ORTHOLOGS,
    )
    columns = [name for name in texts.genes.columns if name != "source"]
    assert ours(MOUSE).genes.columns == texts.genes.columns
    assert ours(MOUSE).genes.select(columns).equals(texts.genes.select(columns))
    assert ours(MOUSE).genes["human_ortholog"].drop_nulls().len() == 16_252


def respelt(name: str, how: str) -> str:
    if how == "version":
        return f"{name}.7"
    return {"lower": name.lower(), "upper": name.upper(), "dots": name.replace("-", ".")}.get(how, name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_name_resolves_as_by_ncbis_files(data: Path, draw: st.DataObject) -> None:
    taxon = draw.draw(st.sampled_from(["human", "mouse"]))
    genes, identifiers = of_ncbi(data, taxon)
    names = []
    for row in draw.draw(st.lists(st.integers(0, len(genes) - 1), min_size=1, max_size=20)):
        gene = genes.row(row, named=True)
        known = [gene["symbol"], str(gene["gene_id"]), *gene["aliases"], *gene["ensembl_ids"]]
        how = draw.draw(st.sampled_from(["as it is", "lower", "upper", "dots", "version"]))
        names.append(respelt(draw.draw(st.sampled_from(known)), how))
    names.append(draw.draw(st.text(max_size=8)))
    asked = np.array(names, object)
    for exact in (False, True):
        expected, found = (one.resolve(asked, exact=exact) for one in (identifiers, ours(TAXA[taxon]).identifiers))
        for field in ("columns", "gene_ids", "routes", "ambiguous"):
            assert getattr(found, field).tolist() == getattr(expected, field).tolist(), field


@pytest.mark.parametrize(
    ("taxon", "all_symbols", "symbols", "ensembl"), [("human", 0.93, 0.98, 0.98), ("mouse", 0.52, 0.90, 0.96)]
)
def test_names_of_the_authorities_five_years_later(
    data: Path, taxon: str, all_symbols: float, symbols: float, ensembl: float
) -> None:
    """HGNC's and MGI's names of 2026 on a table of 2021: most new ones are of genes that do not code for a protein."""
    table = pl.read_parquet(data / "genes" / f"gene_table_{taxon}.parquet")
    identifiers = ours(TAXA[taxon]).identifiers

    def share(names: pl.Series) -> float:
        distinct = names.drop_nulls().unique(maintain_order=True).to_numpy()
        return len(identifiers.resolve(distinct).columns) / len(distinct)

    coding = table.filter(pl.col("canonical_biotype") == "protein_coding")
    assert share(table["symbol"]) > all_symbols
    assert share(coding["symbol"]) > symbols
    assert share(coding["ensembl_id"]) > ensembl
    old = coding["prev_symbols"].drop_nulls().str.split("|").explode()
    if taxon == "human":  # MGI's table has none
        assert share(old.filter(old != "")) > 0.92


def test_one_to_one_orthologs_are_among_those_of_other_sources(data: Path) -> None:
    """HCOP lists every ortholog that any source names, one to many: ours are to be among them."""
    hcop = pl.read_csv(
        data / "genes" / "human_mouse_hcop_fifteen_column.txt.gz", separator="\t", infer_schema=False, quote_char=None
    )
    listed = set(hcop.select("human_entrez_gene", "mouse_entrez_gene").iter_rows())
    pairs = [(str(human), str(mouse)) for human, mouse in orthologs().select("gene_id", "gene_id_mouse").iter_rows()]
    assert np.mean([one in listed for one in pairs]) > 0.98


@pytest.mark.parametrize(
    ("column", "said"),
    [("symbol", "human symbols"), ("ensembl_ids", "human Ensembl ids"), ("gene_id", "human Entrez ids")],
)
def test_a_query_of_any_kind_of_name(built: Atlas, tmp_path: Path, column: str, said: str) -> None:
    query = cells(tmp_path, named(column), 1)
    calls = sv.annotate(query, built)
    coverage = calls.provenance["query"]["coverage"]
    assert said in coverage["names"]
    assert coverage["share"] > 0.99  # one Ensembl id is of two coding genes
    assert list(coverage["texts"]) == ["identifiers only"]
    assert sv.evaluate(calls, "cell_type").accuracy > 0.9
    assert sv.ingest.coverage(built.store, query).share > 0.99


def test_the_atlas_says_what_it_was_built_on(built: Atlas) -> None:
    assert built.recipe.release == built.gene_table.release == ours(HUMAN).release
    assert built.manifest["gene_texts_digest"] == ours(HUMAN).digest
    assert built.gene_symbols.tolist() == named("symbol")


def test_a_query_of_mouse_is_noticed_and_matched_by_orthologs(built: Atlas, tmp_path: Path) -> None:
    query = cells(tmp_path, named("symbol_mouse"), 1)
    with pytest.raises(GeneMatchError, match=r"look like mouse genes .100% of the expression.*set `taxon` to mouse"):
        sv.annotate(query, built)
    calls = sv.annotate(query, built, taxon="mouse")
    coverage = calls.provenance["query"]["coverage"]
    assert coverage["share"] == 1.0
    assert "one-to-one orthologs" in coverage["names"]
    assert sv.evaluate(calls, "cell_type").accuracy > 0.9
    sets = GeneSets("mine", "", "0", {"A": tuple(named("symbol_mouse", 3))})
    assert match_sets(sets, built, "mouse").genes["A"] == frozenset(map(int, named("gene_id", 3)))


def test_a_reference_of_mouse_is_matched_to_mouse(empty: sv.Store, tmp_path: Path) -> None:
    path = cells(tmp_path, named("symbol_mouse"), 0)
    atlas = sv.atlas.build(empty, "m", path, label_key="cell_type", recipe=FROM_EXPRESSION)
    assert atlas.manifest["taxon_id"] == MOUSE
    with pytest.raises(NotInStoreError, match=r"no gene texts of rat.*scvec genes pull --taxon rat"):
        sv.atlas.build(empty, "r", path, label_key="cell_type", recipe=FROM_EXPRESSION, taxon="rat")


def import_texts(store: sv.Store, folder: Path) -> sv.ingest.GeneTexts:
    """Import texts of the genes of `named`, as a release of human."""
    info, summary = toy.write_ncbi(folder)
    texts = sv.ingest.texts(store, taxon="human", gene_info=info, gene_summary=summary)
    ids = pl.Series(named("gene_id")[:-1]).cast(pl.Int64)
    symbols = pl.Series(named("symbol")[:-1])
    frame = texts.frame[: toy.N_GENES - 1].with_columns(gene_id=ids, symbol=symbols)
    return write_texts(store, HUMAN, frame, "own", {"origin": "toy"})


def test_what_needs_texts_says_so_in_one_line_and_has_them_once_they_are_there(built: Atlas, tmp_path: Path) -> None:
    line = r"has no gene texts of human: .*scvec genes pull --taxon human"
    with pytest.raises(NotInStoreError, match=line) as error:
        sv.search.words(built, "insulin secretion", encoder="tfidf")
    assert "\n" not in str(error.value)
    with pytest.raises(NotInStoreError, match=line):
        _ = built.texts
    recipe = sv.RECIPES["genept-w"].with_encoder("tfidf")
    with pytest.raises(NotInStoreError, match=line):
        sv.atlas.build(built.store, "t", cells(tmp_path, named("symbol"), 0), label_key="cell_type", recipe=recipe)
    query = cells(tmp_path, named("symbol"), 1)
    before = sv.annotate(query, built)
    import_texts(built.store, tmp_path)
    again = sv.atlas.open_atlas(built.store, "toy")
    found = sv.search.words(again, "insulin secretion and glucose sensing in islet beta cells", encoder="tfidf")
    assert found.labels[0] == "beta"
    # Calls are those of the identifiers that the atlas was built on, whatever is imported later.
    after = sv.annotate(query, again)
    assert again.gene_table.release == ours(HUMAN).release
    assert after.label.tolist() == before.label.tolist()


def test_an_atlas_opens_with_later_identifiers_and_says_so(
    built: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of a later scvec: the same ids, a symbol that changed."""
    folder = tmp_path / "later"
    folder.mkdir()
    table = pq.read_table(ours(HUMAN).path)
    about = ours(HUMAN).manifest | {"release": "packaged-2031-01-01", "digest": "other"}
    symbols = pl.Series(table["symbol"].to_pylist())
    first = named("symbol")[0]
    renamed = symbols.set(symbols == first, "RENAMED1")
    table = table.set_column(table.schema.get_field_index("symbol"), "symbol", renamed.to_arrow())
    pq.write_table(table.replace_schema_metadata({packaged_module.ABOUT: json.dumps(about)}), folder / "human.parquet")
    shutil.copy(ours(MOUSE).path, folder)
    monkeypatch.setattr(packaged_module, "FOLDER", folder)
    packaged.cache_clear()
    try:
        later = sv.atlas.open_atlas(built.store, "toy")
        assert later.gene_symbols[0] == "RENAMED1"
        calls = sv.annotate(cells(tmp_path, ["RENAMED1", *named("symbol")[1:]], 1), later)
        assert calls.provenance["query"]["coverage"]["share"] == 1.0
        note = (
            "atlas 'toy' was built with gene identifiers packaged-2021-07-11; names are resolved by packaged-2031-01-01"
        )
        assert note in calls.notes
    finally:
        packaged.cache_clear()


def test_texts_in_the_store_come_before_packaged_identifiers(store: sv.Store) -> None:
    tables = newest_tables(store)
    assert [(one.taxon_id, one.release) for one in tables] == [
        (HUMAN, "2021-07-01"),
        (MOUSE, ours(MOUSE).release),
    ]
    assert open_table(store, "human").release == "2021-07-01"
    assert open_table(store, "human", ours(HUMAN).release) is ours(HUMAN)
    with pytest.raises(NotInStoreError, match="no gene texts of mouse tagged 1999"):
        open_table(store, "mouse", "1999")


def test_the_command_line_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    reference, query = cells(tmp_path, named("symbol"), 0), cells(tmp_path, named("ensembl_ids"), 1)
    assert main(["genes", "check", str(query)]) == 0
    assert "human Ensembl ids, by the human gene identifiers packaged-2021-07-11" in capsys.readouterr().out
    assert main(["genes", "list"]) == 0
    assert "packaged: mouse gene identifiers" in capsys.readouterr().err
    build = ["atlas", "build", "toy", str(reference), "--label-key", "cell_type"]
    assert main(build) == 0
    assert main(["query", str(query), "--atlas", "toy", "--out", "calls.parquet"]) == 0
    assert pl.read_parquet("calls.parquet").height == 120


def test_refined_needs_no_texts_and_its_calls_can_be_explained(empty: sv.Store, tmp_path: Path) -> None:
    path, query = cells(tmp_path, named("symbol"), 0), cells(tmp_path, named("symbol"), 1)
    atlas = sv.atlas.build(empty, "free", path, label_key="cell_type", batch_key="donor")
    assert (atlas.recipe.name, atlas.recipe.weights, atlas.recipe.encoder) == ("refined", "free", None)
    assert atlas.recipe == sv.RECIPES["refined"].without_text().bind(ours(HUMAN).release, None)
    calls = sv.annotate(query, atlas)
    assert sv.evaluate(calls, "cell_type").accuracy > 0.9
    found = sv.explain.attributions(calls)
    assert np.isfinite(found.contributions).all()
    with pytest.raises(InputError, match="does not apply to recipe 'expression'"):
        sv.atlas.build(empty, "other", path, label_key="cell_type", recipe="expression", encoder="tfidf")
    with pytest.raises(NotInStoreError, match=r"has no gene texts of human: .*scvec genes pull --taxon human"):
        sv.atlas.build(empty, "other", path, label_key="cell_type", encoder="tfidf")
    # With texts in the store, but no vectors of them, nothing changes; search reads words once an encoder did.
    import_texts(empty, tmp_path)
    again = sv.atlas.build(empty, "again", path, label_key="cell_type", batch_key="donor")
    assert (again.recipe.weights, again.recipe.release) == ("free", "own")
    with pytest.raises(InputError, match=r"no encoder that reads words.*scvec embed --encoder minilm"):
        sv.search.words(atlas, "insulin secretion")
    sv.embed.genes(empty, again.texts, encoder="tfidf")
    words = "insulin secretion and glucose sensing in islet beta cells"
    assert sv.search.words(sv.atlas.open_atlas(empty, "free"), words).labels[0] == "beta"


def test_a_build_encodes_the_texts_of_its_genes_and_no_others(store: sv.Store, tmp_path: Path, files: Path) -> None:
    """By minilm, which runs here and takes long; what it encoded stays, and decides for the next build."""
    made = ad.read_h5ad(files / "reference.h5ad")[:, :60].copy()
    made.write_h5ad(tmp_path / "few.h5ad")
    genept = sv.RECIPES["genept-w"]
    few = sv.atlas.build(store, "few", tmp_path / "few.h5ad", label_key="cell_type", recipe=genept)
    assert few.recipe.encoder == "minilm"
    table = store.table(f"gene_vectors/minilm/{few.recipe.encoder_revision}")
    assert len(table.latest()) == 60
    # Search within the atlas needs no more; all genes of the release do.
    assert len(sv.search.reader_of(few).gene_ids) == 60
    with pytest.raises(NotInStoreError, match="scvec embed --taxon human --encoder minilm"):
        sv.embed.open_genes(store, few.texts, encoder="minilm")
    texts = few.texts
    some = texts.frame["gene_id"].to_numpy()[50:70]
    assert sv.embed.genes(store, texts, encoder="minilm", gene_ids=some).n_encoded == 10
    # The vectors are there for the genes of the one reference, and not for those of the other.
    auto = sv.atlas.build(store, "auto", tmp_path / "few.h5ad", label_key="cell_type", batch_key="donor")
    assert (auto.recipe.weights, auto.recipe.encoder) == ("text", "minilm")
    free = sv.atlas.build(store, "free", files / "reference.h5ad", label_key="cell_type", batch_key="donor")
    assert (free.recipe.weights, free.recipe.encoder) == ("free", None)
