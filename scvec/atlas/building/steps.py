"""Steps that a build and an extension share: ids of labels, embedding and committing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec._version import __version__
from scvec.atlas.building.job import Job
from scvec.atlas.building.shards import Done, Shard, ShardSource, Work, cut, worker
from scvec.atlas.building.sources import Source
from scvec.atlas.engine import Compute
from scvec.atlas.rows import Keys, ids_of, table_schema
from scvec.embed.projection import Embedding
from scvec.errors import InputError, StoreError
from scvec.ingest.matching import GeneMatch
from scvec.ontology import Ontology, match_labels
from scvec.store import ROWS_PER_FRAGMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCells:
    """Cells that become rows of an atlas's table.

    Attributes
    ----------
    sources
        Their files.
    columns
        For each file, (n_vars, g) the map from its columns to the atlas's genes, and the share of expression on these:
        see `scvec.atlas.query_cells.placed`.
    keys, ids
        What is kept of the cells, and the id of each label.
    first_row
        The row id of the first cell.
    whole
        Whether they replace all rows of the table, or are added to them.
    shard_cells
        Number of cells that are read, embedded and staged at once; None: as many as a fragment of the table has.
    """

    sources: Sequence[Source]
    columns: Sequence[tuple[sp.csr_matrix[np.float32], float | None]]
    keys: Keys
    ids: Mapping[str, str]
    first_row: int = 0
    whole: bool = True
    shard_cells: int | None = None

    def shards(self) -> list[Shard]:
        """Cut the files into shards."""
        size = ROWS_PER_FRAGMENT if self.shard_cells is None else self.shard_cells
        return cut([len(source) for source in self.sources], self.first_row, size)

    def for_shards(self) -> tuple[ShardSource, ...]:
        """Return what a worker needs of each file."""
        return tuple(
            ShardSource(source.file, own, share, {label: self.ids[label] for label in source.label_ids})
            for source, (own, share) in zip(self.sources, self.columns, strict=True)
        )


def planned(sources: Sequence[Source]) -> dict[str, Any]:
    """Return what identifies these files and the genes to which they were matched."""
    digests = [hashlib.sha256(_matched(one.match)) for one in sources]
    return {
        "written_by": f"scvec {__version__}",
        "sources": [
            source.to_dict() | {"path": source.file.path, "obs": source.file.obs, "genes": digest.hexdigest()}
            for source, digest in zip(sources, digests, strict=True)
        ],
    }


def _matched(match: GeneMatch) -> bytes:
    weights = b"" if match.weights is None else match.weights.tobytes()
    return match.columns.tobytes() + match.gene_ids.tobytes() + weights


def label_ids(
    sources: Sequence[Source], ontology: Ontology | None, label_map: Mapping[str, str], known: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the id of each label, "" for a label without one, and notes on those matched by name.

    Parameters
    ----------
    sources
        Files, with or without ids of their labels.
    ontology, label_map
        The ontology in which ids are found by the labels' names, and ids that take precedence.
    known
        Ids of the atlas's existing labels.

    Raises
    ------
    InputError
        If ids are given in more than one way, or there is a `label_map` without an `ontology`.
    LabelError
        If a label has two ids.
    """
    given = any(source.keyed for source in sources)
    if given and (ontology is not None or label_map):
        raise InputError("`label_id_key` cannot be combined with `ontology` and `label_map`", fix="choose one")
    if ontology is None and label_map:
        raise InputError("`label_map` needs `ontology`", fix="give both, or neither")
    if given:
        pairs = [*known.items(), *(pair for source in sources for pair in source.label_ids.items())]
        return ids_of([label for label, _ in pairs], [one for _, one in pairs], sources[0].file.path), []
    names = sorted({label for source in sources for label in source.label_ids} - set(known))
    if ontology is None:
        return {**dict.fromkeys(names, ""), **known}, []
    found = match_labels(ontology, names, label_map)
    return {**dict(zip(names, found.ids_of(np.array(names, object)), strict=True)), **known}, list(found.notes())


def embed_and_commit(
    job: Job, embedding: Embedding, cells: NewCells, commit: Callable[[list[str]], int], compute: Compute
) -> tuple[int, list[Done]]:
    """Embed cells and commit them; return the table's version and the shards.

    Parameters
    ----------
    job
        Knows what is done already.
    embedding
        Makes the vectors.
    cells
        The cells.
    commit
        Makes a version of staged rows, and returns its number.
    compute
        Where the cells are embedded.
    """
    work = Work(
        store=job.store.address,
        table=job.table.path,
        whole=cells.whole,
        keys=cells.keys,
        schema=table_schema(cells.keys, embedding.dimension, embedding.recipe.dtype),
        embedding=embedding,
        sources=cells.for_shards(),
        device=compute.device,
    )
    shards = cells.shards()
    job.store.mark()  # here, as several processes are about to write
    done = embed_all(job, work, shards, compute)
    if job.is_committed():
        return job.table.latest().version, done
    version = commit([fragment for one in done for fragment in one.staged])
    job.note("committed", {"version": version})
    return version, done


def described(sources: Sequence[Source], done: Sequence[Done]) -> list[dict[str, Any]]:
    """Return each file's entry in the manifest, with its coverage by the atlas's genes."""
    said = []
    for number, source in enumerate(sources):
        totals = np.sum([one.totals for one in done if one.shard.source == number], axis=0)
        said.append(source.to_dict() | {"coverage": source.match.coverage(totals).to_dict()})
    return said


def embed_all(job: Job, work: Work, shards: Sequence[Shard], compute: Compute) -> list[Done]:
    """Embed the shards that are not yet embedded, and return all of them in order.

    Raises
    ------
    StoreError
        If an engine lost a shard.
    """
    done = {number: one for number, one in job.done().items() if number < len(shards) and one.shard == shards[number]}
    with compute.progress("embedding cells", sum(shard.stop - shard.start for shard in shards)) as advance:
        advance(sum(one.n_rows for one in done.values()))
        # Closed at once if this ends early: files are open, and other processes may be working.
        with closing(
            compute.engine.each(worker, work, [shard for shard in shards if shard.number not in done])
        ) as made:
            for one in made:
                job.record(one)
                done[one.shard.number] = one
                advance(one.n_rows)
    lost = [shard.number for shard in shards if shard.number not in done]
    if lost:
        raise StoreError(f"{len(lost)} of {len(shards)} shards were not embedded", fix="run the command again")
    return [done[shard.number] for shard in shards]
