"""The files that an atlas is made of: what they hold, and which of their columns are which genes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec.atlas.rows import Keys, ids_of, obs_columns
from scvec.core.types import Ints, Strings
from scvec.embed.sample import Part
from scvec.errors import ConflictError, GeneMatchError, InputError
from scvec.ingest.cells import AskedScale, Matrix, absolute, open_cells
from scvec.ingest.cells.scale import Totals, Values
from scvec.ingest.matching import MIN_COVERAGE, GeneMatch

GENERIC = {"filtered_feature_bc_matrix", "raw_feature_bc_matrix", "matrix", "counts", "outs", "adata", "data"}
"""What pipelines call every file: the name of the folder tells more."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of labelled cells.

    Attributes
    ----------
    path, obs
        The file, and a table of its cells' annotations beside it, if there is one: absolute paths, or URIs.
    fingerprint
        Changes when the file does.
    dataset
        What its cells are said to be of.
    layer, values
        Which matrix is read, and what it holds.
    match
        The columns that are the atlas's genes.
    sampled
        (n_vars,) expression of its columns in a sample of its cells.
    labels, batches
        (n,) label and batch of each cell.
    label_ids
        The id of each label; "" where it has none.
    keyed
        Whether these are from a column.
    """

    path: str
    obs: str | None
    fingerprint: str
    dataset: str
    layer: str
    values: Values
    match: GeneMatch
    sampled: Totals
    labels: Strings
    batches: Strings
    label_ids: dict[str, str]
    keyed: bool

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, cells: Ints) -> sp.csr_matrix[np.float32]:
        """Return (m, n_vars) some of its cells, given by ascending positions."""
        with open_cells(self.path, self.obs) as file:
            expect(file.fingerprint(), self.fingerprint, self.path)
            with file.matrix(self.layer, self.values) as matrix:
                return matrix.take(cells)

    def part(self) -> Part:
        """Return it as what a sample is drawn from."""
        return Part(self.match, self.values, self.labels, self.batches, self.take)

    def to_dict(self) -> dict[str, Any]:
        """Return what the manifest says of it, as JSON types."""
        return {
            "file": PurePosixPath(self.path).name,
            "dataset": self.dataset,
            "n_cells": len(self),
            "fingerprint": self.fingerprint,
            "matrix": {"key": self.layer, "scale": self.values.scale, "log1p_total": self.values.log1p_total},
        }


def read_source(
    path: str | Path,
    obs: str | Path | None,
    dataset: str,
    keys: Keys,
    layer: str | None,
    scale: AskedScale,
    matched: Callable[[Matrix], GeneMatch],
) -> Source:
    """Open a file and see what it holds; `matched` says which of its columns are which genes.

    Raises
    ------
    InputError
        If the file, a column, the matrix or its genes are of no use.
    """
    path, obs = absolute(path), None if obs is None else absolute(obs)
    with open_cells(path, obs) as file:
        fingerprint, columns = file.fingerprint(), obs_columns(file, keys)
        with file.matrix(layer, scale) as matrix:
            return Source(
                path=path,
                obs=obs,
                fingerprint=fingerprint,
                dataset=dataset,
                layer=matrix.key,
                values=matrix.values,
                match=matched(matrix),
                sampled=matrix.sampled_totals,
                labels=columns["label"],
                batches=columns["batch"],
                label_ids=ids_of(columns["label"], columns["label_id"], path),
                keyed=keys.label_id is not None,
            )


def on_common_genes(sources: Sequence[Source]) -> list[Source]:
    """Return the files with the genes that all of them have: a gene that one lacks would tell the files apart.

    Raises
    ------
    GeneMatchError
        If these make less than half of what one of them expresses.
    """
    common = sources[0].match.genes
    for source in sources[1:]:
        common = common[np.isin(common, source.match.gene_ids)]
    for source in sources:
        share = source.match.only(common).share(source.sampled) / (source.match.share(source.sampled) or 1.0)
        if share < MIN_COVERAGE:
            raise GeneMatchError(
                f"{len(common):,} genes are in all {len(sources)} files, {share:.0%} of what {source.path} expresses",
                f"at least {MIN_COVERAGE:.0%}",
                "leave out the file that lacks the others' genes, or make an atlas of it alone",
            )
    return [replace(source, match=source.match.only(common)) for source in sources]


def expect(found: str, wanted: str, path: str) -> None:
    """Raise `ConflictError` if a file is not as it was."""
    if found != wanted:
        raise ConflictError(f"{path} was changed while it was read", "it as it was", "run the command again")


def dataset_names(paths: Sequence[str | Path], given: str | None = None) -> list[str]:
    """Return what the cells of each file are said to be of: its name, with its folders' as far as they are needed.

    Raises
    ------
    InputError
        If one name is `given` for several files, or two files are one.
    """
    if given is not None:
        if len(paths) > 1:
            raise InputError(
                f"--dataset {given} for {len(paths)} files", "one file", "leave it out, or add them one by one"
            )
        return [given]
    parts = [_named_parts(path) for path in paths]
    names = [own[-1] for own in parts]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        twice = {name for name in names if names.count(name) > 1}
        names = ["/".join(own[-depth:]) if name in twice else name for name, own in zip(names, parts, strict=True)]
    if len(set(names)) < len(names):
        twice = {name for name in names if names.count(name) > 1}
        raise InputError(f"the file {min(twice)} is given twice", "each file once", "leave one out")
    return names


def _named_parts(path: str | Path) -> list[str]:
    """Return the folders and the name of a file, without its endings, as far as they say anything."""
    pure = PurePosixPath(str(path).partition("://")[2] or Path(path).resolve())
    name = pure.name
    for ending in (".gz", ".h5ad", ".h5", ".zarr", ".zip"):
        name = name.removesuffix(ending)
    parts = [*(one for one in pure.parts[:-1] if one != "/"), name]
    while len(parts) > 1 and parts[-1] in GENERIC:
        parts.pop()
    return parts
