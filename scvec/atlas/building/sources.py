"""The files of which an atlas is made: what they hold, and the genes of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scvec.atlas.building.options import ExtendOptions
from scvec.atlas.engine import Engine, Local
from scvec.atlas.rows import Keys, ids_of, obs_columns
from scvec.core.types import Floats, Ints, Strings
from scvec.embed.sample import SampledFile
from scvec.errors import ConflictError, GeneMatchError, InputError
from scvec.ingest.cells import CellFile, Cells, InMemory, Matrix, absolute, expand, in_memory, open_cells
from scvec.ingest.cells.scale import Totals, Values
from scvec.ingest.cells.selection import ALL_CELLS, Selection
from scvec.ingest.matching import MIN_COVERAGE, GeneMatch

if TYPE_CHECKING:
    from anndata import AnnData

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
    use_rep
        The array of ``obsm`` with the cells' vectors; None if these are made of expression.
    selection
        Which of its cells are read.
    held
        The cells, if they are in memory; `path` is then only their name.
    """

    path: str
    obs: str | None
    fingerprint: str
    dataset: str
    layer: str
    values: Values
    use_rep: str | None = None
    selection: Selection = ALL_CELLS
    held: AnnData | None = field(default=None, repr=False)

    @contextmanager
    def opened(self) -> Iterator[tuple[CellFile, Matrix]]:
        """Open the file and its matrix; raise `ConflictError` if it has changed."""
        with open_cells(self.path if self.held is None else self.held, self.obs, self.selection) as file:
            self.expect_unchanged(file)
            with file.matrix(self.layer, self.values) as matrix:
                yield file, matrix

    def expect_unchanged(self, file: CellFile) -> None:
        """Raise `ConflictError` if the open file is not as it was."""
        if file.fingerprint(self.layer, self.use_rep) != self.fingerprint:
            raise ConflictError(f"{file.path} was changed while it was read", fix="run the command again")


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
    given
        (n, d) vectors that come with the cells; None if they are not used.
    colors
        The colours of the labels, where the file has them.
    left_out, notes
        What is known of the cells of the file that are not read, as JSON types; and notes on them.
    """

    file: SourceFile
    match: GeneMatch
    sampled: Totals
    labels: Strings
    batches: Strings
    label_ids: dict[str, str]
    keyed: bool
    given: Floats | None = field(default=None, repr=False)
    colors: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, cells: Ints) -> sp.csr_matrix[np.float32]:
        """Return (m, n_vars) some of its cells, given by ascending positions."""
        with self.file.opened() as (_, matrix):
            return matrix.take(cells)

    def sampled_file(self) -> SampledFile:
        """Return the file as one from which cells are sampled."""
        return SampledFile(self.match, self.file.values, self.labels, self.batches, self.take, self.given)

    def to_dict(self) -> dict[str, Any]:
        """Return its entry in the manifest, as JSON types."""
        file = self.file
        return {
            "file": PurePosixPath(file.path).name,
            "dataset": file.dataset,
            "n_cells": len(self),
            "fingerprint": file.fingerprint,
            "matrix": {"key": file.layer, **file.values.to_dict()},
            **({} if file.use_rep is None else {"use_rep": file.use_rep}),
            **({"colors": dict(self.colors)} if self.colors else {}),
            **({"selection": dict(self.left_out)} if self.left_out else {}),
        }


def several(cells: Cells | Sequence[Cells]) -> list[Cells]:
    """Return cells as a list, files first; those of a pattern are the files that match it."""
    given: list[Any] = list(cells) if isinstance(cells, (list, tuple)) else [cells]
    held: list[Cells] = [one for one in given if in_memory(one) is not None]
    found = [*expand([one for one in given if in_memory(one) is None]), *held]
    if not found:
        raise InputError("no cells are given", "an AnnData or a file, or several", "name at least one")
    return found


def read_sources(
    cells: Sequence[Cells],
    keys: Keys,
    options: ExtendOptions,
    engine: Engine,
    matched: Callable[[Matrix], GeneMatch],
) -> list[Source]:
    """Open each of the cells and see what they hold; `matched` matches the columns of a matrix to genes.

    Raises
    ------
    InputError
        If a file, a column, a matrix or its genes are invalid, or cells in memory are to be read by other processes.
    """
    held = [one for one in cells if in_memory(one) is not None]
    if held and not isinstance(engine, Local):
        seen = "`engine` reads the cells in other processes, and some of them are in memory"
        raise InputError(seen, "files", "write the AnnData to a file, or leave `engine` out")
    if len(cells) > 1 and options.dataset is not None:
        seen = f"`dataset` names one file, but there are {len(cells)}"
        raise InputError(seen, fix="leave it out, or add the files one by one")
    names = dataset_names([str(one) for one in cells[: len(cells) - len(held)]])
    names += [InMemory().name] if len(held) == 1 else [f"{InMemory().name}{i + 1}" for i in range(len(held))]
    names = names if options.dataset is None else [options.dataset]
    return [_read(one, name, keys, options, matched) for one, name in zip(cells, names, strict=True)]


def _read(
    cells: Cells, dataset: str, keys: Keys, options: ExtendOptions, matched: Callable[[Matrix], GeneMatch]
) -> Source:
    held = in_memory(cells)
    cells, obs = cells if held is not None else absolute(cells), None if options.obs is None else absolute(options.obs)
    selection = options.labelled(keys.label)
    with open_cells(cells, obs, selection) as file:
        columns = obs_columns(file, keys)
        with file.matrix(options.layer, options.scale) as matrix:
            return Source(
                file=SourceFile(
                    path=InMemory().name if held is not None else str(cells),
                    obs=obs,
                    fingerprint=file.fingerprint(matrix.key, options.use_rep),
                    dataset=dataset,
                    layer=matrix.key,
                    values=matrix.values,
                    use_rep=options.use_rep,
                    selection=selection,
                    held=held,
                ),
                match=matched(matrix),
                sampled=matrix.sampled_totals,
                labels=columns["label"],
                batches=columns["batch"],
                label_ids=ids_of(columns["label"], columns["label_id"], str(file.path)),
                keyed=keys.label_id is not None,
                given=None if options.use_rep is None else file.given(options.use_rep),
                colors=file.colors(keys.label),
                left_out=file.left_out,
                notes=file.selection_notes,
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


def dataset_names(paths: Sequence[str | Path]) -> list[str]:
    """Return the dataset of each file: the file's name, with as many of its folders as distinguish it from the others.

    Raises
    ------
    InputError
        If a file occurs twice.
    """
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
