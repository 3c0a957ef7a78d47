"""The result of a query: a frozen value that becomes a frame or part of an AnnData."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scvec.annotation.entries import DEFAULT_KEY, Entries, check_key, colors_of, obsm_names, rows_of
from scvec.annotation.second_opinions import Reranked, SecondOpinion, Suggested
from scvec.core.arrow import lists
from scvec.core.forks import check_fork
from scvec.core.html import table
from scvec.core.tabular import Tabular
from scvec.core.text import counted
from scvec.core.types import UNKNOWN, Bools, Floats, Ints, Neighbors, Strings
from scvec.errors import InputError

if TYPE_CHECKING:
    import polars as pl
    from anndata import AnnData

    from scvec.atlas.query_cells import QueryCells


NO_EXPRESSION, NOVEL, LOW_CONFIDENCE = "no_expression", "novel", "low_confidence"
"""Reasons for the call `UNKNOWN`: see `Annotation.reason`."""

NO_VIEWS: Mapping[str, Strings] = MappingProxyType({})

RENAMED = {"nearest": "label_before_rejection", "odd_genes": "unexpected_genes"}
"""Columns and attributes of 0.6, which stay beside the new ones until 0.9, as does ``obs["scvec_label"]`` of 0.7."""


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
class Annotation(Tabular):
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
        (n,) the label with the largest share, also where the call was rejected; `UNKNOWN` where nothing voted.
    reason
        (n,) why the call is `UNKNOWN`: `NO_EXPRESSION`, the cell expresses none of the atlas's genes; `NOVEL`, it is
        more novel than 95 % of the held-out cells of known types; `LOW_CONFIDENCE`, its confidence is below its label's
        threshold; "" where it is not.
    confidence
        (n,) the chance that `label_before_rejection` is right for a cell of a type that the atlas has, calibrated on
        held-out cells; NaN where `reason` is `NO_EXPRESSION`, and for votes other than the default ones of all labels.
    novelty
        (n,) how unlike the held-out cells of known types the cell is, from 0; NaN where `reason` is `NO_EXPRESSION`.
    unexpected_genes
        (n,) symbols of the genes expressed farthest above that label, the first few, joined by ``", "``.
    score
        (n,) that label's share, 0 to 1: of the votes, or by all views together.
    distance
        (n,) cosine distance to the nearest reference cell; NaN where `reason` is `NO_EXPRESSION`.
    rejected
        (n,) True where the call is `UNKNOWN`, whatever the reason.
    labels
        (L,) all labels of the atlas, sorted.
    scores
        (n, L) every label's share.
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
        For each cell, the labels that may be right, largest share first; None unless prediction sets were asked for.
    terms
        The terms of the Cell Ontology that enough votes agree on; None unless a roll-up was asked for.
    cluster, cluster_label, cluster_share
        (n,) the name of each cell's cluster, "" where it is in none; the label called for that cluster; that label's
        share of the votes of its cells, 0 to 1. None unless clusters were asked for.
    by_view
        By view, (n,) the label to which it alone gives most, `UNKNOWN` where `reason` is `NO_EXPRESSION`: the cell's
        ``"neighbors"``, and the further views of the atlas, ``"rank"`` and ``"corrected"``; see `scvec.views`. Empty
        for an atlas without further views. The call is made by all of them together, and so are `scores`.
    leads
        By view, (n,) by how much it puts the called label ahead of the runner-up, in logarithms of their shares; below
        0 where it speaks for the runner-up. The view with most decided the call. Empty without further views.
    reranked, second
        The labels as an LLM reordered them, and the calls of a readout; None unless these were asked for.
    suggested
        Names for groups of unknown cells, from the Cell Ontology; None unless these were asked for.
    source
        The query, from which `query` is taken.
    """

    INDEX: ClassVar[str | None] = "obs_name"

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
    by_view: Mapping[str, Strings] = field(default_factory=lambda: NO_VIEWS)
    leads: Mapping[str, Floats] = field(default_factory=dict)
    reranked: Reranked | None = None
    second: SecondOpinion | None = None
    suggested: Suggested | None = None
    source: QueryCells | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.obs_names)

    def __repr__(self) -> str:
        n_labels = len(set(self.label.tolist()) - {UNKNOWN})
        why = [(one, int((self.reason == one).sum())) for one in (NO_EXPRESSION, NOVEL, LOW_CONFIDENCE)]
        said = ", ".join(f"{n:,} {one.replace('_', ' ')}" for one, n in why if n)
        unknown = f"{int(self.rejected.sum()):,} unknown" + (f" ({said})" if said else "")
        return f"Annotation: {counted(len(self), 'cell')}, {counted(n_labels, 'label')}, {unknown}"

    def _repr_html_(self) -> str:
        names, codes, counts = np.unique(self.label.astype(str), return_inverse=True, return_counts=True)
        known = ~np.isnan(self.confidence)
        sums = np.bincount(codes[known], self.confidence[known], minlength=len(names))
        n_known = np.bincount(codes[known], minlength=len(names))
        mean = np.where(n_known > 0, sums / np.maximum(n_known, 1), np.nan)
        order = np.lexsort((names, -counts))
        rows = [(str(names[i]), int(counts[i]), float(mean[i])) for i in order]
        return table(repr(self), ("label", "cells", "mean confidence"), rows)

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
    def _opinions(self) -> list[Reranked | SecondOpinion | Suggested]:
        return [one for one in (self.reranked, self.second, self.suggested) if one is not None]

    @property
    def views_agree(self) -> Bools:
        """(n,) whether all views give the cell the same label; True without further views."""
        found = list(self.by_view.values())
        if not found:
            return np.ones(len(self), bool)
        return np.asarray(np.all([one == found[0] for one in found[1:]], axis=0))

    @property
    def other_calls(self) -> dict[str, Strings]:
        """Calls by other means (of clusters, an LLM, a readout), by their column in the frame: (n,) labels each."""
        found = {} if self.cluster_label is None else {"cluster_label": self.cluster_label}
        found |= {} if self.reranked is None else {"reranked_label": self.reranked.label}
        return found | ({} if self.second is None else {"readout_label": self.second.label})

    def to_polars(self, n_alternatives: int = 2) -> pl.DataFrame:
        """Return one row for each cell: the call, its runners-up, its neighbours.

        Parameters
        ----------
        n_alternatives
            Number of further labels to give, as ``label_2``, ``score_2`` and so on; null where a label got no vote.
        """
        import polars as pl

        check_fork()
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
        columns |= {f"{name}_label": one.tolist() for name, one in self.by_view.items()}
        for opinion in self._opinions:
            columns |= opinion.frame_columns()
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

    @property
    def of_some(self) -> bool:
        """Whether the query has further cells, which were left out by `only` or `only_annotated`."""
        return "selection" in self.provenance.get("query", {})

    def write(self, adata: AnnData, key_added: str = DEFAULT_KEY, *, missing: bool | None = None) -> None:
        """Write the calls to `adata`, in place. Nothing is changed if an error is raised.

        Entries of earlier calls under the same key are replaced, those under other keys stay. A view becomes an AnnData
        of its own, as with any change of a view.

        Parameters
        ----------
        adata
            The annotated cells or some of them, in any order: they are matched by ``obs_names``.
        key_added
            The name of the column of labels, and the beginning of the names of all entries.
        missing
            Whether `adata` may have further cells, which were not annotated: their values are missing (NaN, NA, or ""
            among the neighbours' names). None: it may if the calls are of some cells of their query (`of_some`).

        Raises
        ------
        InputError
            If a cell was not annotated and may not be missing, an entry would replace one that no call under this key
            wrote, the key is invalid, or `adata` is a view of a backed AnnData.

        Notes
        -----
        Written, with ``KEY`` for `key_added`:

        - ``obs["KEY"]``: the label called, a categorical of the labels that occur.
        - ``obs["KEY_confidence"]``, ``_reason``, ``_novelty``, ``_label_before_rejection``, ``_label_id``, ``_score``,
          ``_distance``, ``_rejected``, ``_unexpected_genes``: see the attributes of the same names. And, where asked
          for: ``_set``, labels joined by ``"; "``; ``_term``, ``_term_id``, ``_term_depth``, ``_term_support``;
          ``_cluster``, ``_cluster_label``, ``_cluster_share``; ``_reranked_label``, ``_rerank_status``,
          ``_rerank_reason``, ``_rerank_genes``, ``_rerank_case``; ``_readout_label``, ``_readout_score``,
          ``_readout_agrees``; ``_suggested_term``, ``_suggested_name``, ``_suggested_score``, ``_suggested_genes``,
          missing for cells that are not unknown, and where no name stands out; ``_neighbors_label``, ``_rank_label``,
          ``_corrected_label``, for an atlas with further views.
        - ``obsm["X_KEY"]``: (n, d) `vectors`; ``obsm["KEY_scores"]``: (n, L) `scores`; ``obsm["KEY_neighbors"]``:
          (n, k) `neighbor_names`.
        - ``uns["KEY"]``: a dict of the atlas and its version, the recipe, `max_error`, scvec's version, the labels (the
          columns of ``KEY_scores``), the notes, the provenance as JSON, and the names written.
        - ``uns["KEY_colors"]``: colours of the categories as scanpy has them, where the reference has them.

        Under the key ``"scvec"``, the names of earlier versions stay for one release: ``obs["scvec_label"]``,
        ``scvec_nearest``, ``scvec_odd_genes``.
        """
        check_key(key_added)
        rows = self._rows_of(adata.obs_names, missing=missing)
        self.entries(key_added).put(adata, rows)

    def _rows_of(self, names: Iterable[str], *, missing: bool | None) -> Ints | None:
        return rows_of(names, self.obs_names.tolist(), missing=self.of_some if missing is None else missing)

    def to_adata(self, adata: AnnData, key_added: str = DEFAULT_KEY, *, missing: bool | None = None) -> AnnData:
        """Return a copy of `adata` with the calls, as `write` writes them; `adata` is not changed.

        Raises
        ------
        InputError
            As `write` does.
        """
        check_key(key_added)
        rows = self._rows_of(adata.obs_names, missing=missing)
        result = adata.to_memory() if adata.isbacked else adata.copy()
        self.entries(key_added).put(result, rows)
        return result

    def entries_for(self, names: Iterable[str], where: object, key_added: str = DEFAULT_KEY) -> Entries:
        """Return what `write` writes for the cells of the file `where`, which are those of the query.

        Raises
        ------
        InputError
            If they are not.
        """
        found = [str(one) for one in names]
        if not self.of_some:
            self.check_cells(found, where)
            return self.entries(key_added)
        return self.entries(key_added).take(self._rows_of(found, missing=True))

    def check_cells(self, names: Sequence[str], where: object) -> None:
        """Raise `InputError` if the cells in the file `where` are not those that were annotated, in the same order."""
        if list(names) != self.obs_names.tolist():
            seen = f"{where} has other cells than the calls"
            raise InputError(
                seen, "the annotated cells in their order", "annotate it, or give the file that was annotated"
            )

    def entries(self, key_added: str = DEFAULT_KEY) -> Entries:
        """Return what `write` writes, for all cells."""
        key = key_added
        obs = {f"{key}_{name}" if name else key: values for name, values in self._obs_columns().items()}
        if key == DEFAULT_KEY:
            obs |= {f"{key}_{old}": obs[f"{key}_{new}"] for old, new in RENAMED.items()}
            obs["scvec_label"] = obs[key]
        neighbors = np.array(self.neighbor_names, dtype=object)
        obsm = dict(zip(obsm_names(key), (self.vectors, self.scores, neighbors), strict=True))
        return Entries(key, obs, obsm, self._about(), colors_of(self.provenance))

    def _obs_columns(self) -> dict[str, Any]:
        """Return the columns of ``obs`` by the rest of their names, "" for the labels.

        Their categories are those that occur, as scanpy's plots expect.
        """
        import pandas as pd

        columns: dict[str, Any] = {
            "": pd.Categorical(self.label.tolist()),
            "label_id": pd.Categorical([one or None for one in self.label_id]),
            "score": self.score,
            "distance": self.distance,
            "rejected": self.rejected,
            "reason": pd.Categorical(self.reason.tolist()),
            "label_before_rejection": pd.Categorical(self.label_before_rejection.tolist()),
            "confidence": self.confidence,
            "novelty": self.novelty,
            "unexpected_genes": pd.Categorical(self.unexpected_genes),
        }
        if self.sets is not None:
            columns["set"] = pd.Categorical(["; ".join(one) for one in self.sets])
        if self.terms is not None:
            columns |= {
                "term_id": pd.Categorical([one or None for one in self.terms.ids]),
                "term": pd.Categorical([one or None for one in self.terms.names]),
                "term_depth": self.terms.depth,
                "term_support": self.terms.support,
            }
        if self.cluster is not None and self.cluster_label is not None:
            columns |= {
                "cluster": pd.Categorical([one or None for one in self.cluster]),
                "cluster_label": pd.Categorical(self.cluster_label.tolist()),
                "cluster_share": self.cluster_share,
            }
        columns |= {f"{name}_label": pd.Categorical(one.tolist()) for name, one in self.by_view.items()}
        for opinion in self._opinions:
            columns |= opinion.obs_columns()
        return columns

    def _about(self) -> dict[str, Any]:
        """Return what ``uns`` says of the calls, as types that h5ad and zarr store."""
        atlas = self.provenance.get("atlas", {})
        known = {
            "atlas": atlas.get("name"),
            "atlas_version": atlas.get("version"),
            "recipe": atlas.get("recipe", {}).get("name"),
            "max_error": self.provenance.get("max_error"),
            "scvec": self.provenance.get("scvec"),
        }
        return {name: value for name, value in known.items() if value is not None} | {
            "labels": np.array(self.labels, dtype=object),
            "notes": np.array(self.notes, dtype=object),
            "provenance": json.dumps(self.provenance, sort_keys=True),
        }
