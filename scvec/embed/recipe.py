"""How a cell becomes a vector: frozen, hashable, TOML in and out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from scvec.core.toml import check_keys, is_count, read_toml, without_none
from scvec.errors import InputError, unknown

WEIGHTS = ("text", "shuffled", "random", "svd")
DTYPES = ("float32", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """How a head is trained on the labels of a reference, over the text projection.

    Neither paper that scvec builds on states its loss, temperature or splits: all are parameters here, and their
    defaults are what measured best (``benchmarks/results/refinement.md``).

    Attributes
    ----------
    loss
        ``"supcon"``: cells of one label attract each other, all others repel (Khosla et al. 2020, arXiv 2004.11362).
        ``"triplet"``: the farthest of a cell's own label is to be nearer than the nearest of another, by `margin`
        (Hermans et al. 2017, arXiv 1703.07737).
    dimension
        Of the contrastive part of a cell vector.
    temperature
        Of the supcon loss, in units of the cosine; None with ``"triplet"``.
    margin
        Of the triplet loss, in units of the cosine; None with ``"supcon"``.
    proxy
        Weight of the cross-entropy to a fixed axis for each label (Movshovitz-Attias et al. 2017, arXiv 1703.07464).
    probe
        Weight of the logits of a logistic regression as further dimensions, whose cosine counts `probe` squared times
        that of the contrastive part; 0: none.
    gene_dropout
        In half of the views of a cell, up to this share of its genes is left out at random.
    thinning
        Up to this share of a cell's counts is left out at random, where the reference holds counts.
    text_weight
        How strongly a gene's weights come from its text's vector, beside its free part.
    decay
        Of the weights, as a share of the learning rate.
    learning_rate, steps, batch_cells
        Of stochastic gradient descent with momentum; a batch has two views of each of its cells.
    folds
        At most so many times, some donors (cells, where there is one donor) are held out, to choose the number of steps
        and to calibrate.
    """

    loss: Literal["supcon", "triplet"] = "supcon"
    dimension: int = 32
    temperature: float | None = None
    margin: float | None = None
    proxy: float = 1.0
    probe: float = 2.0
    gene_dropout: float = 0.6
    thinning: float = 0.0
    text_weight: float = 0.1
    decay: float = 1e-4
    learning_rate: float = 0.5
    steps: int = 100
    batch_cells: int = 128
    folds: int = 5

    def __post_init__(self) -> None:
        def check(name: str, good: bool, wanted: str) -> None:
            if not good:
                raise InputError(f"refine.{name} = {getattr(self, name)!r}", wanted, "mend the recipe")

        check("loss", self.loss in ("supcon", "triplet"), "'supcon' or 'triplet'")
        own, other = ("temperature", "margin") if self.loss == "supcon" else ("margin", "temperature")
        check(other, getattr(self, other) is None, f"none with loss {self.loss!r}")
        object.__setattr__(self, own, 0.2 if getattr(self, own) is None else getattr(self, own))
        for name in (own, "learning_rate"):
            check(name, 0 < getattr(self, name) < float("inf"), "a number above 0")
        for name in ("proxy", "probe", "text_weight", "decay"):
            check(name, 0 <= getattr(self, name) < float("inf"), "a number from 0")
        for name in ("gene_dropout", "thinning"):
            check(name, 0 <= getattr(self, name) < 1, "a share from 0 to less than 1")
        for name in ("dimension", "steps", "batch_cells"):
            check(name, is_count(getattr(self, name)), "a whole number above 0")
        check("folds", is_count(self.folds) and self.folds > 1, "a whole number above 1")
        for name in (own, "learning_rate", "proxy", "probe", "text_weight", "decay", "gene_dropout", "thinning"):
            object.__setattr__(self, name, float(getattr(self, name)))  # 1 and 1.0 are one recipe, and have one hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """From the counts of a cell to a vector of length one.

    The counts are scaled to `target_sum` a cell and log1p is taken; each gene has a weight vector (its text's, or
    its loadings in an SVD of the reference); the cell is the expression-weighted mean of its genes' weights, minus the
    mean of the reference's cells where `centre` is set, scaled to length one. With `refine`, a head trained on the
    reference's labels takes the place of the mean.

    Attributes
    ----------
    name
        What the recipe is called.
    weights
        ``"text"``: a gene's weights are its vector from `encoder`. ``"svd"``: they are its loadings in a truncated
        SVD of the reference's log-normalised expression, fitted on the reference. Controls: ``"shuffled"``, each gene
        has another's vector, drawn by `random_state`; ``"random"``, Gaussian vectors drawn by it.
    encoder
        Name of the gene-text encoder; None with ``"svd"`` and ``"random"``.
    top_n
        Use only the n most expressed genes of a cell (of equal ones, those that come first in the atlas); None: all.
    target_sum
        Counts a cell is scaled to before log1p.
    centre
        Subtract the mean of the reference's cells.
    dimension
        Components of the SVD, or of the random vectors; None where the encoder decides.
    fit_cells
        At most this many reference cells, drawn by `random_state`, are used for what is fitted.
    random_state
        Seed of whatever is drawn.
    dtype
        Of the vectors that are kept: float16 takes half the room, and moves distances by some 1e-4.
    refine
        How a head is trained on the reference's labels; None: no head.
    release, encoder_revision
        The gene texts and the encoder's weights; filled in by `bind` when an atlas is built. The latter chooses, where
        the store has vectors of several.
    """

    name: str
    weights: Literal["text", "shuffled", "random", "svd"] = "text"
    encoder: str | None = None
    top_n: int | None = None
    target_sum: float = 1e4
    centre: bool = False
    dimension: int | None = None
    fit_cells: int = 10_000
    random_state: int = 0
    dtype: Literal["float32", "float16"] = "float32"
    refine: Refinement | None = None
    release: str | None = None
    encoder_revision: str | None = None

    def __post_init__(self) -> None:
        def check(good: bool, seen: str, wanted: str) -> None:
            if not good:
                raise InputError(f"recipe {self.name!r} has {seen}", wanted, "mend the recipe")

        check(self.weights in WEIGHTS, f"weights = {self.weights!r}", f"one of {', '.join(WEIGHTS)}")
        encoder_fits = isinstance(self.encoder, str) if self.reads_text else self.encoder is None
        check(encoder_fits, f"encoder = {self.encoder!r}", "one with text or shuffled weights only")
        dimension_fits = self.dimension is None if self.reads_text else is_count(self.dimension)
        check(dimension_fits, f"dimension = {self.dimension!r}", "one with svd or random weights only")
        check(self.top_n is None or is_count(self.top_n), f"top_n = {self.top_n!r}", "a whole number above 0")
        check(is_count(self.fit_cells), f"fit_cells = {self.fit_cells!r}", "a whole number above 0")
        check(is_count(self.random_state + 1), f"random_state = {self.random_state!r}", "a whole number from 0")
        check(self.dtype in DTYPES, f"dtype = {self.dtype!r}", f"one of {', '.join(DTYPES)}")
        check(0 < self.target_sum < 1e9, f"target_sum = {self.target_sum!r}", "a number above 0")
        check(isinstance(self.centre, bool), f"centre = {self.centre!r}", "true or false")
        plain = self.weights != "svd" and self.top_n is None and not self.centre
        a_head = self.refine is None or isinstance(self.refine, Refinement)
        check(a_head, f"refine = {self.refine!r}", "a table of its parameters, or none")
        check(self.refine is None or plain, "refine with svd weights, top_n or centre", "one or the other")
        object.__setattr__(self, "target_sum", float(self.target_sum))

    @property
    def reads_text(self) -> bool:
        """Whether its weights come from an encoder."""
        return self.weights in ("text", "shuffled")

    def with_encoder(self, encoder: str | None) -> Recipe:
        """Return the recipe with `encoder` in place of the one it names; with None, the recipe itself.

        Raises
        ------
        InputError
            If the recipe is a control, which reads no text.
        """
        if encoder in (None, self.encoder):
            return self
        if not self.reads_text:
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
        return without_none(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "recipe") -> Recipe:
        """Return the recipe of `values`; raise `InputError` on an unknown key or a missing name."""
        check_keys(cls, values, "recipe key", where)
        if isinstance(values.get("refine"), dict):
            check_keys(Refinement, values["refine"], "key of refine", where)
        if not isinstance(values.get("name"), str):
            raise InputError(f"{where} has no name", 'name = "..."', "add it")
        try:
            head = values.get("refine")
            return cls(**values | {"refine": Refinement(**head) if isinstance(head, dict) else head})
        except TypeError as error:  # a value of another kind than its field's
            raise InputError(f"{where}: {error}", "numbers where numbers belong", "mend the recipe") from error

    def to_toml(self) -> str:
        """Return the fields that are set, as TOML."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    @classmethod
    def from_toml(cls, path: Path) -> Recipe:
        """Read a recipe; raise `FileError` if `path` is missing or not TOML."""
        return cls.from_dict(read_toml(path, "a recipe", "give a built-in recipe's name or mend the file"), str(path))


RECIPES: MappingProxyType[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            # A head trained on the labels, over text: contrastive, as arXiv 2509.23543, which states no loss.
            Recipe(name="refined", encoder="minilm", refine=Refinement()),
            # Expression-weighted mean of gene vectors, length one: GenePT-w (Chen and Zou, bioRxiv 2023.10.16.562533).
            Recipe(name="genept-w", encoder="minilm"),
            # The most expressed genes only; 2,048 as in scInterpreter (arXiv 2402.12405).
            Recipe(name="topn", encoder="minilm", top_n=2048),
            # Controls: no text at all.
            Recipe(name="expression", weights="svd", dimension=50),
            Recipe(name="random", weights="random", dimension=384),
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
