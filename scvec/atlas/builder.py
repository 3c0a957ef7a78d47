"""Building an atlas: fit on the reference, embed it, index it; visible only when all of it is there.

A build writes its cells as one version of the table ``atlases/<name>/cells``, then the files of that version
(``atlases/<name>/v<version>/``: projection, index, manifest), and last moves the table's tag ``current``. Readers
follow the tag, so that a build which did not come to its end was not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import scvec
from scvec import index as indexes
from scvec.arrow import vectors_from_arrow
from scvec.atlas.binding import bind, match_reference, on_panel, recipe_for
from scvec.atlas.cells import Cells, obs_columns
from scvec.atlas.fitting import Fitted, fit_reference
from scvec.atlas.reference import (
    CURRENT,
    Atlas,
    cells_path,
    check_name,
    open_atlas,
    version_folder,
)
from scvec.embed import GeneVectors
from scvec.embed.sample import draw
from scvec.errors import ExistsError, InputError
from scvec.files import sha256
from scvec.ingest import open_h5ad
from scvec.ingest.cells.h5ad import AskedScale, CellFile, Matrix
from scvec.ingest.matching import GeneMatch
from scvec.ontology import Ontology, match_labels
from scvec.ontology.matching import NO_MAP
from scvec.spec import IndexSpec, Recipe
from scvec.store import Snapshot, Store
from scvec.types import Progress, Strings, silent


def build(
    store: Store,
    name: str,
    reference: str | Path,
    *,
    label_key: str,
    batch_key: str | None = None,
    label_id_key: str | None = None,
    ontology: Ontology | None = None,
    label_map: Mapping[str, str] = NO_MAP,
    obs_keys: Sequence[str] = (),
    genes: GeneVectors | None = None,
    recipe: Recipe | None = None,
    layer: str | None = None,
    scale: AskedScale = "auto",
    index: IndexSpec | None = None,
    gene_key: str | None = None,
    taxon: str | int | None = None,
    release: str | None = None,
    panel: str | Path | None = None,
    panel_taxon: str | int | None = None,
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
    ontology, label_map
        Where no column has the labels' ids: the Cell Ontology in which they are found by the labels' names, and ids of
        your own by label that go before these. None: no ids.
    obs_keys
        Further columns of ``obs`` to keep, as strings: what a query may be restricted by.
    genes
        Gene vectors to use; None: those of the recipe's encoder that are in the store.
    recipe
        How a cell becomes a vector; None: ``refined`` with the encoder of `genes`, or its own.
    layer, scale
        Which matrix, and whether it holds counts or log1p values.
    index
        How it is searched; None: FAISS ``Flat``.
    gene_key
        Column of ``var`` that names the genes; None: ``var_names``, or the usual column that covers more where these
        cover too little.
    taxon, release
        The gene texts; None: of the taxa in the store the one whose genes fit best, at its last release.
    panel, panel_taxon
        An h5ad, such as a query of few genes: only genes that it has too are used, and nothing of its values. Its
        species, where that is another than the reference's.
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
    recipe = recipe_for(recipe, genes)
    table = store.table(cells_path(name))
    existed = CURRENT in table.tags()
    if existed and not overwrite:
        raise ExistsError(f"there is an atlas {name!r}", "a new name", "choose another, or give --overwrite")
    try:
        with open_h5ad(reference) as file:
            columns = obs_columns(file, label_key, batch_key, label_id_key, obs_keys)
            label_notes = _find_ids(columns, ontology, label_map, label_id_key)
            with file.matrix(layer, scale) as matrix:
                match = match_reference(store, matrix, genes, gene_key, taxon, release)
                if panel is not None:
                    match = on_panel(store, match, matrix, panel, panel_taxon)
                bound, gene_vectors, match = bind(store, recipe, genes, match, matrix, progress)
                cells = Cells(matrix, match, file.obs_names, columns)
                batches = partial(matrix.batches, progress=progress)
                sample = draw(bound, match, batches, matrix.values, columns["label"], columns["batch"])
                if not len(sample):
                    raise _all_empty(name)
                fitted = fit_reference(bound, match.genes, gene_vectors, sample, progress)
                manifest = {
                    **_manifest(name, file, matrix, match, fitted),
                    "label_notes": label_notes,
                    "keys": {"label": label_key, "batch": batch_key, "label_id": label_id_key, "obs": list(obs_keys)},
                }
                version = table.write(
                    cells.embedded(fitted.embedding, progress), cells.schema(fitted.embedding.dimension), manifest
                )
        summary = {"version": version, "n_labels": len(set(columns["label"].tolist())), **cells.summary()}
        _finish(
            store,
            name,
            table.at(version),
            fitted,
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


def _all_empty(name: str) -> InputError:
    return InputError(
        f"no cell of atlas {name!r} has expression on a known gene", "at least one that has", "check the matrix"
    )


def _find_ids(
    columns: dict[str, Strings], ontology: Ontology | None, label_map: Mapping[str, str], label_id_key: str | None
) -> list[str]:
    """Put ids found by the labels' names into `columns`, and return what there is to say of them."""
    if ontology is None and not label_map:
        return []
    if ontology is None or label_id_key is not None:
        raise InputError(
            "a map of labels" if ontology is None else "ids by --label-id-key and by --match-labels",
            "--label-id-key, or --match-labels with a --label-map or without",
            "choose one",
        )
    found = match_labels(ontology, np.unique(columns["label"].astype(str)).tolist(), label_map)
    columns["label_id"] = found.ids_of(columns["label"])
    return list(found.notes())


def _manifest(name: str, file: CellFile, matrix: Matrix, match: GeneMatch, fitted: Fitted) -> dict[str, Any]:
    recipe = fitted.embedding.recipe
    return {
        "kind": "atlas",
        "name": name,
        "taxon_id": match.texts.taxon_id,
        "gene_texts_digest": match.texts.manifest["digest"],
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.sha256(),
        "dimension": fitted.embedding.dimension,
        "training": fitted.training,
        "source": {"file": file.path.name, "bytes": file.path.stat().st_size},
        "matrix": matrix.to_dict(),
        "written_by": f"scvec {scvec.__version__}",
    }


def _finish(
    store: Store,
    name: str,
    cells: Snapshot,
    fitted: Fitted,
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
        raise _all_empty(name)
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
        put("projection.safetensors", "projection_sha256", fitted.embedding.save)
        put("profiles.safetensors", "profiles_sha256", fitted.profiles.save)
        if fitted.calibration is not None:
            put("calibration.safetensors", "calibration_sha256", fitted.calibration.save)
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
