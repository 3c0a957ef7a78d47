"""How a query is called, as a frozen value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from scvec.errors import must_be
from scvec.ingest.cells.options import ReadChanges, ReadOptions
from scvec.knn.options import DEFAULT, Voting

Adapt: TypeAlias = Literal["auto", "off"]
"""Whether calls adapt to the query as a whole; see `QueryOptions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions(ReadOptions):
    """How the cells of a query are read and called; the fields are keywords of `scvec.annotate`.

    Attributes
    ----------
    k
        Number of neighbours that vote; None: that of `voting`.
    voting
        How they vote. Votes other than the default, and those under `where`, call by neighbours alone, without further
        views of the cell. Confidence is calibrated for the default votes of all labels. Other votes, and those under
        `where`, `allow` or `block`, get none, and cannot be combined with `max_error` and `sets`.
    where
        A condition in SQL on the columns of the atlas's ``obs``, as ``"tissue = 'pancreas'"``, for the reference cells
        to search; None: all.
    allow, block
        Labels that may be called (empty: all), and labels that may not. Only cells that may vote are searched, so that
        k of them are found.
    adapt
        ``"auto"``: the views of an atlas see the query as a whole, and meet what moves all of its cells, such as
        another study or platform, as far as the labels agree on it. A call then depends on the query's other cells
        too, not on their order. ``"off"``: it depends on its own cell alone, as it does under `where`, `allow` or
        `block`, and in a query of a few cells. Without effect for an atlas without further views.
    cluster_key, cluster
        Calls each cluster of the query too, in addition to its cells. Clusters are given by a column of the query's
        ``obs``, or made from its vectors: ``"leiden"`` or ``"leiden:RESOLUTION"`` (needs the extra ``cluster``).
    max_error
        The share of calls that may be wrong, among cells of types that the atlas has: calls of too low a confidence,
        and of cells that are too novel, become `scvec.UNKNOWN`, and ``label_before_rejection`` keeps their label. None:
        every cell with expression is called.
    sets
        Whether to give each cell a prediction set: labels that miss the right one for at most `max_error` (0.05 if that
        is None) of the cells.
    roll_up
        Gives each cell the deepest term of the Cell Ontology that has this share of its votes, a more general one where
        votes are split. Needs labels with ids, and the ontology in the store. None: no terms.
    obs, layer, scale, gene_key, taxon, use_rep, only, only_annotated, unlabelled
        As in `scvec.ReadOptions`. A query of another species than the atlas's is matched through orthologs;
        where `taxon` is None, one whose genes look like another species' is refused.
    """

    k: int | None = None
    voting: Voting = DEFAULT
    where: str | None = None
    allow: Sequence[str] = ()
    block: Sequence[str] = ()
    adapt: Adapt = "auto"
    cluster_key: str | None = None
    cluster: str | None = None
    max_error: float | None = None
    sets: bool = False
    roll_up: float | None = None

    def __post_init__(self) -> None:
        if self.adapt not in get_args(Adapt):
            raise must_be("adapt", "'auto' or 'off'", self.adapt)

    @property
    def votes(self) -> Voting:
        """How neighbours vote: `voting`, with `k` of them if that is given."""
        return self.voting if self.k is None else replace(self.voting, k=self.k)

    @property
    def selects(self) -> bool:
        """Whether only some of the reference cells may vote."""
        return self.where is not None or bool(self.allow) or bool(self.block)


class QueryChanges(ReadChanges, total=False):
    """The fields of `QueryOptions`, as keywords."""

    k: int | None
    voting: Voting
    where: str | None
    allow: Sequence[str]
    block: Sequence[str]
    adapt: Adapt
    cluster_key: str | None
    cluster: str | None
    max_error: float | None
    sets: bool
    roll_up: float | None
