"""The result of a query: a frozen value that becomes a frame or part of an AnnData."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scvec.annotation.second_opinions import Reranked, SecondOpinion
from scvec.core.arrow import lists
from scvec.core.types import Floats, Ints, Neighbors, Strings
from scvec.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from anndata import AnnData

    from scvec.atlas.query_cells import QueryCells


NO_EXPRESSION, NOVEL, LOW_CONFIDENCE = "no_expression", "novel", "low_confidence"
"""Reasons for the call `UNKNOWN`: see `Annotation.reason`."""

RENAMED = {"nearest": "label_before_rejection", "odd_genes": "unexpected_genes"}
"""Columns and attributes of 0.6, which stay beside the new ones until 0.8."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The term of the Cell Ontology that enough votes agree on, for each cell.

    Attributes
    ----------
    ids, names
        (n,) "" where no term has enough votes.
    depth
        (n,) steps from the root, by the longest path; -1 where there is no term.
    support
        (n,) the share of the votes for labels that are the term or a kind of it.
    """

    ids: Strings
    names: Strings
    depth: Ints
    support: Floats


@dataclass(frozen=True, slots=True)
class Annotation:
    """The calls for the n cells of one query, in the order of its file.

    Attributes
    ----------
    obs_names
        (n,) names of the query's cells.
    label
        (n,) the label called; `UNKNOWN` where `rejected`.
    label_id
        (n,) the label's id in the atlas (a Cell Ontology id, say); "" where there is none.
    label_before_rejection
        (n,) the label with most votes, also where the call was rejected; `UNKNOWN` where nothing voted.
    reason
        (n,) why the call is `UNKNOWN`: `NO_EXPRESSION`, the cell expresses none of the atlas's genes; `NOVEL`, it is
        more novel than 95 % of the held-out cells of known types; `LOW_CONFIDENCE`, its confidence is below its label's
        threshold; "" where it is not.
    confidence
        (n,) the chance that `label_before_rejection` is right for a cell of a type that the atlas has, calibrated on
        held-out cells; NaN where `reason` is `NO_EXPRESSION`, and for votes other than the default ones of all labels.
    novelty
        (n,) how unlike the held-out cells of known types the cell is, from 0; NaN likewise.
    unexpected_genes
        (n,) symbols of the genes expressed farthest above that label, the first few, joined by ``", "``.
    score
        (n,) that label's share of the votes, 0 to 1.
    distance
        (n,) cosine distance to the nearest reference cell; NaN where `reason` is `NO_EXPRESSION`.
    rejected
        (n,) True where the call is `UNKNOWN`, whatever the reason.
    labels
        (L,) all labels of the atlas, sorted.
    scores
        (n, L) every label's share of the votes.
    neighbors
        (n, k) ids and distances of the neighbours.
    neighbor_names
        (n, k) cell ids of the neighbours; "" where there are fewer than k.
    vectors
        (n, d) the cells' unit vectors; zeros where `reason` is `NO_EXPRESSION`.
    provenance
        The atlas, its recipe and version, the matrix used, the gene coverage; JSON types.
    notes
        What a reader should know about how the calls were made.
    sets
        For each cell, the labels that may be right, most votes first; None unless prediction sets were asked for.
    terms
        The terms of the Cell Ontology that enough votes agree on; None unless a roll-up was asked for.
    cluster, cluster_label, cluster_share
        (n,) the name of each cell's cluster, "" where it is in none; the label called for that cluster; that label's
        share of the votes of its cells, 0 to 1. None unless clusters were asked for.
    reranked, second
        The labels as an LLM reordered them, and the calls of a readout; None unless these were asked for.
    source
        The query, from which `query` is taken.
    """

    obs_names: Strings
    label: Strings
    label_id: Strings
    label_before_rejection: Strings
    reason: Strings
    confidence: Floats
    novelty: Floats
    unexpected_genes: Strings
    score: Floats
    distance: Floats
    rejected: NDArray[np.bool_]
    labels: tuple[str, ...]
    scores: Floats
    neighbors: Neighbors
    neighbor_names: Strings
    vectors: Floats
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    sets: tuple[tuple[str, ...], ...] | None = None
    terms: Terms | None = None
    cluster: Strings | None = None
    cluster_label: Strings | None = None
    cluster_share: Floats | None = None
    reranked: Reranked | None = None
    second: SecondOpinion | None = None
    source: QueryCells | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.obs_names)

    @property
    def query(self) -> QueryCells:
        """The cells that were called, and the atlas; raises `InputError` for calls that were not made by `annotate`."""
        if self.source is None:
            raise InputError("the calls do not know their query", "calls by annotate", "annotate the query")
        return self.source

    @property
    def nearest(self) -> Strings:
        """Deprecated name of `label_before_rejection`."""
        return self._renamed("nearest")

    @property
    def odd_genes(self) -> Strings:
        """Deprecated name of `unexpected_genes`."""
        return self._renamed("odd_genes")

    def _renamed(self, name: str) -> Strings:
        warnings.warn(f"Annotation.{name} is now {RENAMED[name]}", DeprecationWarning, stacklevel=3)
        values: Strings = getattr(self, RENAMED[name])
        return values

    @property
    def other_calls(self) -> dict[str, Strings]:
        """Calls by other means (of clusters, an LLM, a readout), by their column in the frame: (n,) labels each."""
        found = {} if self.cluster_label is None else {"cluster_label": self.cluster_label}
        found |= {} if self.reranked is None else {"reranked_label": self.reranked.label}
        return found | ({} if self.second is None else {"readout_label": self.second.label})

    def to_frame(self, n_alternatives: int = 2) -> pl.DataFrame:
        """Return one row for each cell: the call, its runners-up, its neighbours.

        Parameters
        ----------
        n_alternatives
            Number of further labels to give, as ``label_2``, ``score_2`` and so on; null where a label got no vote.
        """
        import polars as pl

        columns: dict[str, Any] = {
            "obs_name": self.obs_names.tolist(),
            "label": self.label.tolist(),
            "label_id": [one or None for one in self.label_id.tolist()],
            "score": self.score,
            "distance": pl.Series(self.distance, nan_to_null=True),
            "rejected": self.rejected,
            "reason": pl.Series([one or None for one in self.reason.tolist()], dtype=pl.String),
            "label_before_rejection": self.label_before_rejection.tolist(),
            "confidence": pl.Series(self.confidence, nan_to_null=True),
            "novelty": pl.Series(self.novelty, nan_to_null=True),
            "unexpected_genes": [one or None for one in self.unexpected_genes.tolist()],
        }
        if self.sets is not None:
            columns["set"] = pl.Series([list(one) for one in self.sets], dtype=pl.List(pl.String))
        if self.terms is not None:
            columns |= {
                "term_id": pl.Series([one or None for one in self.terms.ids.tolist()], dtype=pl.String),
                "term": pl.Series([one or None for one in self.terms.names.tolist()], dtype=pl.String),
                "term_depth": pl.Series(
                    [one if one >= 0 else None for one in self.terms.depth.tolist()], dtype=pl.Int64
                ),
                "term_support": self.terms.support,
            }
        if self.cluster is not None and self.cluster_label is not None:
            columns["cluster"] = [one or None for one in self.cluster.tolist()]
            columns |= {"cluster_label": self.cluster_label.tolist(), "cluster_share": self.cluster_share}
        for opinion in (self.reranked, self.second):
            columns |= {} if opinion is None else opinion.frame_columns()
        order = np.argsort(-self.scores, axis=1, kind="stable")
        for rank in range(n_alternatives):
            columns |= self._alternative(order, rank)
        columns["neighbors"] = lists(self.neighbor_names, self.neighbor_names != "", pl.String)
        distances = self.neighbors.distances
        columns["neighbor_distances"] = lists(distances, np.isfinite(distances), pl.Float32)
        columns |= {old: columns[new] for old, new in RENAMED.items()}
        schema: dict[str, pl.DataType | type[pl.DataType]] = {
            "label_id": pl.String,
            "unexpected_genes": pl.String,
            "odd_genes": pl.String,
            **({} if self.cluster is None else {"cluster": pl.String}),
            **({} if self.reranked is None else dict.fromkeys(self.reranked.frame_columns(), pl.String)),
        }
        return pl.DataFrame(columns, schema_overrides=schema)

    def _alternative(self, order: Ints, rank: int) -> dict[str, Any]:
        """Return the columns of the runner-up at `rank`, 0 for the second label; ties are in the order of names."""
        import polars as pl

        names = np.array(self.labels, dtype=object)[order]
        scores = np.take_along_axis(self.scores, order, 1)
        others = np.argsort(names == self.label_before_rejection[:, None], axis=1, kind="stable")[
            :, : len(self.labels) - 1
        ]
        if rank >= others.shape[1]:
            empty = [None] * len(self)
            return {
                f"label_{rank + 2}": pl.Series(empty, dtype=pl.String),
                f"score_{rank + 2}": pl.Series(empty, dtype=pl.Float32),
            }
        rows, pick = np.arange(len(self)), others[:, rank]
        score = scores[rows, pick]
        label = [name if one > 0 else None for name, one in zip(names[rows, pick], score, strict=True)]
        return {
            f"label_{rank + 2}": pl.Series(label, dtype=pl.String),
            f"score_{rank + 2}": pl.Series(np.where(score > 0, score, np.nan), nan_to_null=True),
        }

    def to_adata(self, adata: AnnData) -> AnnData:
        """Return a copy of `adata` with the calls in ``obs``, ``obsm`` and ``uns``; `adata` is not changed.

        Other columns of ``obs`` that begin with ``scvec_`` belong to earlier calls and are left out.

        Raises
        ------
        InputError
            If the cells of `adata` are not those that were annotated, in the same order.
        """
        import pandas as pd

        self.check_cells(adata.obs_names.tolist(), "`adata`")
        result = adata.copy()
        columns = self.obs_columns()
        stale = [key for key in result.obs if key.startswith("scvec_") and key not in columns]
        result.obs = result.obs.drop(columns=stale)
        for key, values in columns.items():
            result.obs[key] = pd.Series(values, index=result.obs_names)
        for key, values in self.obsm_arrays(result.obs_names).items():
            result.obsm[key] = values
        result.uns["scvec"] = self.uns()
        return result

    def check_cells(self, names: Sequence[str], where: object) -> None:
        """Raise `InputError` if the cells in the file `where` are not those that were annotated, in the same order."""
        if list(names) != self.obs_names.tolist():
            seen = f"{where} has other cells than the calls"
            raise InputError(
                seen, "the annotated cells in their order", "annotate it, or give the file that was annotated"
            )

    def obs_columns(self) -> dict[str, Any]:
        """Return the columns of ``obs``; their categories are those that occur, as scanpy's plots expect."""
        import pandas as pd

        columns: dict[str, Any] = {
            "scvec_label": pd.Categorical(self.label.tolist()),
            "scvec_label_id": pd.Categorical([one or None for one in self.label_id]),
            "scvec_score": self.score,
            "scvec_distance": self.distance,
            "scvec_rejected": self.rejected,
            "scvec_reason": pd.Categorical(self.reason.tolist()),
            "scvec_label_before_rejection": pd.Categorical(self.label_before_rejection.tolist()),
            "scvec_confidence": self.confidence,
            "scvec_novelty": self.novelty,
            "scvec_unexpected_genes": pd.Categorical(self.unexpected_genes),
        }
        if self.sets is not None:
            columns["scvec_set"] = pd.Categorical(["; ".join(one) for one in self.sets])
        if self.terms is not None:
            columns |= {
                "scvec_term_id": pd.Categorical([one or None for one in self.terms.ids]),
                "scvec_term": pd.Categorical([one or None for one in self.terms.names]),
                "scvec_term_depth": self.terms.depth,
                "scvec_term_support": self.terms.support,
            }
        if self.cluster is not None and self.cluster_label is not None:
            columns |= {
                "scvec_cluster": pd.Categorical([one or None for one in self.cluster]),
                "scvec_cluster_label": pd.Categorical(self.cluster_label.tolist()),
                "scvec_cluster_share": self.cluster_share,
            }
        for opinion in (self.reranked, self.second):
            columns |= {} if opinion is None else opinion.obs_columns()
        return columns | {f"scvec_{old}": columns[f"scvec_{new}"] for old, new in RENAMED.items()}

    def obsm_arrays(self, index: pd.Index[str]) -> dict[str, Any]:
        """Return the entries of ``obsm``, by key; frames have the given `index`."""
        import pandas as pd

        return {
            "X_scvec": self.vectors,
            "scvec_scores": self.scores,
            "scvec_neighbors": pd.DataFrame(
                self.neighbor_names.astype(str),
                index=index,
                columns=[str(i + 1) for i in range(self.neighbor_names.shape[1])],
            ),
        }

    def uns(self) -> dict[str, Any]:
        """Return ``uns["scvec"]``: the labels of ``scvec_scores``'s columns, the notes, the provenance as JSON."""
        return {
            "labels": np.array(self.labels, dtype=object),
            "notes": np.array(self.notes, dtype=object),
            "provenance": json.dumps(self.provenance, sort_keys=True),
        }
