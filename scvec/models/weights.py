"""Local model weights: where they are, their hashes, and the errors where they are missing."""

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
"""Weights for other frameworks, which are not downloaded."""


def folder_of(source: str, download: bool) -> str:
    """Return the folder of a model: itself, or the Hugging Face cache's folder of that name.

    The libraries, left to find it offline, confuse some models in the cache.
    """
    if Path(source).is_dir():
        return source
    from huggingface_hub import snapshot_download

    return snapshot_download(source, local_files_only=not download, ignore_patterns=list(OTHER_FORMATS))


@contextmanager
def loading(
    source: str, name: str, *, package: str, extra: str, download: bool, fix: str | None = None
) -> Iterator[None]:
    """Turn a missing package, or missing weights, into an error of one line.

    Parameters
    ----------
    source
        Where the weights are: a path, or a name on the hub.
    name
        What is loaded: ``"the encoder minilm"``.
    package, extra
        The package that loads them, as it is installed, and the extra of scvec that brings it.
    download
        Whether they may be downloaded.
    fix
        What to do where they are missing; None: download them, or name a folder.

    Raises
    ------
    MissingDependencyError
        If the package is missing, or the weights are missing and `fix` says how to get them.
    FileError
        If the weights are missing or invalid.
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
        # Backticks are for parameters of ours.
        reason = shorten(" ".join(str(error).replace("`", "'").split()), 120)
        if fix is not None:
            raise MissingDependencyError(f"the weights of {source} are missing ({reason})", fix=fix) from error
        why, otherwise = "are not on this machine", "use `download`, or "
        if Path(source).exists() or source.startswith(("/", ".")):
            why, otherwise = "cannot be loaded" if Path(source).exists() else "do not exist", ""
        elif download:
            why, otherwise = "cannot be downloaded", "check the network, or "
        path = "give the path of a folder that has one"
        raise FileError(f"the weights of {source} {why} ({reason})", f"a model for {name}", otherwise + path) from error


def digest_of(model: Any, use: str) -> str:
    """Return a hash of a torch model: of its weights, and of words that say how they are used."""
    digest = hashlib.sha256(use.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.float().cpu().numpy()).tobytes())
    return digest.hexdigest()[:16]


def digest_of_files(path: Path) -> str:
    """Return a hash of a model that is not loaded: of its file, or of its folder's files but those of other formats.

    Raises
    ------
    OSError
        If the file or folder does not exist.
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
    """Let torch use the cores that this process may run on; by itself it counts all of the machine's."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
