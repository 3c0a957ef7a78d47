"""The page of the store's columns is made from the schemas, and tables have these columns."""

from __future__ import annotations

from pathlib import Path

import pytest

import scvec as sv
from scvec.bench.genes import GeneSuite, GeneTask, run
from tests import toy, toy_ontology
from tools import schemas

KINDS = {one.path: one for one in schemas.described()}


def test_the_page_is_that_of_the_schemas() -> None:
    assert schemas.PAGE.read_text(encoding="utf-8") == schemas.page(), "run python -m tools.schemas"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_column_is_described(kind: schemas.Described) -> None:
    assert list(kind.meanings) == kind.schema.names


def test_tables_have_these_columns(store: sv.Store, files: Path, tmp_path: Path) -> None:
    sv.ontology.import_ontology(store, toy_ontology.write(tmp_path))
    sv.name(files / "query.h5ad", store, cluster_key="cell_type", encoder="hash", evidence=True)
    pairs = toy.write_hcop(tmp_path / "hcop.gz", [("1000", "5000", "Ensembl,OMA")])
    sv.ingest.orthologs(store, pairs, taxon="mouse")
    cells = files / "reference.h5ad"
    sv.atlas.build(store, "toy", cells, recipe="genept-s", encoder="hash", label_key="cell_type", overwrite=True)
    sets = tmp_path / "sets.gmt"
    sets.write_text("".join(f"set {i}\t\t" + "\t".join(toy.SYMBOLS[i::2]) + "\n" for i in (0, 1)))
    task = GeneTask(name="sets", kind="same set", sets=str(sets), across_families=False)
    run(GeneSuite(name="toy", encoders=("hash",), tasks=(task,), controls=()), tmp_path / "out", store)
    found = {}
    for path in store.tables():
        depth = path.count("/")
        kind = next(one for name, one in KINDS.items() if name.count("/") == depth and _fits(name, path))
        schema = store.table(path).latest().schema
        assert schema.names == kind.schema.names
        for field, wanted in zip(schema, kind.schema, strict=True):
            assert schemas._type(field.type) == schemas._type(wanted.type)
        found[kind.path] = path
    assert found.keys() == KINDS.keys()


def _fits(kind: str, path: str) -> bool:
    return all(one.startswith("<") or one == other for one, other in zip(kind.split("/"), path.split("/"), strict=True))
