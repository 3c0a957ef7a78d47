"""How a readout is made and trained: a frozen, hashable value, read from TOML and written to it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from scvec.core.toml import check_keys, is_count, read_toml
from scvec.errors import must_be
from scvec.models.causal_lm import Precision

Ablation: TypeAlias = Literal["none", "random-llm", "no-llm", "shuffled-order", "random-vectors"]

INSTRUCTION = "The genes that a cell expresses follow, the most expressed gene first. Say what type of cell it is."

MAX_RATE = 1e6
"""Largest rate at which AdamW can step in float32; far beyond useful ones."""

MAX_WIDTH = 65_536
"""Of a layer; far beyond useful ones."""

MAX_SEED = 2**63 - 1
"""Largest seed that torch accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutSpec:
    """A readout of a frozen language model, as in scInterpreter (arXiv 2402.12405).

    Of these parameters the paper states only `n_genes`. All others, and their defaults, are our choice.

    Attributes
    ----------
    model
        The language model: a folder, a GGUF file or a name on the hub; see `scvec.models.causal_lm.load_llm`.
    encoder, encoder_revision
        The encoder whose vectors of gene texts are read; the revision chooses among several in the store.
    n_genes
        How many of a cell's most expressed genes are read; 2,048 in the paper.
    instruction
        The text that the model reads before them.
    hidden, readout_hidden
        Width of the hidden layer of the gene MLP, and of the readout MLP.
    width
        Dimension of a projected gene with the ablation ``"no-llm"``; otherwise it is that of the LLM's tokens.
    learning_rate, weight_decay
        Of AdamW; the learning rate is that of the first step, and falls to 0 along half a cosine.
    epochs, batch_cells
        How often each cell is seen, and how many cells at once.
    validation
        Share of the cells that are held out, to choose the epoch.
    precision
        Number format of the LLM; the trained modules are float32.
    random_state
        Random seed.
    ablation
        ``"none"``; ``"random-llm"``: the LLM's weights are random; ``"no-llm"``: the readout reads the mean of the
        projected genes, and `model`, `instruction` and `precision` have no effect; ``"shuffled-order"``: each cell's
        genes are shuffled; ``"random-vectors"``: a gene's vector is Gaussian and independent of its text.
    """

    model: str | None = None
    encoder: str = "minilm"
    encoder_revision: str | None = None
    n_genes: int = 2048
    instruction: str = INSTRUCTION
    hidden: int = 512
    readout_hidden: int = 256
    width: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    epochs: int = 10
    batch_cells: int = 8
    validation: float = 0.1
    precision: Precision = "float32"
    random_state: int = 0
    ablation: Ablation = "none"

    def __post_init__(self) -> None:
        def check(name: str, good: bool, allowed: str) -> None:
            if not good:
                raise must_be(name, allowed, getattr(self, name))

        for name in ("precision", "ablation"):
            known = get_args(Precision if name == "precision" else Ablation)
            check(name, getattr(self, name) in known, f"one of {', '.join(known)}")
        unnamed = self.model is None and not self.reads_llm
        check("model", unnamed or _is_word(self.model), "a folder, a GGUF file or a name on the hub")
        check("encoder", _is_word(self.encoder), "the name of an encoder")
        check("encoder_revision", self.encoder_revision is None or _is_word(self.encoder_revision), "text, or none")
        check("instruction", _is_word(self.instruction), "a sentence")
        for name in ("n_genes", "hidden", "readout_hidden", "width", "epochs", "batch_cells"):
            check(name, is_count(getattr(self, name)), "a whole number of at least 1")
        for name in ("hidden", "readout_hidden", "width"):
            check(name, getattr(self, name) <= MAX_WIDTH, f"at most {MAX_WIDTH:,}")
        for name in ("learning_rate", "weight_decay", "validation"):
            check(name, _is_number(getattr(self, name)), "a number")
            object.__setattr__(self, name, float(getattr(self, name)))  # 1 and 1.0 are one spec, and have one hash
        check("learning_rate", 0 < self.learning_rate <= MAX_RATE, f"above 0 and at most {MAX_RATE:g}")
        check("weight_decay", 0 <= self.weight_decay <= MAX_RATE, f"at least 0 and at most {MAX_RATE:g}")
        check("validation", 0 < self.validation < 1, "between 0 and 1")
        seed = self.random_state
        check("random_state", (seed == 0 or is_count(seed)) and seed <= MAX_SEED, "a whole number from 0 to 2^63 - 1")

    @property
    def reads_llm(self) -> bool:
        """Whether there is a language model between the genes and the readout."""
        return self.ablation != "no-llm"

    def sha256(self) -> str:
        """Return the hash of all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON types."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "readout") -> ReadoutSpec:
        """Return the spec of `values`; raise `InputError` on an unknown key or an invalid value."""
        check_keys(cls, values, "key of a readout", where)
        return cls(**values)

    def to_toml(self) -> str:
        """Return the fields that are set, as TOML."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    @classmethod
    def from_toml(cls, path: Path, **given: Any) -> ReadoutSpec:
        """Read a spec, in which `given` replaces values of the file; raise `FileError` if it is missing or not TOML."""
        return cls.from_dict(read_toml(path, "the spec of a readout", "check the file") | given, str(path))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
