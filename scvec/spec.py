"""How a cell becomes a vector, and how vectors are searched: frozen, hashable, TOML in and out."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from scvec.errors import FileError, InputError, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """From the counts of a cell to a vector of length one.

    The counts are scaled to `target_sum` a cell and log1p is taken; each gene has a weight vector (its text's, or
    its loadings in an SVD of the reference); the cell is the expression-weighted mean of its genes' weights, minus the
    mean of the reference's cells where `centre` is set, scaled to length one.

    Attributes
    ----------
    name
        What the recipe is called.
    weights
        ``"text"``: a gene's weights are its vector from `encoder`. ``"svd"``: they are its loadings in a truncated
        SVD of the reference's log-normalised expression, fitted on the reference.
    encoder
        Name of the gene-text encoder; None with ``"svd"``.
    top_n
        Use only the n most expressed genes of a cell (of equal ones, those that come first in the atlas); None: all.
    target_sum
        Counts a cell is scaled to before log1p.
    centre
        Subtract the mean of the reference's cells.
    dimension
        Components of the SVD; None with ``"text"``, where the encoder decides.
    fit_cells
        At most this many reference cells, drawn by `random_state`, are used for what is fitted.
    random_state
        Seed of whatever is drawn.
    release, encoder_revision
        The gene texts and the encoder's weights; filled in by `bind` when an atlas is built. The latter chooses, where
        the store has vectors of several.
    """

    name: str
    weights: Literal["text", "svd"] = "text"
    encoder: str | None = None
    top_n: int | None = None
    target_sum: float = 1e4
    centre: bool = False
    dimension: int | None = None
    fit_cells: int = 20_000
    random_state: int = 0
    release: str | None = None
    encoder_revision: str | None = None

    def __post_init__(self) -> None:
        def check(good: bool, seen: str, wanted: str) -> None:
            if not good:
                raise InputError(f"recipe {self.name!r} has {seen}", wanted, "mend the recipe")

        check(self.weights in ("text", "svd"), f"weights = {self.weights!r}", "'text' or 'svd'")
        encoder_fits = isinstance(self.encoder, str) if self.weights == "text" else self.encoder is None
        check(encoder_fits, f"encoder = {self.encoder!r}", "one with text weights only")
        dimension_fits = _is_count(self.dimension) if self.weights == "svd" else self.dimension is None
        check(dimension_fits, f"dimension = {self.dimension!r}", "one with svd weights only")
        check(self.top_n is None or _is_count(self.top_n), f"top_n = {self.top_n!r}", "a whole number above 0")
        check(_is_count(self.fit_cells), f"fit_cells = {self.fit_cells!r}", "a whole number above 0")
        check(_is_count(self.random_state + 1), f"random_state = {self.random_state!r}", "a whole number from 0")
        check(0 < self.target_sum < 1e9, f"target_sum = {self.target_sum!r}", "a number above 0")
        check(isinstance(self.centre, bool), f"centre = {self.centre!r}", "true or false")
        object.__setattr__(self, "target_sum", float(self.target_sum))

    def with_encoder(self, encoder: str | None) -> Recipe:
        """Return the recipe with `encoder` in place of the one it names; with None, the recipe itself.

        Raises
        ------
        InputError
            If the recipe is a control, which reads no text.
        """
        if encoder in (None, self.encoder):
            return self
        if self.weights == "svd" or self.encoder == "random":
            raise InputError(
                f"encoder {encoder!r} for recipe {self.name!r}, which reads no text",
                "a recipe that does",
                "leave out --encoder",
            )
        return replace(self, encoder=encoder)

    def bind(self, release: str, encoder_revision: str | None) -> Recipe:
        """Return the recipe tied to a release of the gene texts and a revision of the encoder."""
        return replace(self, release=release, encoder_revision=encoder_revision)

    def sha256(self) -> str:
        """Return the hash of all fields, the recipe's identity."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON types."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "recipe") -> Recipe:
        """Return the recipe of `values`; raise `InputError` on an unknown key or a missing name."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown("recipe key", key, known, where)
        if not isinstance(values.get("name"), str):
            raise InputError(f"{where} has no name", 'name = "..."', "add it")
        try:
            return cls(**values)
        except TypeError as error:  # a value of another kind than its field's
            raise InputError(f"{where}: {error}", "numbers where numbers belong", "mend the recipe") from error

    def to_toml(self) -> str:
        """Return the fields that are set, as TOML."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    @classmethod
    def from_toml(cls, path: Path) -> Recipe:
        """Read a recipe; raise `FileError` if `path` is missing or not TOML."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise FileError(
                f"{path}: {error}", "a recipe in TOML", "give a built-in recipe's name or mend the file"
            ) from error
        return cls.from_dict(values, str(path))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


RECIPES: MappingProxyType[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            # Expression-weighted mean of gene vectors, length one: GenePT-w (Chen and Zou, bioRxiv 2023.10.16.562533).
            Recipe(name="genept-w", encoder="minilm"),
            # The most expressed genes only; 2,048 as in scInterpreter (arXiv 2402.12405).
            Recipe(name="topn", encoder="minilm", top_n=2048),
            # Controls: no text at all.
            Recipe(name="expression", weights="svd", dimension=50),
            Recipe(name="random", encoder="random"),
        )
    }
)
"""The built-in recipes; ``expression`` and ``random`` are the controls of every table."""


def recipe(name: str) -> Recipe:
    """Return the built-in recipe of that name, or read the TOML file at that path.

    Raises
    ------
    KeyNotFoundError
        If it is neither.
    """
    if name in RECIPES:
        return RECIPES[name]
    if name.endswith(".toml"):
        return Recipe.from_toml(Path(name))
    raise unknown("recipe", name, [*RECIPES, "FILE.toml"])


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """How the cells of an atlas are searched.

    Attributes
    ----------
    factory
        ``"exact"``, or a FAISS factory string: ``"Flat"``, ``"HNSW32"``, ``"IVF64,Flat"``.
    k
        Neighbours at which recall against exact search is measured.
    random_state
        Seed of the sample on which it is measured.
    """

    factory: str = "Flat"
    k: int = 15
    random_state: int = 0
