"""How a cell becomes a vector: a frozen, hashable value that is read from TOML."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from scvec.core.toml import check_keys, is_count, read_toml, without_none
from scvec.errors import InputError, must_be, unknown

WEIGHTS = ("text", "shuffled", "random", "svd", "given", "free", "auto", "sentence")
DEFAULT_ENCODER = "minilm"
DTYPES = ("float32", "float16")
TARGET_SUM = 1e4
"""The total that a cell's counts are scaled to before log1p, unless a recipe says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """How a head is trained on the labels of a reference, on top of the text projection.

    Neither paper that scvec builds on states its loss, temperature or splits. All are parameters here; the defaults are
    the values that measured best (``benchmarks/results/refinement.md``).

    Attributes
    ----------
    loss
        ``"supcon"``: cells with the same label attract each other, all others repel (Khosla et al. 2020,
        arXiv 2004.11362). ``"triplet"``: the farthest cell with the same label must be nearer than the nearest with
        another, by `margin` (Hermans et al. 2017, arXiv 1703.07737).
    dimension
        Dimension of the contrastive part of a cell vector.
    temperature
        Temperature of the supcon loss, in units of the cosine; None with ``"triplet"``.
    margin
        Margin of the triplet loss, in units of the cosine; None with ``"supcon"``.
    proxy
        Weight of the cross-entropy to a fixed axis for each label (Movshovitz-Attias et al. 2017, arXiv 1703.07464).
    probe
        Weight of the logits of a logistic regression, which are added as further dimensions: their cosine counts
        `probe` squared times as much as that of the contrastive part; 0: none.
    gene_dropout
        In half of the views of a cell, up to this share of its genes is dropped at random.
    thinning
        Up to this share of a cell's counts is dropped at random, if the reference holds counts.
    text_weight
        Weight of the part of a gene's weights that comes from its text vector, relative to its free part; of no effect
        without texts.
    decay
        Weight decay, as a share of the learning rate.
    learning_rate, steps, batch_cells
        Parameters of stochastic gradient descent with momentum; a batch has two views of each of its cells.
    folds
        The maximum number of cross-validation folds, each of some donors (of cells, if there is only one donor), which
        choose the number of steps and calibrate.
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
        def check(name: str, good: bool, allowed: str) -> None:
            if not good:
                raise must_be(name, allowed, getattr(self, name))

        check("loss", self.loss in ("supcon", "triplet"), "'supcon' or 'triplet'")
        own, other = ("temperature", "margin") if self.loss == "supcon" else ("margin", "temperature")
        check(other, getattr(self, other) is None, f"left out with loss {self.loss!r}")
        object.__setattr__(self, own, 0.2 if getattr(self, own) is None else getattr(self, own))
        for name in (own, "learning_rate"):
            check(name, 0 < getattr(self, name) < float("inf"), "above 0")
        for name in ("proxy", "probe", "text_weight", "decay"):
            check(name, 0 <= getattr(self, name) < float("inf"), "at least 0")
        for name in ("gene_dropout", "thinning"):
            check(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("dimension", "steps", "batch_cells"):
            check(name, is_count(getattr(self, name)), "a positive integer")
        check("folds", is_count(self.folds) and self.folds > 1, "an integer above 1")
        for name in (own, "learning_rate", "proxy", "probe", "text_weight", "decay", "gene_dropout", "thinning"):
            object.__setattr__(self, name, float(getattr(self, name)))  # 1 and 1.0 have one hash


PROMPT = "A cell with genes ranked by expression: "
"""Of the authors' notebook ``aorta_data_analysis``; their paper states no words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """How a cell becomes a text, and how much may be encoded.

    Attributes
    ----------
    prompt
        What the text begins with; the symbols of the genes follow, separated by spaces.
    max_cells
        The most cells that a reference may have: each is encoded, which takes long.
    max_usd
        The most that encoding a reference may cost, estimated at list price; with 0, no model that costs money is used.
    """

    prompt: str = PROMPT
    max_cells: int = 100_000
    max_usd: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            raise must_be("prompt", "a text", self.prompt)
        if not is_count(self.max_cells):
            raise must_be("max_cells", "a positive integer", self.max_cells)
        if not 0 <= self.max_usd < float("inf"):
            raise must_be("max_usd", "at least 0", self.max_usd)
        object.__setattr__(self, "max_usd", float(self.max_usd))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """From the counts of a cell to a unit vector.

    The counts are scaled to `target_sum` per cell and log1p is applied. Each gene has a weight vector: that of its
    text, or its loadings in an SVD of the reference. The cell is the expression-weighted mean of its genes' weights,
    minus the mean of the reference's cells if `centre` is set, scaled to unit length. With `refine`, a head trained on
    the reference's labels replaces the mean.

    Attributes
    ----------
    name
        Name of the recipe.
    weights
        ``"text"``: a gene's weights are its vector from `encoder`. ``"svd"``: they are its loadings in a truncated
        SVD of the reference's log-normalised expression. ``"free"``, for a head only: the head learns each gene's
        weights alone, and needs no texts. ``"auto"``: ``"text"`` if the store has vectors of `DEFAULT_ENCODER` for the
        reference's genes when an atlas is built, else ``"free"``; with an encoder, ``"text"``. Baselines:
        ``"shuffled"``, each gene has another gene's vector, permuted by `random_state`; ``"random"``, Gaussian vectors
        seeded by it. ``"given"``: genes have none; cell vectors come with the cells, in the array of ``obsm`` that
        `name` names. ``"sentence"``: genes have none; a cell's vector is that of a text, of its genes' symbols ranked
        by expression, by `encoder`.
    encoder
        Name of the text encoder; None with weights that come from no text.
    top_n
        Use only the n most expressed genes of a cell (ties: those that come first in the atlas); None: all.
    target_sum
        Total that a cell's counts are scaled to before log1p.
    centre
        Subtract the mean of the reference's cells.
    dimension
        Number of components of the SVD, or of random or given vectors; None if the encoder determines it.
    fit_cells
        The maximum number of reference cells, sampled by `random_state`, on which the recipe is fitted.
    random_state
        Random seed.
    dtype
        Type of the stored vectors: float16 takes half the space and changes distances by about 1e-4.
    refine
        How a head is trained on the reference's labels; None: no head.
    sentence
        How a cell becomes a text, with ``"sentence"``; else None.
    views
        Further views of a cell, whose shares of each label are joined with its neighbours' votes: see `scvec.views`.
        None: neighbours alone call.
    release, encoder_revision
        The release of the gene texts and the encoder's weights; filled in by `bind` when an atlas is built. If the
        store has vectors of several revisions, `encoder_revision` chooses one.
    """

    name: str
    weights: Literal["text", "shuffled", "random", "svd", "given", "free", "auto", "sentence"] = "text"
    encoder: str | None = None
    top_n: int | None = None
    target_sum: float = TARGET_SUM
    centre: bool = False
    dimension: int | None = None
    fit_cells: int = 10_000
    random_state: int = 0
    dtype: Literal["float32", "float16"] = "float32"
    refine: Refinement | None = None
    sentence: Sentence | None = None
    views: tuple[str, ...] = ()
    release: str | None = None
    encoder_revision: str | None = None

    def __post_init__(self) -> None:
        def check(name: str, good: bool, allowed: str) -> None:
            if not good:
                raise must_be(name, allowed, getattr(self, name))

        check("weights", self.weights in WEIGHTS, f"one of {', '.join(WEIGHTS)}")
        if self.weights == "auto" and self.encoder is not None:
            object.__setattr__(self, "weights", "text")
        with_these = f"with {self.weights} weights"
        if self.has_encoder:
            check("encoder", isinstance(self.encoder, str), f"the name of an encoder {with_these}")
        else:
            check("encoder", self.encoder is None, f"left out {with_these}")
        if self.weights in ("svd", "random", "given"):
            check("dimension", is_count(self.dimension), f"a positive integer {with_these}")
        else:
            check("dimension", self.dimension is None, f"left out {with_these}")
        if self.weights == "sentence" and self.sentence is None:
            object.__setattr__(self, "sentence", Sentence())
        told = isinstance(self.sentence, Sentence) if self.weights == "sentence" else self.sentence is None
        check("sentence", told, f"a Sentence with sentence weights, and left out {with_these}")
        if self.weights in ("free", "auto"):
            check("refine", self.refine is not None, f"set {with_these}")
        check("top_n", self.top_n is None or is_count(self.top_n), "a positive integer, or left out")
        check("fit_cells", is_count(self.fit_cells), "a positive integer")
        check("random_state", is_count(self.random_state + 1), "an integer of at least 0")
        check("dtype", self.dtype in DTYPES, f"one of {', '.join(DTYPES)}")
        check("target_sum", 0 < self.target_sum < 1e9, "above 0 and below 1e9")
        check("centre", isinstance(self.centre, bool), "true or false")
        check("refine", self.refine is None or isinstance(self.refine, Refinement), "a Refinement, or left out")
        plain = self.weights not in ("svd", "given", "sentence") and self.top_n is None and not self.centre
        if self.refine is not None and not plain:
            raise InputError(
                "`refine` cannot be combined with svd, given or sentence weights, top_n or centre", fix="leave one out"
            )
        views: Any = self.views  # of a recipe file, they are what it says
        check("views", not isinstance(views, str) and all(isinstance(one, str) for one in views), "names of views")
        object.__setattr__(self, "views", tuple(self.views))
        object.__setattr__(self, "target_sum", float(self.target_sum))

    @property
    def reads_text(self) -> bool:
        """Whether its weights come from an encoder of gene texts."""
        return self.weights in ("text", "shuffled")

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads texts of genes, or of cells."""
        return self.reads_text or self.weights == "sentence"

    @property
    def has_genes(self) -> bool:
        """Whether each gene of a cell has a share of its own in the cell's vector."""
        return self.weights not in ("given", "sentence")

    @property
    def cells_at_once(self) -> int | None:
        """The most cells that are embedded at once: few where each is encoded, so that one sees how far it is."""
        return 128 if self.weights == "sentence" else None

    def with_encoder(self, encoder: str | None) -> Recipe:
        """Return the recipe with `encoder` instead of its own; with None, the recipe itself.

        Raises
        ------
        InputError
            If the recipe reads no text, as the baselines do.
        """
        if encoder in (None, self.encoder):
            return self
        if not self.has_encoder and self.weights != "auto":
            raise InputError(
                f"`encoder` does not apply to recipe {self.name!r}, which reads no text", fix="leave it out"
            )
        return replace(self, encoder=encoder)

    def without_text(self) -> Recipe:
        """Return the recipe with each gene's weights learned alone; it must have a head."""
        return replace(self, weights="free", encoder=None, encoder_revision=None)

    def bind(self, release: str, encoder_revision: str | None) -> Recipe:
        """Return the recipe bound to a release of the gene texts and a revision of the encoder."""
        return replace(self, release=release, encoder_revision=encoder_revision)

    def sha256(self) -> str:
        """Return the hash of all fields, the recipe's identity; without views and sentence, as in earlier versions."""
        values = asdict(self)
        for later in ("views", "sentence"):
            if not values[later]:
                del values[later]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON types."""
        return without_none(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "recipe") -> Recipe:
        """Return the recipe with these `values`, read from `where`.

        Raises
        ------
        KeyNotFoundError
            If a key is unknown.
        InputError
            If there is no name, or a value is invalid.
        """
        check_keys(cls, values, "recipe key", where)
        head = values.get("refine")
        if isinstance(head, dict):
            check_keys(Refinement, head, "key of refine", where)
        if not isinstance(values.get("name"), str):
            raise InputError(f"{where} has no name", fix='add name = "..."')
        if isinstance(head, dict):
            head = _made(Refinement, head, f"{where}, refine")
        told = values.get("sentence")
        if isinstance(told, dict):
            check_keys(Sentence, told, "key of sentence", where)
            told = _made(Sentence, told, f"{where}, sentence")
        return _made(cls, values | {"refine": head, "sentence": told}, where)

    @classmethod
    def from_toml(cls, path: Path) -> Recipe:
        """Read a recipe; raise `FileError` if `path` is missing or not TOML."""
        return cls.from_dict(
            read_toml(path, "a recipe", "correct the file, or give the name of a built-in recipe"), str(path)
        )


Made = TypeVar("Made", Recipe, Refinement, Sentence)


def _made(kind: type[Made], values: dict[str, Any], where: str) -> Made:
    """Return a value of that kind; raise `InputError` that says where `values` came from if one is invalid."""
    try:
        return kind(**values)
    except TypeError as error:  # a value whose type is not its field's
        raise InputError(f"{where} has a value of the wrong type ({error})", fix="correct it") from error
    except InputError as error:  # it is a key of a file, and not an option of the command line
        raise InputError(f"{where}: {error.seen.replace('`', '')}", error.expected, error.fix) from error


RECIPES: MappingProxyType[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            # A contrastive head trained on the labels, over text where there is some, as in arXiv 2509.23543, which
            # states no loss. Without text it calls as well (``benchmarks/results/without-texts.md``).
            Recipe(name="refined", weights="auto", refine=Refinement(), views=("rank", "corrected")),
            # Expression-weighted mean of gene vectors: GenePT-w (Chen and Zou, bioRxiv 2023.10.16.562533).
            Recipe(name="genept-w", encoder=DEFAULT_ENCODER),
            # The most expressed genes only; 2,048 as in scInterpreter (arXiv 2402.12405).
            Recipe(name="topn", encoder=DEFAULT_ENCODER, top_n=2048),
            # A cell is one text, its genes' symbols by expression: GenePT-s of the same paper, with the number of genes
            # and the words of the authors' notebook ``aorta_data_analysis``, as the paper states neither.
            Recipe(name="genept-s", weights="sentence", encoder=DEFAULT_ENCODER, top_n=1000),
            # Baselines without text.
            Recipe(name="expression", weights="svd", dimension=50),
            Recipe(name="random", weights="random", dimension=384),
        )
    }
)
"""The built-in recipes; ``expression`` and ``random`` are the baselines of every table."""


def recipe(name: str) -> Recipe:
    """Return the built-in recipe of that name, or the one in the TOML file at that path.

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
