"""The files of which an atlas is made: what they hold, and the genes of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec.atlas.rows import Keys, ids_of, obs_columns
from scvec.core.types import Ints, Strings
from scvec.embed.sample import SampledFile
from scvec.errors import ConflictError, GeneMatchError, InputError
from scvec.ingest.cells import AskedScale, CellFile, Matrix, absolute, expand, open_cells
from scvec.ingest.cells.scale import Totals, Values
from scvec.ingest.matching import MIN_COVERAGE, GeneMatch

GENERIC = {"filtered_feature_bc_matrix", "raw_feature_bc_matrix", "matrix", "counts", "outs", "adata", "data"}
"""Names that pipelines give to every file: the name of the folder says more."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of cells, as it is found again by any process.

    Attributes
    ----------
    path, obs
        The file, and a separate table of its cells' annotations, if there is one: absolute paths or URIs.
    fingerprint
        Changes when the file changes.
    dataset
        The dataset of its cells.
    layer, values
        The matrix that is read, and its scale.
    """

    path: str
    obs: str | None
    fingerprint: str
    dataset: str
    layer: str
    values: Values

    @contextmanager
    def opened(self) -> Iterator[tuple[CellFile, Matrix]]:
        """Open the file and its matrix; raise `ConflictError` if it has changed."""
        with open_cells(self.path, self.obs) as file:
            self.expect_unchanged(file)
            with file.matrix(self.layer, self.values) as matrix:
                yield file, matrix

    def expect_unchanged(self, file: CellFile) -> None:
        """Raise `ConflictError` if the open file is not as it was."""
        if file.fingerprint() != self.fingerprint:
            raise ConflictError(f"{self.path} was changed while it was read", fix="run the command again")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of labelled cells.

    Attributes
    ----------
    file
        Where it is, and which matrix is read.
    match
        The columns that are the atlas's genes.
    sampled
        (n_vars,) expression of its columns in a sample of its cells.
    labels, batches
        (n,) label and batch of each cell.
    label_ids
        The id of each label; "" for a label without one.
    keyed
        Whether the ids are from a column.
    """

    file: SourceFile
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
        with self.file.opened() as (_, matrix):
            return matrix.take(cells)

    def sampled_file(self) -> SampledFile:
        """Return the file as one from which cells are sampled."""
        return SampledFile(self.match, self.file.values, self.labels, self.batches, self.take)

    def to_dict(self) -> dict[str, Any]:
        """Return its entry in the manifest, as JSON types."""
        file = self.file
        return {
            "file": PurePosixPath(file.path).name,
            "dataset": file.dataset,
            "n_cells": len(self),
            "fingerprint": file.fingerprint,
            "matrix": {"key": file.layer, "scale": file.values.scale, "log1p_total": file.values.log1p_total},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files of cells, and how they are read.

    Attributes
    ----------
    paths
        Paths, globs and URIs.
    keys
        The columns of ``obs`` to keep.
    obs
        A separate table of annotations; None: the files' own.
    dataset
        The dataset of a single file; None: the file's name.
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
        """Open each file and see what it holds; `matched` matches the columns of its matrix to genes.

        Raises
        ------
        InputError
            If a file, a column, a matrix or its genes are invalid.
        """
        paths = expand(self.paths)
        names = dataset_names(paths, self.dataset)
        return [self._read(path, name, matched) for path, name in zip(paths, names, strict=True)]

    def _read(self, path: str | Path, dataset: str, matched: Callable[[Matrix], GeneMatch]) -> Source:
        path, obs = absolute(path), None if self.obs is None else absolute(self.obs)
        with open_cells(path, obs) as file:
            fingerprint, columns = file.fingerprint(), obs_columns(file, self.keys)
            with file.matrix(self.layer, self.scale) as matrix:
                return Source(
                    file=SourceFile(path, obs, fingerprint, dataset, matrix.key, matrix.values),
                    match=matched(matrix),
                    sampled=matrix.sampled_totals,
                    labels=columns["label"],
                    batches=columns["batch"],
                    label_ids=ids_of(columns["label"], columns["label_id"], path),
                    keyed=self.keys.label_id is not None,
                )


def on_common_genes(sources: Sequence[Source]) -> list[Source]:
    """Return the files with only the genes that all of them have: a gene that one lacks would separate the files.

    Raises
    ------
    GeneMatchError
        If these genes have too small a share of the expression in one of the files.
    """
    common = sources[0].match.genes
    for source in sources[1:]:
        common = common[np.isin(common, source.match.gene_ids)]
    for source in sources:
        share = source.match.only(common).share(source.sampled) / (source.match.share(source.sampled) or 1.0)
        if share < MIN_COVERAGE:
            raise GeneMatchError(
                f"the {len(common):,} genes that all {len(sources)} files have are {share:.0%} of the expression in "
                f"{source.file.path}",
                f"at least {MIN_COVERAGE:.0%}",
                "leave out the file that lacks the others' genes, or build a separate atlas of it",
            )
    return [replace(source, match=source.match.only(common)) for source in sources]


def dataset_names(paths: Sequence[str | Path], given: str | None = None) -> list[str]:
    """Return the dataset of each file: the file's name, with as many of its folders as distinguish it from the others.

    Raises
    ------
    InputError
        If one name is `given` for several files, or a file occurs twice.
    """
    if given is not None:
        if len(paths) > 1:
            raise InputError(
                f"`dataset` names one file, but there are {len(paths)}", fix="leave it out, or add the files one by one"
            )
        return [given]
    parts = [_named_parts(path) for path in paths]
    names = [own[-1] for own in parts]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        twice = {name for name in names if names.count(name) > 1}
        names = ["/".join(own[-depth:]) if name in twice else name for name, own in zip(names, parts, strict=True)]
    if len(set(names)) < len(names):
        twice = {name for name in names if names.count(name) > 1}
        raise InputError(f"the file {min(twice)} is given twice", fix="leave one out")
    return names


def _named_parts(path: str | Path) -> list[str]:
    """Return the folders and the name of a file, without its endings and without generic names at the end."""
    pure = PurePosixPath(str(path).partition("://")[2] or Path(path).resolve())
    name = pure.name
    for ending in (".gz", ".h5ad", ".h5", ".zarr", ".zip"):
        name = name.removesuffix(ending)
    parts = [*(one for one in pure.parts[:-1] if one != "/"), name]
    while len(parts) > 1 and parts[-1] in GENERIC:
        parts.pop()
    return parts
