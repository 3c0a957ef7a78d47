"""Where vectors of genes come from: encoders of their texts, and what needs no model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
import polars as pl

from scvec.bench.genes.expression import Expressed, expressed
from scvec.bench.genes.tasks import Side, Variant
from scvec.core.files import sha256
from scvec.core.types import Floats, Ints, Progress
from scvec.embed.encoders import Encoder, Partial
from scvec.embed.gene_vectors import KIND
from scvec.embed.text_vectors import TextTable, hash_of
from scvec.ingest import GeneTexts
from scvec.store import Store

RowKind: TypeAlias = Literal["model", "control"]
BENCH_VECTORS = "bench_vectors"
"""The folder of the tables with vectors of texts that only a benchmark reads."""

BENCH_COLUMNS = {
    "text_sha256": "the hash of a masked text, or of a gene's name; rows are in the order in which texts were encoded",
    "vector": "the encoder's vector of the text",
}
RANDOM_DIMENSION = 384
"""That of minilm's vectors."""


class Source(Protocol):
    """A row of the table: what gives vectors of genes."""

    @property
    def name(self) -> str:
        """As in the tables."""
        ...

    @property
    def kind(self) -> RowKind:
        """Whether it is to be measured, or what others have to beat."""
        ...

    @property
    def revision(self) -> str:
        """Equal revisions of a name give equal vectors."""
        ...

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Which texts it reads."""
        ...

    @property
    def seeded(self) -> bool:
        """Whether vectors depend on the seed."""
        ...

    def covers(self, side: Side) -> bool:
        """Whether it has vectors of that species' genes, in the same space as of the suite's."""
        ...

    def vectors(self, side: Side, texts: Variant, seed: int) -> Floats:
        """Return (n, d) vectors of the genes; zeros for a gene that it does not know."""
        ...


class Encoded:
    """Vectors of texts by an encoder, each encoded once and kept in the store.

    Parameters
    ----------
    store
        Where vectors are kept: those of plain texts where `scvec.embed.genes` keeps them, too.
    model
        The encoder. One that is `Partial`, a file of vectors, has zeros for texts that it does not know, and knows no
        masked ones.
    kind, name, variants
        As of `Source`; no name: the encoder's.
    """

    seeded = False

    def __init__(
        self,
        store: Store,
        model: Encoder,
        kind: RowKind = "model",
        name: str = "",
        variants: tuple[Variant, ...] = ("plain", "masked"),
    ) -> None:
        self.model, self.kind, self.name, self.revision = model, kind, name or model.name, model.revision
        self.variants = tuple(one for one in variants if one == "plain" or not isinstance(model, Partial))
        self._store = store

    def covers(self, side: Side) -> bool:
        """Whether it reads texts, or knows some of these."""
        model = self.model
        return not isinstance(model, Partial) or any(map(model.knows, side.texts["plain"]))

    def missing(self, texts: Sequence[str], variant: Variant) -> list[str]:
        """Return the distinct texts whose vectors are not in the store."""
        return self._table(variant).missing(_frame(self._known(texts)))["text"].to_list()

    def encode(self, texts: Sequence[str], variant: Variant, progress: Progress | None = None) -> None:
        """Encode the texts that have no vector."""
        self._table(variant).encode(_frame(self._known(texts)), self.model, _folder(variant), progress)

    def vectors(self, side: Side, texts: Variant, seed: int) -> Floats:
        """Return (n, d) vectors of the texts, which have to be encoded."""
        del seed
        asked = side.texts[texts]
        known = self._known(asked)
        there = np.isin(np.array(asked, object), known) if len(known) < len(asked) else np.ones(len(asked), bool)
        found = np.zeros((len(asked), self.model.dimension), np.float32)
        found[there] = self._table(texts).vectors([hash_of(one) for one in known])
        return found

    def _known(self, texts: Sequence[str]) -> list[str]:
        model = self.model
        return [one for one in texts if model.knows(one)] if isinstance(model, Partial) else list(texts)

    def _table(self, variant: Variant) -> TextTable:
        return TextTable.of(self._store, _folder(variant), self.model.name, self.model.revision)


class Length:
    """The length of a text, and nothing else: a point on a quarter of the unit circle, in order of the logarithm.

    So the cosine falls with the difference of lengths.
    """

    name, revision, seeded = "text length", "1", False
    kind: RowKind = "control"
    variants: tuple[Variant, ...] = ("plain", "masked")
    LONGEST = 10_000

    def covers(self, side: Side) -> bool:
        """Every text has a length."""
        del side
        return True

    def vectors(self, side: Side, texts: Variant, seed: int) -> Floats:
        """Return (n, 2) unit vectors."""
        del seed
        sizes = np.array([len(one) for one in side.texts[texts]], np.float64)
        angle = np.log(np.clip(sizes, 1, self.LONGEST)) / np.log(self.LONGEST) * np.pi / 2
        return np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


class Permuted:
    """Another source's vectors, of other genes: which genes is drawn by the seed."""

    kind: RowKind = "control"
    seeded = True

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = f"{source.name}, permuted genes"
        self.revision, self.variants = source.revision, source.variants[:1]

    def covers(self, side: Side) -> bool:
        """As its source does."""
        return self._source.covers(side)

    def vectors(self, side: Side, texts: Variant, seed: int) -> Floats:
        """Return (n, d) the vectors in another order."""
        found = self._source.vectors(side, texts, seed)
        return found[np.random.default_rng([seed, side.taxon_id]).permutation(len(found))]


class Drawn:
    """A Gaussian vector for each gene, drawn by the seed."""

    name, revision, seeded = "random vectors", "1", True
    kind: RowKind = "control"
    variants: tuple[Variant, ...] = ("plain",)

    def covers(self, side: Side) -> bool:
        """Every gene gets one."""
        del side
        return True

    def vectors(self, side: Side, texts: Variant, seed: int) -> Floats:
        """Return (n, 384) vectors, which are another for another gene or seed."""
        del texts
        rows = [np.random.default_rng([seed, side.taxon_id, one]) for one in side.gene_ids.tolist()]
        return np.array([one.standard_normal(RANDOM_DIMENSION) for one in rows], np.float32)


class OfExpression:
    """How genes are expressed in cells, without a text.

    Parameters
    ----------
    files, texts, gene_ids
        As for `expressed`; the files are read when a vector is first asked for.
    """

    name, seeded = "expression SVD", False
    kind: RowKind = "control"
    variants: tuple[Variant, ...] = ("plain",)

    def __init__(self, files: Sequence[str], texts: GeneTexts, gene_ids: Ints) -> None:
        self._files, self._texts, self._gene_ids = files, texts, gene_ids
        self.revision = "-".join(sha256(Path(one))[:16] for one in files)

    def covers(self, side: Side) -> bool:
        """Whether the genes are of the cells' species."""
        return side.taxon_id == self._texts.taxon_id

    def vectors(self, side: Side, texts: Variant, seed: int) -> Floats:
        """Return (n, d) vectors."""
        del texts, seed
        return self._expressed.of(side.gene_ids)

    @cached_property
    def _expressed(self) -> Expressed:
        return expressed(self._files, self._texts, self._gene_ids)


def identity(source: Source, texts: Variant) -> str:
    """Return a hash of what gives a row its vectors."""
    return hashlib.sha256(f"{source.name}\n{source.revision}\n{texts}".encode()).hexdigest()


def _folder(variant: Variant) -> str:
    return KIND if variant == "plain" else BENCH_VECTORS


def _frame(texts: Sequence[str]) -> pl.DataFrame:
    distinct = list(dict.fromkeys(texts))
    hashes = [hash_of(one) for one in distinct]
    return pl.DataFrame({"text_sha256": hashes, "text": distinct}, {"text_sha256": pl.String, "text": pl.String})
