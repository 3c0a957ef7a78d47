"""A cell as one text: the symbols of its genes, ranked by expression, read by an encoder of texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from scvec.core.files import save_arrays
from scvec.core.types import Floats, Ints, Progress, Strings, freeze
from scvec.core.vectors import unit_vectors
from scvec.embed.contributions import Contributions
from scvec.embed.encoders import Address, Encoder, Priced, find, make
from scvec.embed.encoders.api import estimate_tokens
from scvec.embed.projection import Mask, by_value
from scvec.embed.recipe import Recipe, Sentence
from scvec.embed.text_vectors import encoded
from scvec.errors import InputError, MismatchError, StoreError
from scvec.ingest.genes.template import TEXT_COLUMNS
from scvec.store import Address as StoreAddress

KIND: Final = "cell_text_vectors"
"""The folder of the tables that keep the vectors of cells' texts, so that each text is encoded once."""

COLUMNS = {
    "text_sha256": "the hash of a cell's text; rows are in the order in which texts were encoded",
    "vector": "the encoder's vector of the text",
}

PROBED = 8
"""Cells that are encoded to estimate how long all of them take."""


@dataclass(frozen=True, slots=True)
class Sentences:
    """A recipe whose cells are texts.

    A cell's text is the recipe's prompt and the symbols of its most expressed genes, the highest first. Its vector is
    the encoder's of that text, minus the mean of the reference's if the recipe centres, scaled to unit length.

    Source: GenePT-s (Chen and Zou, bioRxiv 2023.10.16.562533).

    Attributes
    ----------
    recipe
        Bound to the encoder's revision.
    gene_ids
        (g,) the genes that are used.
    symbols
        (g,) their symbols; a gene without one, "", is left out of texts.
    centre
        (d,) mean of the reference's vectors; zeros if the recipe does not centre.
    store
        Where vectors of texts are kept.
    """

    recipe: Recipe
    gene_ids: Ints
    symbols: Strings
    centre: Floats
    store: StoreAddress

    def __post_init__(self) -> None:
        for name in ("gene_ids", "symbols", "centre"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @property
    def dimension(self) -> int:
        """Length of a cell vector."""
        return len(self.centre)

    def texts(self, known: sp.csr_matrix[np.float32]) -> list[str]:
        """Return the texts of (n, g) log-normalised cells."""
        known = _expressed(known)
        _, order, rank = by_value(known)
        n_genes = np.diff(known.indptr)
        if self.recipe.top_n is not None:
            order, n_genes = order[rank < self.recipe.top_n], np.minimum(n_genes, self.recipe.top_n)
        symbols, ends = self.symbols[known.indices[order]], np.cumsum(n_genes)
        prompt = _sentence(self.recipe).prompt
        return [prompt + " ".join(filter(None, symbols[end - n : end])) for end, n in zip(ends, n_genes, strict=True)]

    def vectors(self, known: sp.csr_matrix[np.float32], measured: Mask, device: str = "cpu") -> tuple[Floats, Mask]:
        """Return unit vectors; see `Embedding`. Texts that were encoded before are read from the store."""
        del measured, device  # a gene that is not measured is not named; the encoder knows where it runs
        found = np.zeros((known.shape[0], self.dimension), np.float32)
        filled = np.flatnonzero(np.diff(_expressed(known).indptr) > 0)
        if len(filled):
            found[filled] = self._encoded(sp.csr_matrix(known[filled])) - self.centre
        return unit_vectors(found)

    def contributions(self, known: sp.csr_matrix[np.float32], measured: Mask, towards: Floats) -> Contributions:
        """Raise `TypeError`: no gene has a share of its own in the vector of a text."""
        del known, measured, towards
        raise TypeError(f"vectors of {self.recipe.name!r} are not sums over genes")

    def fitted(self, logged: sp.csr_matrix[np.float32], n_cells: int, progress: Progress) -> Sentences:
        """Return it fitted on cells of a reference, whose texts are encoded.

        Parameters
        ----------
        logged
            (n, g) log-normalised cells.
        n_cells
            Number of cells of the reference, all of which a build encodes.
        progress
            Shows the texts, and about how long the whole reference takes, or what it costs.

        Raises
        ------
        InputError
            If there are more cells, or they cost more, than the recipe allows.
        """
        estimate = self._estimate(logged, n_cells)
        found = self._encoded(logged, lambda title, total: progress(f"{title}; {estimate}", total))
        centre = np.zeros(found.shape[1], np.float32)
        if self.recipe.centre:
            centre = np.asarray(found.mean(axis=0, dtype=np.float64), np.float32)
        return replace(self, centre=centre)

    def _estimate(self, logged: sp.csr_matrix[np.float32], n_cells: int) -> str:
        """Encode a few cells, and return how long, or at what cost, a reference of `n_cells` is encoded."""
        limits, model, name = _sentence(self.recipe), self._model, self.recipe.name
        if n_cells > limits.max_cells:
            raise InputError(
                f"recipe {name!r} encodes a text for each of {n_cells:,} cells",
                f"at most {limits.max_cells:,}",
                "take fewer cells, or raise max_cells under [sentence] of a recipe file",
            )
        texts = self.texts(sp.csr_matrix(logged[:: -(-logged.shape[0] // PROBED)]))
        tokens = n_cells * sum(map(estimate_tokens, texts)) // len(texts)
        said = f"all {n_cells:,} cells of the reference take about"
        price = model.usd_per_million_tokens if isinstance(model, Priced) else None
        if price is not None:
            usd = tokens * price / 1e6
            if usd > limits.max_usd:
                raise InputError(
                    f"recipe {name!r} encodes texts: {said} {tokens:,} tokens, ${usd:,.2f} at list price",
                    f"at most ${limits.max_usd:,.2f}",
                    "take fewer cells, or raise max_usd under [sentence] of a recipe file; queries cost as much a cell",
                )
            return f"{said} {tokens:,} tokens, ${usd:,.2f} at list price"
        model.encode(texts[:1])  # the first is slow
        started = perf_counter()
        model.encode(texts)
        minutes = (perf_counter() - started) * n_cells / len(texts) / 60
        return f"{said} {minutes:,.1f} min"

    @property
    def _model(self) -> Encoder:
        return encoder_of(self.recipe)

    def _encoded(self, cells: sp.csr_matrix[np.float32], progress: Progress | None = None) -> Floats:
        """Return (n, dimension) the encoder's vectors of cells, each with expression."""
        texts, model = self.texts(cells), self._model
        try:
            return encoded(self.store.open(), KIND, texts, model, progress=progress)
        except (StoreError, OSError):  # a store that cannot be written
            return model.encode(texts)

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors; the recipe goes into the atlas's manifest."""
        names = np.frombuffer("\n".join(self.symbols).encode(), np.uint8)
        arrays: dict[str, NDArray[Any]] = {"gene_ids": self.gene_ids, "symbols": names, "centre": self.centre}
        save_arrays(path, arrays, {"recipe_sha256": self.recipe.sha256()})

    @classmethod
    def load(cls, path: Path, recipe: Recipe, store: StoreAddress) -> Sentences:
        """Read what `save` wrote; raise `MismatchError` if it belongs to another recipe."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            if file.metadata().get("recipe_sha256") != recipe.sha256():
                raise MismatchError(f"{path} was fitted with another recipe", f"recipe {recipe.name!r}", "build again")
            gene_ids, names, centre = (file.get_tensor(name) for name in ("gene_ids", "symbols", "centre"))
        symbols = np.array(names.tobytes().decode().split("\n"), object)
        return cls(recipe, gene_ids, symbols, centre, store)


def _expressed(cells: sp.csr_matrix[np.float32]) -> sp.csr_matrix[np.float32]:
    """Return cells without zeros that are stored: such a gene is not named."""
    if cells.data.all():
        return cells
    cells = cells.copy()
    cells.eliminate_zeros()
    return cells


def bound_sentences(recipe: Recipe, release: str) -> Recipe:
    """Return a recipe of texts of cells, bound to a release of gene names and to the revision of its encoder.

    Raises
    ------
    InputError
        If the encoder cannot read any text.
    MismatchError
        If the recipe asks for another revision.
    """
    model = encoder_of(replace(recipe, encoder_revision=None))
    if recipe.encoder_revision not in (None, model.revision):
        raise _other_revision(model, recipe.encoder_revision)
    return recipe.bind(release, model.revision)  # with a path as it was given: a query loads the model again


def encoder_of(recipe: Recipe) -> Encoder:
    """Return the encoder of a recipe of texts of cells.

    Raises
    ------
    InputError
        If it cannot read any text: its vectors are of genes, or it is fitted on their texts.
    MismatchError
        If it is not at the revision that the recipe is bound to.
    """
    name = recipe.encoder or ""
    kind = find(Address.parse(name).kind)
    if not reads_any_text(name):
        why = "has vectors of genes only" if kind.partial else "is fitted on texts of genes"
        seen = f"encoder {name!r} {why}, and the recipe encodes texts of cells"
        raise InputError(seen, "an encoder of any text", "`encoder` minilm")
    # Weights take seconds to load; a client of a server goes by the environment of the moment.
    model = _loaded(name) if kind.local else _made(name)
    if recipe.encoder_revision not in (None, model.revision):
        raise _other_revision(model, recipe.encoder_revision)
    return model


def reads_any_text(name: str) -> bool:
    """Whether an encoder reads texts of cells: not if its vectors are of genes, or it is fitted on their texts."""
    kind = find(Address.parse(name).kind)
    return not (kind.partial or kind.fitted)


def _made(name: str) -> Encoder:
    return make(name, pl.DataFrame(schema=TEXT_COLUMNS))


_loaded = lru_cache(maxsize=2)(_made)


def _other_revision(model: Encoder, revision: str | None) -> MismatchError:
    return MismatchError(
        f"encoder {model.name!r} is at revision {model.revision} here",
        f"{revision}, which made the vectors of the atlas",
        "restore those weights, or build the atlas again",
    )


def _sentence(recipe: Recipe) -> Sentence:
    return recipe.sentence or Sentence()
