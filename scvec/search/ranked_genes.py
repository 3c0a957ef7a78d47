"""From words to genes: ranked by the meaning of their texts, by keywords and names, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from scvec.core.types import Bools, Doubles, Ints, freeze
from scvec.errors import InputError, must_be
from scvec.search.fusion import Ranks, fused, ranks
from scvec.search.keywords import Keywords
from scvec.search.reader import Reader, check_words

if TYPE_CHECKING:
    import polars as pl

    from scvec.ingest import GeneTexts

By: TypeAlias = Literal["both", "meaning", "keywords"]
"""How texts are compared with words: as an encoder reads them, by the words that they have in common, or by both."""

N_GENES = 20
COLUMNS = ("gene_id", "symbol", "name", "score", "found_by", "keyword_rank", "meaning_rank")


@dataclass(frozen=True, slots=True)
class RankedGenes:
    """How well genes match words.

    Attributes
    ----------
    gene_ids
        (g,) the genes.
    scores
        (g,) what they are ranked by. By meaning: `Reader.scores`. By keywords: `Keywords.scores`. By both: see
        `scvec.search.fusion.fused`.
    meaning
        (g,) scores by meaning, NaN if the encoder knows none of the words; None if that was not asked.
    keywords
        (g,) scores by keywords, 0 for a gene whose text has none of the words; None if that was not asked.
    named
        Genes that the words name, and by what. They come first.
    """

    gene_ids: Ints
    scores: Doubles
    meaning: Doubles | None
    keywords: Doubles | None
    named: Mapping[int, str]

    def __post_init__(self) -> None:
        for name in ("gene_ids", "scores", "meaning", "keywords"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, freeze(getattr(self, name)))

    @property
    def by(self) -> By:
        """How texts were compared with the words."""
        return "keywords" if self.meaning is None else "meaning" if self.keywords is None else "both"

    @property
    def is_named(self) -> Bools:
        """(g,) which genes the words name."""
        return np.isin(self.gene_ids, list(self.named))

    @property
    def order(self) -> Ints:
        """(m,) positions of the genes that are found, the best first: named ones, then by score, ties by id.

        By keywords, only genes that have one of the words or are named are found, else all.
        """
        first = np.full(len(self.gene_ids), len(self.named))
        for i, gene in enumerate(self.named):
            first[self.gene_ids == gene] = i
        order = np.lexsort((self.gene_ids, -self.scores, first))
        found: Ints = order if self.meaning is not None else order[(self.is_named | (self.scores > 0))[order]]
        return found

    def frame(self, texts: GeneTexts, n: int | None = None) -> pl.DataFrame:
        """Return the first n genes, one row each, in the format of `genes`; None: all that are found."""
        import polars as pl

        order = self.order[:n]
        by_keywords = None if self.keywords is None else by_match(self.keywords)[order]
        by_meaning = None if self.meaning is None else by_nearness(self.meaning)[order]
        ranked = pl.DataFrame(
            {
                "gene_id": self.gene_ids[order],
                "score": self.scores[order].astype(np.float32),
                "found_by": [self._found_by(i) for i in order.tolist()],
                "keyword_rank": _whole(by_keywords, len(order)),
                "meaning_rank": _whole(by_meaning, len(order)),
            },
            schema_overrides={"found_by": pl.String, "keyword_rank": pl.Int64, "meaning_rank": pl.Int64},
        )
        about = texts.frame.select("gene_id", "symbol", name="full_name")
        return ranked.join(about, on="gene_id", how="left", maintain_order="left").select(COLUMNS)

    def _found_by(self, i: int) -> str:
        if int(self.gene_ids[i]) in self.named:
            return self.named[int(self.gene_ids[i])]
        if self.by != "both" or self.keywords is None:
            return self.by
        return "both" if self.keywords[i] > 0 else "meaning"


def by_match(scores: Doubles) -> Ranks:
    """Return ranks by keywords; infinite without a match."""
    return ranks(scores, scores > 0)


def by_nearness(scores: Doubles) -> Ranks:
    """Return ranks by meaning; infinite if the encoder knows none of the words."""
    return ranks(scores, np.isfinite(scores))


def rank_genes(reader: Reader | Keywords, words: str, by: By | None = None) -> RankedGenes:
    """Return how well each gene of a reader matches words; the parameters are those of `genes`."""
    if by is not None and by not in get_args(By):
        raise must_be("by", " or ".join(map(repr, get_args(By))), by)
    check_words(words)
    if by == "meaning" and isinstance(reader, Reader):
        scores = reader.scores(words).astype(np.float64)
        return RankedGenes(reader.gene_ids, scores, scores, None, {})
    if by not in (None, "keywords") and isinstance(reader, Keywords):
        raise InputError(f"`by` {by} needs an encoder", "a reader with vectors", "`by` keywords")
    lexical = reader if isinstance(reader, Keywords) else reader.keywords
    matches, named = lexical.scores(words).astype(np.float64), lexical.named(words)
    if by == "keywords" or isinstance(reader, Keywords):
        return RankedGenes(reader.gene_ids, matches, None, matches, named)
    # An encoder that knows none of the words has nothing to say where there are names or keywords.
    nearness = reader.scores(words, strict=not named and not matches.any()).astype(np.float64)
    scores = fused(by_nearness(nearness), by_match(matches))
    return RankedGenes(reader.gene_ids, scores, nearness, matches, named)


def genes(reader: Reader | Keywords, words: str, n: int = N_GENES, *, by: By | None = None) -> pl.DataFrame:
    """Return the genes whose texts match words best; those that the words name come first.

    Parameters
    ----------
    reader
        Reads the words, and has the genes to score. `Keywords` needs no encoder.
    words
        Any text: a function, a phenotype, a description, or names of genes; ``"growth hormone"`` in quotes is a phrase.
    n
        Number of genes.
    by
        ``"meaning"``: by what an encoder reads; ``"keywords"``: by names of genes and by the words that a text has in
        common with them (BM25); ``"both"``: the two rankings fused, see `scvec.search.fusion.fused`. None: both, or
        keywords for a reader without an encoder.

    Returns
    -------
    pl.DataFrame
        Columns `gene_id`, `symbol`, `name`, `score` (by meaning `Reader.scores`, by keywords `Keywords.scores`, by both
        the fused ranks), `found_by` (how a gene is named: ``"symbol"``, ``"alias"``, ``"ensembl"``, ``"entrez"``,
        ``"spelling"``, ``"name"``; else ``"both"``, ``"meaning"`` or ``"keywords"``), `keyword_rank` and `meaning_rank`
        (null where there is none); the best first, ties by id. By keywords, only genes that have one of the words.

    Raises
    ------
    InputError, MismatchError
        As `Reader.scores` does, or if `by` is invalid.
    """
    return rank_genes(reader, words, by).frame(reader.texts, n)


def _whole(rank: Ranks | None, n: int) -> list[int | None]:
    """Return n ranks as whole numbers; None for infinite ones, or if there are no ranks."""
    if rank is None:
        return [None] * n
    return [int(one) if np.isfinite(one) else None for one in rank]
