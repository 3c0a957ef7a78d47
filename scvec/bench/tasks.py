"""Writes a task as two files of the same form: values in X; label, batch and label_id in ``obs``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scvec.bench.suite import FIX, Task, slug
from scvec.core.files import placing, sha256
from scvec.core.limits import bounded_json, read_file
from scvec.core.types import Strings
from scvec.embed.projection import normalise
from scvec.embed.recipe import TARGET_SUM
from scvec.errors import InputError, unknown
from scvec.ingest import open_cells
from scvec.ingest.cells import VAR_NAMES, CellFile, Matrix
from scvec.ingest.cells.selection import Selection
from scvec.ingest.genes.gene_table import newest_tables, offered_tables, open_table
from scvec.ingest.genes.orthologs import Orthologs, orthologs
from scvec.ingest.matching import match_genes
from scvec.store import Store

if TYPE_CHECKING:
    from anndata import AnnData

LABEL, BATCH, LABEL_ID = "label", "batch", "label_id"
FORMAT = 1
N_VARIABLE = 2000
"""The query's genes are drawn from this many of the reference's, those whose log1p values vary most."""


@dataclass(frozen=True)
class Prepared:
    """A task's files.

    Attributes
    ----------
    task, seed
        What they were made from; the seed is None if it does not matter.
    folder
        Where they are.
    digest, reference_digest
        Hash of what decides them, and the reference alone: definition, bytes of the sources, seed.
    """

    task: Task
    seed: int | None
    folder: Path
    digest: str
    reference_digest: str

    @property
    def reference(self) -> Path:
        """The labelled cells."""
        return self.folder / "reference.h5ad"

    @property
    def query(self) -> Path:
        """The cells to label."""
        return self.folder / "query.h5ad"

    @property
    def renamed_query(self) -> Path:
        """The query with the reference's gene names, for methods that match genes by name."""
        return self.query if self.task.query_taxon is None else self.folder / "query_renamed.h5ad"

    @cached_property
    def truth(self) -> Strings:
        """(n,) author labels of the query's cells, or their ids if ids are compared."""
        with open_cells(self.query) as file:
            return file.labels(LABEL_ID if self.task.compare_ids else LABEL, "label_key")

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """What each label of the reference is compared as: the label, or its id."""
        with open_cells(self.reference) as file:
            labels = file.labels(LABEL, "label_key")
            other = file.labels(LABEL_ID, "label_id_key") if self.task.compare_ids else labels
        return dict(zip(labels.tolist(), other.tolist(), strict=True))

    @property
    def known(self) -> list[str]:
        """The labels, or ids, that can be called."""
        return sorted(set(self._names.values()))

    def translated(self, labels: Strings) -> Strings:
        """Return labels of the reference as what they are compared as."""
        return np.array([self._names.get(one, one) for one in labels.tolist()], dtype=object)


def prepare(task: Task, seed: int | None, out: Path, store: Store) -> Prepared:
    """Write the files of a task, unless they exist; `seed` is None for a task without random draws.

    Raises
    ------
    InputError
        If a file, a column, a value or a label is missing, or no cell is left.
    """
    folder = out / "tasks" / (slug(task.name) + ("" if seed is None else f"-seed{seed}"))
    prepared = Prepared(task, seed, folder, *_digests(task, seed, store))
    about = folder / "task.json"
    if _written(about) == prepared.digest:
        return prepared
    about.unlink(missing_ok=True)
    reference, query = _split(task, seed or 0)
    if task.query_genes is not None:
        query = _cut(task, reference, query, task.query_genes, seed or 0)
    for path, cells in ((prepared.reference, reference), (prepared.query, query)):
        with placing(path) as part:
            cells.write_h5ad(part, compression="lzf")
    if task.query_taxon is not None:
        with placing(prepared.renamed_query) as part:
            _renamed(prepared, query, store).write_h5ad(part, compression="lzf")
    said = {"name": task.name, "digest": prepared.digest, "n_reference": reference.n_obs, "n_query": query.n_obs}
    with placing(about) as part:
        part.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    return prepared


def digest(*parts: object) -> str:
    """Return the hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digests(task: Task, seed: int | None, store: Store) -> tuple[str, str]:
    sources = {key: _bytes_of(path) for key in ("reference", "query") if (path := getattr(task, key)) is not None}
    definition = {**asdict(task), "query": None, **sources}
    for key in ("name", "group", "panel"):
        del definition[key]
    # Orthologs come from the gene texts, or from the packaged identifiers.
    texts = [] if task.query_taxon is None else [one.digest for one in newest_tables(store)]
    of_query = ("query", "query_taxon", "query_genes", "genes_from", "query_label_key", "compare_ids")
    of_reference = {key: value for key, value in definition.items() if key not in of_query}
    return (
        digest(FORMAT, definition, seed, texts),
        digest(FORMAT, of_reference, seed if task.draws_reference else None),
    )


def _bytes_of(path: Path) -> str:
    with open_cells(path) as file:  # raises if the file is missing or truncated
        if not path.is_file():
            return file.fingerprint()
        state = path.stat()
    return _hashed(path, state.st_size, state.st_mtime_ns)


@lru_cache
def _hashed(path: Path, size: int, changed: int) -> str:
    del size, changed
    return sha256(path)


def _written(about: Path) -> str | None:
    try:
        return str(bounded_json(read_file(about))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _split(task: Task, seed: int) -> tuple[AnnData, AnnData]:
    """Return reference and query."""
    rng = np.random.default_rng(seed)
    with open_cells(task.reference, None, Selection(label_key=task.label_key)) as file:
        reference = _cells(file, task, is_query=False)
        labels = reference.obs[LABEL].to_numpy(str)
        held_out = _held_out(file, task, labels, rng)
    if task.query is None:
        query = reference[held_out].copy()
    else:
        asked = task.label_id_key if task.compare_ids else task.query_label_key or task.label_key
        with open_cells(task.query, None, Selection(label_key=asked)) as file:
            query = _cells(file, task, is_query=True)
    kept = ~held_out
    if task.remove_class is not None:
        if task.remove_class not in labels:
            raise unknown("label for remove_class", task.remove_class, sorted(set(labels)), task.reference)
        kept &= labels != task.remove_class
    if task.cells_per_class is not None:
        n = task.cells_per_class
        kept &= _drawn(np.where(kept, labels, ""), dict.fromkeys(labels[kept], n), rng)
    for cells, kind in ((reference[kept], "reference"), (query, "query")):
        if not cells.n_obs:
            raise InputError(f"task {task.name!r} leaves no cell in the {kind}", fix=FIX)
    return reference[kept].copy(), query


def _held_out(file: CellFile, task: Task, labels: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return (n,) which of the reference's cells are the query."""
    asked = task.hold_out
    if asked is None:
        return np.zeros(len(labels), bool)
    if asked.share is not None:
        names, counts = np.unique(labels, return_counts=True)
        wanted = {str(name): round(asked.share * n) for name, n in zip(names, counts.tolist(), strict=True)}
        return _drawn(labels, wanted, rng)
    column = file.labels(asked.key, "hold_out").astype(str)
    for value in asked.values:
        if value not in column:
            raise unknown(f"value in obs[{asked.key!r}]", value, sorted(set(column)), file.path)
    return np.isin(column, asked.values)


def _drawn(labels: NDArray[np.str_], wanted: Mapping[str, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return (n,) True for at most so many cells of each label; a smaller draw by the same seed is a subset."""
    chosen = np.zeros(len(labels), bool)
    for name in sorted(wanted):
        chosen[rng.permutation(np.flatnonzero(labels == name))[: wanted[name]]] = True
    return chosen


def _cells(file: CellFile, task: Task, *, is_query: bool) -> AnnData:
    """Return all cells of a file, with only what a task needs."""
    import pandas as pd
    from anndata import AnnData

    label_key = (task.query_label_key or task.label_key) if is_query else task.label_key
    keys = {LABEL: label_key, BATCH: task.batch_key, LABEL_ID: task.label_id_key}
    # A query needs no batch, and no label if ids are compared.
    optional = {BATCH, LABEL if task.compare_ids else LABEL_ID} if is_query else set()
    asked = {
        name: key for name, key in keys.items() if key is not None and (name not in optional or key in file.obs_keys)
    }
    obs = {name: pd.Categorical(file.labels(key, f"{name}_key").tolist()) for name, key in asked.items()}
    with file.matrix(task.layer) as matrix:
        x = sp.csr_matrix(sp.vstack([batch for _, batch in matrix.batches("reading")], format="csr"))
        columns = {key: matrix.gene_names(key).tolist() for key in matrix.gene_keys if key != VAR_NAMES}
        var = pd.DataFrame(columns, index=matrix.gene_names().astype(str).tolist())
    return AnnData(x, obs=pd.DataFrame(obs, index=file.obs_names.astype(str).tolist()), var=var)


def _cut(task: Task, reference: AnnData, query: AnnData, n: int, seed: int) -> AnnData:
    """Return the query as measured by a panel of n genes: only their values."""
    names = query.var_names.to_numpy(str)
    if task.genes_from == "all":
        offered, of = names, "genes that the query has"
    else:
        with open_cells(task.reference) as file, file.matrix(task.layer) as matrix:
            ordered = reference.var_names.to_numpy(str)[_by_variance(reference, matrix)]
        most = N_VARIABLE if task.genes_from == "variable" else len(ordered)
        offered, of = (
            ordered[:most][np.isin(ordered[:most], names)],
            "reference's most variable genes that the query has",
        )
    if len(offered) < n:
        raise InputError(
            f"task {task.name!r} has query_genes = {n}", f"at most {len(offered):,}, the number of the {of}", FIX
        )
    drawn = offered if task.genes_from == "top" else np.random.default_rng(seed).permutation(offered)
    return query[:, np.isin(names, drawn[:n])].copy()


def _by_variance(cells: AnnData, matrix: Matrix) -> NDArray[np.int64]:
    """Return the columns, those whose log1p values vary most first."""
    logged = normalise(sp.csr_matrix(cells.X), matrix.values, TARGET_SUM).astype(np.float64)
    means = np.asarray(logged.mean(axis=0)).ravel()
    squares = np.asarray(logged.multiply(logged).mean(axis=0)).ravel()
    return np.asarray(np.argsort(-(squares - means**2), kind="stable"), np.int64)


def _renamed(prepared: Prepared, query: AnnData, store: Store) -> AnnData:
    """Return the query with each gene's first column named as in the reference; the others get unique names."""
    with open_cells(prepared.reference) as file, file.matrix() as matrix:
        there = match_genes(matrix, offered_tables(store, None))
    own = open_table(store, prepared.task.query_taxon or "")
    with open_cells(prepared.query) as file, file.matrix() as matrix:
        here = match_genes(matrix, [own])
    if own.taxon_id != there.gene_table.taxon_id:
        here = here.through(Orthologs.one_to_one(orthologs(own, there.gene_table)), there.gene_table)
    genes, first = np.unique(there.gene_ids, return_index=True)
    name_of = dict(zip(genes.tolist(), there.names[there.columns[first]].tolist(), strict=True))
    names = [f"{own.taxon_id}-{i}" for i in range(query.n_vars)]
    genes, first = np.unique(here.gene_ids, return_index=True)
    for gene, column in zip(genes.tolist(), here.columns[first].tolist(), strict=True):
        names[column] = name_of.get(gene, names[column])
    result: Any = query.copy()
    result.var = result.var[[]]
    result.var_names = names
    return result
