"""Ready-made vectors from a file, all the way to an atlas."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from scvec.cli import main
from scvec.errors import GeneMatchError, InputError, MismatchError, NotInStoreError
from tests import toy

VECTORS = np.random.default_rng(0).standard_normal((toy.N_GENES, 12))


def genept(path: Path, n_genes: int) -> str:
    """Write a pickle as GenePT publishes them, of the first genes, and return the encoder's address."""
    named = {symbol: vector.tolist() for symbol, vector in zip(toy.SYMBOLS[:n_genes], VECTORS, strict=False)}
    path.write_bytes(pickle.dumps(named))
    return f"file:{path}"


def test_an_atlas_on_vectors_of_a_file_that_lacks_some_genes(
    store: sv.Store, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = genept(tmp_path / "GenePT.pickle", 200)
    assert main(["embed", "--taxon", "human", "--encoder", encoder, "--store", store.uri]) == 0
    said = capsys.readouterr().out
    assert "file:GenePT.pickle, 12 dimensions: 200 of 200 texts encoded" in said
    assert "40 of 240 genes have no vector" in said
    genes = sv.embed.open_genes(store, sv.ingest.open_texts(store, "human"), encoder=encoder)
    np.testing.assert_array_equal(genes.of(np.array([1007, 1000])), VECTORS[[7, 0]].astype(np.float32))
    with pytest.raises(NotInStoreError):
        genes.of(np.array([1239]))
    build = ["atlas", "build", "given", str(files / "reference.h5ad"), "--label-key", "cell_type", "--store", store.uri]
    assert main([*build, "--encoder", encoder]) == 0
    atlas = sv.atlas.open_atlas(store, "given")
    assert atlas.recipe.encoder == "file:GenePT.pickle"
    assert (atlas.manifest["coverage"]["n_matched"], len(atlas.embedding.gene_ids)) == (200, 200)
    # Another file of that name is another encoder, and the atlas has its vectors whatever becomes of the file.
    np.random.default_rng(1).shuffle(VECTORS)
    genept(tmp_path / "GenePT.pickle", 200)
    with pytest.raises(NotInStoreError, match="scvec embed"):
        sv.embed.open_genes(store, sv.ingest.open_texts(store, "human"), encoder=encoder)
    assert main(["embed", "--taxon", "human", "--encoder", encoder, "--store", store.uri]) == 0
    assert main([*build, "--encoder", encoder, "--overwrite"]) == 0
    assert sv.atlas.open_atlas(store, "given").recipe.encoder_revision != atlas.recipe.encoder_revision
    atlas = sv.atlas.open_atlas(store, "given")
    (tmp_path / "GenePT.pickle").unlink()
    calls = sv.annotate(files / "query.h5ad", atlas)
    assert np.mean(calls.label == toy.cells(41, seed=1).obs["cell_type"].to_numpy()) > 0.9
    atlas.expect(None, encoder)

    # And it can be built again from its own recipe, on the vectors in the store and no others.
    def rebuilt(revision: str | None) -> sv.atlas.Atlas:
        recipe = replace(atlas.recipe, encoder_revision=revision)
        return sv.atlas.build(
            store, "given", files / "reference.h5ad", label_key="cell_type", recipe=recipe, overwrite=True
        )

    assert rebuilt(atlas.recipe.encoder_revision).recipe == atlas.recipe
    with pytest.raises(InputError, match="revisions"):
        rebuilt(None)
    with pytest.raises(NotInStoreError):
        rebuilt("0" * 16)
    other = sv.embed.genes(store, sv.ingest.open_texts(store, "human"), encoder="hash")
    pinned = replace(sv.RECIPES["genept-w"], encoder="hash", encoder_revision="another")
    with pytest.raises(MismatchError, match="that of the recipe"):
        sv.atlas.build(store, "x", files / "reference.h5ad", label_key="cell_type", recipe=pinned, genes=other)


def test_too_few_vectors_are_refused(store: sv.Store, files: Path, tmp_path: Path) -> None:
    encoder = genept(tmp_path / "few.pkl", 60)
    genes = sv.embed.genes(store, sv.ingest.open_texts(store, "human"), encoder=encoder)
    with pytest.raises(GeneMatchError, match=r"'file:few.pkl' has vectors of 60 of the reference's genes"):
        sv.atlas.build(store, "few", files / "reference.h5ad", genes=genes, label_key="cell_type")
