"""Options of the verbs that label a query."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scvec.cli.options.cells import CELLS, ReadFlags, UseRepOption
from scvec.cli.options.common import LabelsOption, keywords, panel
from scvec.knn.options import DEFAULT, Weights

if TYPE_CHECKING:
    from scvec.annotation.options import QueryOptions

ReferenceOption = panel("Reference cells")
VoteOption = panel("Vote")
ClustersOption = panel("Clusters")
RejectionOption = panel("Rejection and roll-up")
NamesOption = panel("Names for unknown cells")
ReadoutOption = panel("Second opinion: readout")

QueryArgument = Annotated[str, typer.Argument(help=f"Query cells, never changed ({CELLS}).", metavar="QUERY")]
AtlasOption = Annotated[str, typer.Option(help="Reference atlas.")]
LABEL_KEY = "Column of obs with the author's labels."
LabelMapOption = Annotated[
    Path | None,
    LabelsOption(help="The atlas's name of each of the author's labels: JSON, or CSV with columns query and atlas."),
]
WhereOption = Annotated[
    str | None, ReferenceOption(help="Search only these reference cells, in SQL: \"tissue = 'pancreas'\".")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesFlags:
    """Whether unknown cells get names: an option that ``query`` and ``report`` share."""

    suggest_names: Annotated[
        bool,
        NamesOption(
            "--suggest-names",
            help="Also name groups of unknown cells by the texts of their genes; --tissue helps. See scvec name.",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFlags(ReadFlags):
    """How a query is called: the options that ``query``, ``report`` and ``evaluate`` share."""

    use_rep: UseRepOption = None
    where: WhereOption = None
    allow: Annotated[list[str] | None, ReferenceOption(help="Call only this label; repeatable.")] = None
    block: Annotated[list[str] | None, ReferenceOption(help="Never call this label; repeatable.")] = None
    recipe: Annotated[str | None, ReferenceOption(help="Fail unless the atlas was built with this recipe.")] = None
    encoder: Annotated[str | None, ReferenceOption(help="Fail unless the atlas was built with this encoder.")] = None
    k: Annotated[int, VoteOption(help="Number of nearest neighbours that vote.")] = DEFAULT.k
    weights: Annotated[
        Weights, VoteOption(help="Weight of a vote: 1 / (distance + 0.001), or exp(-distance / temperature).")
    ] = DEFAULT.weights
    temperature: Annotated[
        float, VoteOption(help="Softmax temperature; lower values favour the nearest neighbours.")
    ] = DEFAULT.temperature
    frequency: Annotated[float, VoteOption(help="Correct votes for label frequency: 0 = not at all, 1 = fully.")] = (
        DEFAULT.frequency
    )
    adapt: Annotated[
        Literal["auto", "off"],
        VoteOption(help="auto: meet what moves all of a query, such as another study; off: each cell alone."),
    ] = "auto"
    max_error: Annotated[
        float | None,
        RejectionOption(help="Accepted share of wrong calls, such as 0.05; less certain calls become unknown."),
    ] = None
    sets: Annotated[bool, RejectionOption("--sets", help="Also list all labels that may be right.")] = False
    roll_up: Annotated[
        float | None,
        RejectionOption(
            help="Also give the most specific Cell Ontology term that has this share of the votes, such as 0.8."
        ),
    ] = None
    cluster_key: Annotated[
        str | None, ClustersOption(help="Column of obs with clusters; each cluster gets a call too.")
    ] = None
    cluster: Annotated[
        str | None, ClustersOption(help="Make clusters, and call each: leiden, or leiden:RESOLUTION.")
    ] = None
    readout: Annotated[
        str | None, ReadoutOption(help="Also label cells with this trained readout; see scvec interpret.")
    ] = None
    readout_model: Annotated[
        str | None, ReadoutOption(help="Language model of the readout, if it is no longer where it was.")
    ] = None

    def asked(self, cluster: str | None) -> QueryOptions:
        """Return the same as the library's value, with the method that makes `cluster`."""
        from scvec.annotation.options import QueryOptions
        from scvec.knn.options import Voting

        given = keywords(self, QueryOptions) | {"k": None, "voting": Voting(**keywords(self, Voting))}
        return QueryOptions(**given | {"cluster": cluster})
