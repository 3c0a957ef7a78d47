"""Weights of models here: where they are, what they are known by, and what is said where they are missing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from scvec.errors import FileError, MissingDependencyError, missing

OTHER_FORMATS = ("*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite", "onnx/*", "openvino/*", "*.gguf")
"""Weights for other frameworks, which are not fetched."""


def folder_of(source: str, download: bool) -> str:
    """Return the folder of a model: itself, or what the Hugging Face cache has of that name.

    Not left to the libraries, which offline take some models in the cache for others.
    """
    if Path(source).is_dir():
        return source
    from huggingface_hub import snapshot_download

    return snapshot_download(source, local_files_only=not download, ignore_patterns=list(OTHER_FORMATS))


@contextmanager
def loading(
    source: str, name: str, *, package: str, extra: str, download: bool, cure: str | None = None
) -> Iterator[None]:
    """Say in one line that a package is missing, or the weights.

    Parameters
    ----------
    source
        Where the weights are: a path, or a name on the hub.
    name
        What they are for: ``"the encoder minilm"``.
    package, extra
        What loads them, as it is installed, and the extra of scvec that has it.
    download
        Whether they may be fetched.
    cure
        What to do where they are missing; None: fetch them, or name a folder.

    Raises
    ------
    MissingDependencyError
        If the package is missing, or the weights are and `cure` says how to get them.
    FileError
        If the weights are missing, or are none.
    """
    if find_spec(package.replace("-", "_")) is None:
        raise missing(package, extra, name)
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError, StrictDataclassError) as error:
        reason = shorten(" ".join(str(error).split()), 120)
        if cure is not None:
            raise MissingDependencyError(f"the weights of {source} are not here ({reason})", "them", cure) from error
        why, otherwise = "are not here", "give --download, or "
        if Path(source).exists() or source.startswith(("/", ".")):
            why, otherwise = "cannot be loaded" if Path(source).exists() else "are not there", ""
        elif download:
            why, otherwise = "cannot be fetched", "check the network, or "
        wanted, path = f"a model for {name}", "give the path of a folder that has one"
        raise FileError(f"the weights of {source} {why} ({reason})", wanted, otherwise + path) from error


def digest_of(model: Any, use: str) -> str:
    """Return what a torch model is known by: its weights, and in words how they are used."""
    digest = hashlib.sha256(use.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.float().cpu().numpy()).tobytes())
    return digest.hexdigest()[:16]


def digest_of_files(path: Path) -> str:
    """Return what a model is known by before it is loaded: its file, or all files of its folder but other formats'.

    Raises
    ------
    OSError
        If there is none.
    """
    files = [path]
    if path.is_dir():
        found = (one.relative_to(path) for one in path.rglob("*") if one.is_file())
        seen = (one for one in found if not any(part.startswith(".") for part in one.parts))
        files = sorted(path / one for one in seen if not any(one.match(skip) for skip in OTHER_FORMATS))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            of_file = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{'' if file == path else file.relative_to(path).as_posix()}\n{of_file}\n".encode())
    return digest.hexdigest()[:16]


@contextmanager
def all_threads() -> Iterator[None]:
    """Let torch use the cores this process may run on: by itself it counts those of the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
