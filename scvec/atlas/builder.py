"""Building an atlas: fit on the reference, embed it, index it; visible only when all of it is there.

A build writes its cells as one version of the table ``atlases/<name>/cells``, then the files of that version
(``atlases/<name>/v<version>/``: projection, index, manifest), and last moves the table's tag ``current``. Readers
follow the tag, so that a build which did not come to its end was not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import scvec
from scvec import index as indexes
from scvec.arrow import vectors_from_arrow
from scvec.atlas.cells import Cells, obs_columns
from scvec.atlas.reference import (
    CURRENT,
    Atlas,
    cells_path,
    check_name,
    open_atlas,
    version_folder,
)
from scvec.embed import GeneVectors, open_genes
from scvec.embed.encoders import Address
from scvec.embed.projection import Projection, fit
from scvec.errors import ExistsError, GeneMatchError, InputError, MismatchError
from scvec.files import sha256
from scvec.ingest import open_h5ad
from scvec.ingest.cells.h5ad import AskedScale, CellFile, Matrix
from scvec.ingest.genes.gene_texts import offered_texts
from scvec.ingest.guards import guard, guard_species
from scvec.ingest.matching import MIN_COVERAGE, GeneMatch, match_genes
from scvec.spec import RECIPES, IndexSpec, Recipe
from scvec.store import Snapshot, Store
from scvec.types import Floats, Progress, silent


def build(
    store: Store,
    name: str,
    reference: str | Path,
    *,
    label_key: str,
    batch_key: str | None = None,
    label_id_key: str | None = None,
    obs_keys: Sequence[str] = (),
    genes: GeneVectors | None = None,
    recipe: Recipe | None = None,
    layer: str | None = None,
    scale: AskedScale = "auto",
    index: IndexSpec | None = None,
    gene_key: str | None = None,
    taxon: str | int | None = None,
    release: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Atlas:
    """Build an atlas from a labelled h5ad. The store is as before until the last step.

    Parameters
    ----------
    store, name
        Where to, and what it will be called.
    reference
        An h5ad file.
    label_key, batch_key, label_id_key
        Columns of ``obs``: the label of each cell; its donor or batch; its label's id, such as a Cell Ontology id.
    obs_keys
        Further columns of ``obs`` to keep, as strings: what a query may be restricted by.
    genes
        Gene vectors to use; None: those of the recipe's encoder that are in the store.
    recipe
        How a cell becomes a vector; None: ``genept-w`` with the encoder of `genes`, or its own.
    layer, scale
        Which matrix, and whether it holds counts or log1p values.
    index
        How it is searched; None: FAISS ``Flat``.
    gene_key
        Column of ``var`` that names the genes; None: ``var_names``, or the usual column that covers more where these
        cover too little.
    taxon, release
        The gene texts; None: of the taxa in the store the one whose genes fit best, at its last release.
    overwrite
        Replace an atlas of that name; its old version stays in the table.
    progress
        Shows the cells done.

    Raises
    ------
    InputError
        If the file, a column, the matrix, the genes or the index factory are of no use.
    ExistsError
        If there is such an atlas and `overwrite` is not set.
    NotInStoreError
        If gene texts or vectors are missing.
    """
    check_name(name)
    recipe = _recipe(recipe, genes)
    table = store.table(cells_path(name))
    existed = CURRENT in table.tags()
    if existed and not overwrite:
        raise ExistsError(f"there is an atlas {name!r}", "a new name", "choose another, or give --overwrite")
    try:
        with open_h5ad(reference) as file:
            columns = obs_columns(file, label_key, batch_key, label_id_key, obs_keys)
            with file.matrix(layer, scale) as matrix:
                match = _match(store, matrix, genes, gene_key, taxon, release)
                bound, gene_vectors, match = _bind(store, recipe, genes, match, matrix, progress)
                cells = Cells(matrix, match, file.obs_names, columns)
                projection = fit(
                    bound,
                    match,
                    gene_vectors,
                    lambda title: matrix.batches(title, progress),
                    matrix.values,
                    len(cells),
                )
                manifest = {
                    **_manifest(name, file, matrix, match, projection),
                    "keys": {"label": label_key, "batch": batch_key, "label_id": label_id_key, "obs": list(obs_keys)},
                }
                version = table.write(
                    cells.embedded(projection, progress), cells.schema(projection.dimension), manifest
                )
        summary = {"version": version, "n_labels": len(set(columns["label"].tolist())), **cells.summary()}
        _finish(
            store,
            name,
            table.at(version),
            projection,
            {**manifest, **summary},
            index or IndexSpec(),
            progress,
        )
        table.tag(CURRENT, version)
    except BaseException:
        if not existed:
            store.remove(f"atlases/{name}")
        raise
    return open_atlas(store, name)


def _recipe(recipe: Recipe | None, genes: GeneVectors | None) -> Recipe:
    if recipe is None:
        return RECIPES["genept-w"].with_encoder(genes.encoder if genes else None)
    if genes is not None and recipe.encoder and Address.parse(recipe.encoder).canonical() != genes.encoder:
        raise InputError(
            f"gene vectors of encoder {genes.encoder!r} for a recipe of encoder {recipe.encoder!r}",
            "the same encoder",
            "use recipe.with_encoder(...)",
        )
    return recipe


def _match(
    store: Store,
    matrix: Matrix,
    genes: GeneVectors | None,
    gene_key: str | None,
    taxon: str | int | None,
    release: str | None,
) -> GeneMatch:
    """Match the reference's genes to the texts that fit best, judged on a sample of its cells."""
    offered = [genes.texts] if genes is not None else offered_texts(store, taxon, release)
    match = match_genes(matrix, offered, gene_key=gene_key)
    guard(match, matrix)
    if genes is None and taxon is None:
        guard_species(match, [], matrix, is_query=False)
    return match


def _bind(
    store: Store, recipe: Recipe, genes: GeneVectors | None, match: GeneMatch, matrix: Matrix, progress: Progress
) -> tuple[Recipe, Floats | None, GeneMatch]:
    """Tie the recipe to release and encoder; return the vectors of the genes, if it wants any, and those with one."""
    release = match.texts.release
    if recipe.weights == "svd":
        return recipe.bind(release, None), None, match
    vectors = genes or open_genes(
        store, match.texts, encoder=recipe.encoder or "", revision=recipe.encoder_revision, progress=progress
    )
    if recipe.encoder_revision not in (None, vectors.revision):
        raise MismatchError(
            f"vectors of {vectors.encoder!r} by revision {vectors.revision}",
            f"revision {recipe.encoder_revision}, as the recipe says",
            "give those, or mend the recipe",
        )
    match = match.only(vectors.gene_ids)
    share = match.share(matrix.sampled_totals)
    if share < MIN_COVERAGE:
        raise GeneMatchError(
            f"encoder {vectors.encoder!r} has vectors of {len(match.genes):,} of the reference's genes, "
            f"{share:.1%} of the expression",
            f"at least {MIN_COVERAGE:.0%}",
            "use an encoder that has more",
        )
    bound = recipe.with_encoder(vectors.encoder).bind(release, vectors.revision)
    return bound, vectors.of(match.genes), match


def _manifest(name: str, file: CellFile, matrix: Matrix, match: GeneMatch, projection: Projection) -> dict[str, Any]:
    return {
        "kind": "atlas",
        "name": name,
        "taxon_id": match.texts.taxon_id,
        "gene_texts_digest": match.texts.manifest["digest"],
        "recipe": projection.recipe.to_dict(),
        "recipe_sha256": projection.recipe.sha256(),
        "dimension": projection.dimension,
        "source": {"file": file.path.name, "bytes": file.path.stat().st_size},
        "matrix": matrix.to_dict(),
        "written_by": f"scvec {scvec.__version__}",
    }


def _finish(
    store: Store,
    name: str,
    cells: Snapshot,
    projection: Projection,
    manifest: dict[str, Any],
    spec: IndexSpec,
    progress: Progress,
) -> None:
    """Write the files of a version: projection, index with its recall, and last the manifest; all of them or none."""
    folder = version_folder(name, cells.version)
    rows = cells.read(["row", "empty", "vector"])
    filled = ~np.asarray(rows["empty"])
    ids, vectors = np.asarray(rows["row"])[filled], vectors_from_arrow(rows["vector"])[filled]
    if not len(ids):
        raise InputError(
            f"no cell of atlas {name!r} has expression on a known gene",
            "at least one that has",
            "check the matrix",
        )
    hashes: dict[str, str] = {}

    def put(file: str, key: str, write: Callable[[Path], None]) -> None:
        def write_and_hash(path: Path) -> None:
            write(path)
            hashes[key] = sha256(path)

        store.put_file(f"{folder}/{file}", write_and_hash)

    try:
        with progress("indexing", 1) as advance:
            index = indexes.build(spec.factory, ids, vectors)
            measured = indexes.measure(index, ids, vectors, spec)
            advance(1)
        put("projection.safetensors", "projection_sha256", projection.save)
        put("index", "index_sha256", index.save)
        made = {
            "factory": spec.factory,
            "metric": "cosine",
            "rows": len(ids),
            "search": index.parameters,
            **measured,
        }
        store.write_json(f"{folder}/manifest.json", {**manifest, "index": made, **hashes})
    except BaseException:
        store.remove(folder)
        raise
