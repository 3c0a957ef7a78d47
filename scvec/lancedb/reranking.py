"""The closed reranker for LanceDB's searches: a language model reorders what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from lancedb.rerankers import Reranker, RRFReranker

from scvec.errors import InputError, must_be, unknown
from scvec.interpret.reranking import RerankOptions
from scvec.interpret.reranking.rows import ranked_rows
from scvec.store import Store, as_store

SCORE = "_relevance_score"
MAX_CANDIDATES = 8


class ClosedReranker(Reranker):
    """Has a language model order what a search found by how well it fits the words.

    It is closed: the rows are those of the search, and no others. The model sees the names and texts of the first
    `max_candidates` rows, and ranks these or abstains; the others follow in their order. Any other answer is asked for
    once more, after which the order of the search stands. Answers are kept in the store: nothing is asked, or paid
    for, twice.

        from scvec.lancedb import ClosedReranker

        reranker = ClosedReranker("my-store", "openai:gpt-4.1-mini")
        table.search("releases insulin", query_type="fts").limit(8).rerank(reranker).to_polars()

    A hybrid search is fused by reciprocal rank first. `_relevance_score` is 1 for the first row, 1/2 for the second,
    and so on: an order, not a probability.

    Parameters
    ----------
    store
        The store that keeps the answers, or its folder or URI.
    model
        Address of the judge: see `scvec.interpret.reranking.judges.make_judge`.
    name, column
        The columns with a name and with a text for each row; the search has to return them.
    max_candidates
        How many rows the model ranks, at least 2.
    max_cost, price
        Most USD to spend on all searches of this reranker, None for no limit; and USD per million tokens, in and out,
        None for the list price.
    return_score
        ``"relevance"``, or ``"all"`` to keep the scores of the search too.

    Raises
    ------
    InputError
        If an option is invalid.
    FileError, MissingDependencyError
        If the weights of a local model are missing, or an extra is not installed.
    """

    def __init__(
        self,
        store: Store | str | Path,
        model: str,
        *,
        name: str = "symbol",
        column: str = "text",
        max_candidates: int = MAX_CANDIDATES,
        max_cost: float | None = None,
        price: tuple[float, float] | None = None,
        return_score: str = "relevance",
    ) -> None:
        if return_score not in ("relevance", "all"):
            raise must_be("return_score", "relevance or all", return_score)
        super().__init__(return_score)
        if max_candidates < 2:
            raise must_be("max_candidates", "at least 2", max_candidates)
        self._judge, self._budget = RerankOptions(model, max_cost=max_cost, price=price).judge()
        self._store, self._name, self._column, self._most = as_store(store), name, column, max_candidates

    def __str__(self) -> str:
        return f"{type(self).__name__}({self._judge.name})"

    def rerank_hybrid(self, query: str, vector_results: pa.Table, fts_results: pa.Table) -> pa.Table:
        """Return the rows of both searches, fused by reciprocal rank, in the judge's order."""
        fused = RRFReranker(return_score=self.score).rerank_hybrid(query, vector_results, fts_results)
        return self._ordered(query, fused.drop_columns([SCORE]))

    def rerank_vector(self, query: str, vector_results: pa.Table) -> pa.Table:
        """Return the rows of a search by vectors in the judge's order."""
        return self._ordered(query, vector_results)

    def rerank_fts(self, query: str, fts_results: pa.Table) -> pa.Table:
        """Return the rows of a full-text search in the judge's order."""
        return self._ordered(query, fts_results)

    def _ordered(self, query: object, rows: pa.Table) -> pa.Table:
        words = query if isinstance(query, str) else getattr(query, "query", None)
        if not isinstance(words, str) or not words.strip():
            raise InputError(
                "the reranker was given no words", "the words of the search", 'rerank(reranker, query_string="...")'
            )
        for one in (self._name, self._column):
            if one not in rows.column_names:
                raise unknown("column", one, rows.column_names, "the rows to rerank")
        first = rows.slice(0, self._most)
        names, texts = ([str(one or "") for one in first[column].to_pylist()] for column in (self._name, self._column))
        order = ranked_rows(words, names, texts, judge=self._judge, budget=self._budget, store=self._store)
        order += range(len(order), len(rows))
        scores = pa.array(1 / np.arange(1, len(rows) + 1), pa.float32())
        return self._keep_relevance_score(rows.take(pa.array(order, pa.int64())).append_column(SCORE, scores))
