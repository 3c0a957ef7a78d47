"""What an atlas is made of, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scvec.errors import InputError
from scvec.ingest.cells import Cells
from scvec.ingest.cells.options import ReadChanges, ReadOptions
from scvec.ontology.matching import NO_MAP

if TYPE_CHECKING:
    from scvec.embed import GeneVectors
    from scvec.embed.recipe import Recipe
    from scvec.index import IndexSpec
    from scvec.ontology import Ontology


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendOptions(ReadOptions):
    """How labelled cells are read; the fields are keywords of `scvec.atlas.extend`.

    Attributes
    ----------
    label_key, batch_key, label_id_key
        Columns of ``obs``: the label of each cell; its donor or batch; its label's id, such as a Cell Ontology id. None
        for an atlas that is extended: those with which it was built.
    ontology, label_map
        If no column has the labels' ids: the Cell Ontology in which they are found by the labels' names, and your own
        ids by label, which take precedence. None: no ids.
    dataset
        The dataset of a single file; None: the file's name, or ``"adata"``.
    shard_cells
        Number of cells that are read, embedded and staged at once; None: 32,768. Smaller shards take less memory, and
        are spread over more workers.
    obs, layer, scale, gene_key, taxon, use_rep, only, only_annotated, unlabelled
        As in `scvec.ReadOptions`.
    """

    label_key: str | None = None
    batch_key: str | None = None
    label_id_key: str | None = None
    ontology: Ontology | None = None
    label_map: Mapping[str, str] = field(default_factory=lambda: NO_MAP)
    dataset: str | None = None
    shard_cells: int | None = None


class ExtendChanges(ReadChanges, total=False):
    """The fields of `ExtendOptions`, as keywords."""

    label_key: str | None
    batch_key: str | None
    label_id_key: str | None
    ontology: Ontology | None
    label_map: Mapping[str, str]
    dataset: str | None
    shard_cells: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions(ExtendOptions):
    """What an atlas is made of; the fields are keywords of `scvec.atlas.build`.

    Attributes
    ----------
    label_key
        The column of ``obs`` with the label of each cell; it must be given.
    obs_keys
        Further columns of ``obs`` to keep, as strings; queries can be restricted by them.
    recipe
        How a cell becomes a vector: a `scvec.Recipe`, or the name of a built-in one. None: ``refined``.
    encoder
        The encoder of the gene texts, in place of the recipe's own.
    genes
        Gene vectors to use; None: those of the encoder in the store.
    release
        The release of the gene texts; None: the last one imported.
    panel, panel_taxon
        Cells, such as a query with few genes: only genes that they have too are used; their values are not. And their
        species, if that is not the reference's.
    index
        The index for searching; None: chosen by the number of cells.
    batch_key, label_id_key, ontology, label_map, dataset, shard_cells, obs, layer, scale, gene_key, taxon,
    use_rep, only, only_annotated, unlabelled
        As in `ExtendOptions`.
    """

    obs_keys: Sequence[str] = ()
    recipe: Recipe | str | None = None
    encoder: str | None = None
    genes: GeneVectors | None = None
    release: str | None = None
    panel: Cells | None = None
    panel_taxon: str | int | None = None
    index: IndexSpec | None = None

    @property
    def label(self) -> str:
        """The column of the labels; raises `InputError` if it was not given."""
        if self.label_key is None:
            raise InputError("`label_key` is missing", "the column of obs with the labels", "give `label_key`")
        return self.label_key


class BuildChanges(ExtendChanges, total=False):
    """The fields of `BuildOptions`, as keywords."""

    obs_keys: Sequence[str]
    recipe: Recipe | str | None
    encoder: str | None
    genes: GeneVectors | None
    release: str | None
    panel: Cells | None
    panel_taxon: str | int | None
    index: IndexSpec | None
