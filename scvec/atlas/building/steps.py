"""Steps that a build and an extension share: reading the files, their labels' ids, embedding and committing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec._version import __version__
from scvec.atlas.building.job import Job
from scvec.atlas.building.shards import Done, Shard, ShardSource, Work, cut, worker
from scvec.atlas.building.sources import Source, dataset_names, read_source
from scvec.atlas.engine import Engine
from scvec.atlas.rows import Keys, ids_of, table_schema
from scvec.core.types import Progress
from scvec.embed.projection import Embedding
from scvec.errors import InputError, StoreError
from scvec.ingest.cells import AskedScale, Matrix, expand
from scvec.ingest.matching import GeneMatch
from scvec.ontology import Ontology, match_labels
from scvec.store import ROWS_PER_FRAGMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files of cells, and how they are read.

    Attributes
    ----------
    paths
        Paths, globs and URIs.
    keys
        What is kept of ``obs``.
    obs
        A table of annotations beside them; None: their own.
    dataset
        What the cells of a single file are said to be of; None: its name.
    layer, scale
        Which matrix, and whether it holds counts or log1p values.
    """

    paths: Sequence[str | Path]
    keys: Keys
    obs: str | Path | None = None
    dataset: str | None = None
    layer: str | None = None
    scale: AskedScale = "auto"

    def read(self, matched: Callable[[Matrix], GeneMatch]) -> list[Source]:
        """Open each file and see what it holds."""
        paths = expand(self.paths)
        names = dataset_names(paths, self.dataset)
        return [
            read_source(path, self.obs, name, self.keys, self.layer, self.scale, matched)
            for path, name in zip(paths, names, strict=True)
        ]


def planned(sources: Sequence[Source]) -> dict[str, Any]:
    """Return what tells one lot of files, and the genes they were matched to, from another."""
    digests = [hashlib.sha256(one.match.columns.tobytes() + one.match.gene_ids.tobytes()) for one in sources]
    return {
        "written_by": f"scvec {__version__}",
        "sources": [
            source.to_dict() | {"path": source.path, "obs": source.obs, "genes": digest.hexdigest()}
            for source, digest in zip(sources, digests, strict=True)
        ],
    }


def label_ids(
    sources: Sequence[Source], ontology: Ontology | None, label_map: Mapping[str, str], known: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the id of each label, "" for one without, and what there is to say of those found by name.

    Parameters
    ----------
    sources
        Files whose labels have ids, or none.
    ontology, label_map
        Where ids are found by the labels' names, and ids that go before these.
    known
        Ids of labels that the atlas has already.

    Raises
    ------
    LabelError
        If a label has two ids.
    """
    given = any(source.keyed for source in sources)
    if given and (ontology is not None or label_map):
        raise InputError(
            "ids by --label-id-key and by --match-labels",
            "--label-id-key, or --match-labels with a --label-map or without",
            "choose one",
        )
    if ontology is None and label_map:
        raise InputError(
            "a map of labels", "--label-id-key, or --match-labels with a --label-map or without", "choose one"
        )
    if given:
        pairs = [*known.items(), *(pair for source in sources for pair in source.label_ids.items())]
        return ids_of([label for label, _ in pairs], [one for _, one in pairs], sources[0].path), []
    names = sorted({label for source in sources for label in source.label_ids} - set(known))
    if ontology is None:
        return {**dict.fromkeys(names, ""), **known}, []
    found = match_labels(ontology, names, label_map)
    return {**dict(zip(names, found.ids_of(np.array(names, object)), strict=True)), **known}, list(found.notes())


def embed_and_commit(
    job: Job,
    embedding: Embedding,
    sources: Sequence[Source],
    columns: Sequence[tuple[sp.csr_matrix[np.float32], float | None]],
    keys: Keys,
    ids: Mapping[str, str],
    first_row: int,
    commit: Callable[[list[str]], int],
    whole: bool,
    shard_cells: int | None,
    device: str,
    engine: Engine,
    progress: Progress,
) -> tuple[int, list[Done]]:
    """Embed all cells of the files and commit them; return the table's version and the shards.

    Parameters
    ----------
    job
        Knows what is done already.
    embedding
        How.
    sources, columns
        The files, and for each the columns of its matrix and the share, from `scvec.atlas.query_cells.placed`.
    keys, ids
        What is kept of the cells, and the id of each label.
    first_row
        The row id of the first cell.
    commit
        Makes a version of staged rows, and returns its number.
    whole
        Whether these are all rows of the table.
    shard_cells
        How many cells are read, embedded and staged at once; None: as many as a fragment of the table has.
    device, engine
        Where.
    progress
        Shows the cells done.
    """
    schema = table_schema(keys, embedding.dimension, embedding.recipe.dtype)
    work = Work(
        job.store.uri,
        job.table.path,
        whole,
        keys,
        schema,
        embedding,
        tuple(_for_shards(source, own, share, ids) for source, (own, share) in zip(sources, columns, strict=True)),
        device,
    )
    size = ROWS_PER_FRAGMENT if shard_cells is None else shard_cells
    shards = cut([len(source) for source in sources], first_row, size)
    job.store.mark()  # here, as several processes are about to write
    done = embed_all(job, work, shards, engine, progress)
    if job.is_committed():
        return job.table.latest().version, done
    version = commit([fragment for one in done for fragment in one.staged])
    job.note("committed", {"version": version})
    return version, done


def described(sources: Sequence[Source], done: Sequence[Done]) -> list[dict[str, Any]]:
    """Return what the manifest says of each file, with how much of its expression the atlas's genes cover."""
    said = []
    for number, source in enumerate(sources):
        totals = np.sum([one.totals for one in done if one.shard.source == number], axis=0)
        said.append(source.to_dict() | {"coverage": source.match.coverage(totals).to_dict()})
    return said


def _for_shards(
    source: Source, columns: sp.csr_matrix[np.float32], share: float | None, ids: Mapping[str, str]
) -> ShardSource:
    return ShardSource(
        path=source.path,
        obs=source.obs,
        fingerprint=source.fingerprint,
        dataset=source.dataset,
        layer=source.layer,
        values=source.values,
        columns=columns,
        share=share,
        label_ids={label: ids[label] for label in source.label_ids},
    )


def embed_all(job: Job, work: Work, shards: Sequence[Shard], engine: Engine, progress: Progress) -> list[Done]:
    """Have those shards embedded that are not yet, and return all of them in order.

    Raises
    ------
    StoreError
        If an engine lost a shard.
    """
    done = {number: one for number, one in job.done().items() if number < len(shards) and one.shard == shards[number]}
    with progress("embedding cells", sum(shard.stop - shard.start for shard in shards)) as advance:
        advance(sum(one.n_rows for one in done.values()))
        # Closed at once where this ends early: files are open, and other processes may be at work.
        with closing(engine.each(worker, work, [shard for shard in shards if shard.number not in done])) as made:
            for one in made:
                job.record(one)
                done[one.shard.number] = one
                advance(one.n_rows)
    lost = [shard.number for shard in shards if shard.number not in done]
    if lost:
        raise StoreError(f"{len(lost)} of {len(shards)} shards were not embedded", "all", "run the command again")
    return [done[shard.number] for shard in shards]
