"""The formats: how a valid file is made, read by scvec, and read by a reference reader where there is one."""

from __future__ import annotations

import gzip
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import polars as pl

import scvec as sv
from scvec.bench.suite import Suite
from scvec.core.types import silent
from scvec.embed.encoders.vector_files import read_vectors
from scvec.embed.recipe import Recipe
from scvec.errors import ScvecError
from scvec.ingest.cells import open_cells
from scvec.ingest.genes.gene_sets import read_gene_sets
from scvec.ingest.genes.ncbi import read_info, read_orthologs, read_summaries
from scvec.ingest.genes.ortholog_tables import read_hcop
from scvec.ontology.read import read_ontology
from tests import sources, toy, toy_ontology

Answer: TypeAlias = dict[str, Any]
"""The parts of what was read: a value, or the error by which a part was refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """A format.

    Attributes
    ----------
    make
        Writes a valid file into a folder.
    read
        Returns what scvec reads; a `ScvecError` refuses the whole file.
    reference
        Returns what the reference reader says of each part that scvec read; None: there is none, any answer will do.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Answer]
    reference: Callable[[Path, Answer], Answer] | None = None


def cells() -> ad.AnnData:
    """Return cells with columns of all types."""
    found = toy.cells(16)
    found.obs["text"] = [f"t{i % 3}" for i in range(16)]
    found.obs["gap"] = pd.Categorical([None if i % 5 == 0 else f"g{i % 2}" for i in range(16)])
    found.obs["number"] = np.arange(16) / 2
    found.obs["whole"] = pd.array([None if i == 3 else i for i in range(16)], dtype="Int64")
    found.obs["flag"] = np.arange(16) % 2 == 0
    found.var["gene_ids"] = [f"ENSG{i:011d}" for i in range(found.n_vars)]
    found.layers["log"] = found.X.copy()
    return found


def part(read: Callable[[], Any]) -> Any:
    """Return a part, or the error that refuses it."""
    try:
        return read()
    except ScvecError as error:
        return error


def read_cells(path: Path, obs: Path | None = None) -> Answer:
    """Return names, annotations and values."""
    with open_cells(path, obs) as file:
        names = file.obs_names
        answer: Answer = {"obs_names": names.tolist()}
        for key in file.obs_keys:
            answer[f"obs/{key}"] = part(partial(_column, file, key))
        answer |= {"var_names": part(lambda: _matrix(file)[0]), "X": part(lambda: _matrix(file)[1])}
    return answer


def _column(file: Any, key: str) -> tuple[list[str], list[bool]]:
    labels, absent = file.column(key).labels()
    return labels.tolist(), absent.tolist()


def _matrix(file: Any) -> tuple[list[str], Any]:
    with file.matrix("X") as matrix:
        rows = [batch.toarray() for _, batch in matrix.batches("reading", silent)]
        return matrix.gene_names().tolist(), np.vstack(rows)


def by_anndata(path: Path, answer: Answer) -> Answer:
    """Return the same parts as anndata reads them, each for itself; without those that anndata cannot read."""
    found: Answer = {}
    with h5py.File(path, "r") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key in answer:
            try:
                found[key] = _by_anndata(file, key)
            except Exception:  # noqa: BLE001  # it may raise anything
                continue
    return found


def _by_anndata(file: Any, key: str) -> Any:
    from anndata.io import read_elem

    if key == "X":
        x = read_elem(file["X"])
        return np.asarray(x.toarray() if hasattr(x, "toarray") else x, np.float32)
    if key.endswith("_names"):
        frame = file[key[:3]]
        return [_text(one) for one in read_elem(frame[frame.attrs["_index"]])]
    name = key.removeprefix("obs/")
    legacy = isinstance(file[key], h5py.Dataset) and "categories" in file[key].attrs
    column = pd.Series(read_elem(file["obs"])[name] if legacy else read_elem(file[key]))
    missing = column.isna().to_numpy() | np.array([not _text(one).strip() for one in column])
    return ["" if gone else _text(one) for one, gone in zip(column, missing, strict=True)], missing.tolist()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def same(found: Any, expected: Any) -> bool:
    """Whether a part is as the reference has it."""
    if isinstance(found, np.ndarray):
        return found.shape == expected.shape and np.array_equal(found, expected, equal_nan=True)
    if isinstance(found, tuple):
        labels, missing = found
        return missing == expected[1] and all(
            gone or one == other for one, other, gone in zip(labels, expected[0], missing, strict=True)
        )
    return bool(found == expected)


def _of_anndata(kind: str) -> Target:
    return Target(lambda folder: sources.write(cells(), folder, kind), read_cells, by_anndata)


def _of_cells(kind: str) -> Target:
    return Target(lambda folder: sources.write(cells(), folder, kind), read_cells)


def _legacy(folder: Path) -> Path:
    """Write as anndata 0.7 did: codes that refer to ``__categories``."""
    path = folder / "legacy.h5ad"
    adata = cells()
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for key in ("cell_type", "gap"):
            column = adata.obs[key].cat
            del file["obs"][key]
            names = file.require_group("obs/__categories").create_dataset(
                key, data=np.array(column.categories, object), dtype=h5py.string_dtype()
            )
            file["obs"][key] = column.codes.to_numpy()
            file["obs"][key].attrs["categories"] = names.ref
        file["obs"].attrs["encoding-version"] = "0.1.0"
    return path


def _beside(write: Callable[[Path], Any], ending: str) -> Target:
    """Return the target of a table of annotations, beside cells that are whole."""

    def make(folder: Path) -> Path:
        path = folder / f"labels{ending}"
        write(path)
        return path

    def read(path: Path) -> Answer:
        plain = path.parent / "plain.h5ad"
        if not plain.exists():
            toy.cells(16).write_h5ad(plain)
        return read_cells(plain, path)

    return Target(make, read)


def _one(write: Callable[[Path], Any], name: str, read: Callable[[Path], Any]) -> Target:
    def make(folder: Path) -> Path:
        path = folder / name
        write(path)
        return path

    return Target(make, lambda path: {"value": read(path)})


def _labels_frame() -> pl.DataFrame:
    obs = toy.cells(16).obs
    return pl.DataFrame({"cell": list(obs.index), "kind": [str(one) for one in obs["cell_type"]], "n": list(range(16))})


VECTORS = np.arange(24, dtype=np.float32).reshape(6, 4)
GENES = [f"TOY{i}" for i in range(6)]
SUITE = """
name = "small"
recipes = ["expression"]
seeds = [0]

[[tasks]]
group = "one donor held out"
name = "donor {donor}"
reference = "ref.h5ad"
hold_out = { key = "donor", values = ["d{donor}"] }
label_key = "cell_type"
batch_key = "donor"
vary = { donor = [0, 1] }
"""


def _pickled(path: Path) -> None:
    import pickle

    path.write_bytes(pickle.dumps(dict(zip(GENES, VECTORS.tolist(), strict=True)), 4))


def _ncbi(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        if name == "orthologs":
            toy.write_orthologs(path)
            return
        info, summary = toy.write_ncbi(path.parent)
        (info if name == "info" else summary).rename(path)

    return write


def _hcop(path: Path) -> None:
    toy.write_hcop(path, [(str(1000 + i), str(5000 + i), "Ensembl,OMA,Panther") for i in range(toy.N_GENES)])


def _store(folder: Path) -> Path:
    store = folder / "store"
    info, summary = toy.write_ncbi(folder)
    sv.ingest.texts(sv.Store(store), taxon="human", gene_info=info, gene_summary=summary)
    sv.atlas.build(store, "toy", toy.cells(120), label_key="cell_type", recipe="expression")
    return store


def _asked(store: Path) -> Answer:
    atlas = sv.atlas.open_atlas(sv.Store(store), "toy")
    return {"labels": sv.annotate(toy.cells(8, seed=3), atlas).label.tolist()}


def _expected(store: Path, answer: Answer) -> Answer:
    """Return the calls by the atlas before it was damaged: the store says all, or refuses."""
    del store
    return {"labels": [toy.LABELS[i % 4] for i in range(8)]} if answer else {}


TARGETS: dict[str, Target] = {
    "h5ad": _of_anndata("csr"),
    "h5ad_csc": _of_anndata("csc"),
    "h5ad_dense": _of_anndata("dense"),
    "h5ad_0_7": Target(_legacy, read_cells, by_anndata),
    "zarr": _of_cells("zarr3"),
    "zarr2": _of_cells("zarr2"),
    "tenx": _of_cells("tenx"),
    "tenx2": _of_cells("tenx2"),
    "mtx": _of_cells("mtx"),
    "mtx_gz": _of_cells("mtx.gz"),
    "csv": _beside(lambda path: _labels_frame().write_csv(path), ".csv"),
    "tsv_gz": _beside(
        lambda path: path.write_bytes(gzip.compress(_labels_frame().write_csv(separator="\t").encode())), ".tsv.gz"
    ),
    "parquet": _beside(lambda path: _labels_frame().write_parquet(path), ".parquet"),
    "npz": _one(lambda path: np.savez(path, names=np.array(GENES), vectors=VECTORS), "v.npz", read_vectors),
    "pickle": _one(_pickled, "v.pkl", read_vectors),
    "vectors_parquet": _one(
        lambda path: pl.DataFrame({"gene": GENES, "vector": VECTORS.tolist()}).write_parquet(path),
        "v.parquet",
        read_vectors,
    ),
    "obo": _one(lambda path: path.write_text(toy_ontology.as_obo(toy_ontology.TOY)), "cl.obo", read_ontology),
    "gmt": _one(
        lambda path: path.write_text("".join(f"SET{i}\tabout\tTOY{i}\tTOY{i + 1}\n" for i in range(9))),
        "s.gmt",
        read_gene_sets,
    ),
    "gene_info": _one(_ncbi("info"), "toy.gene_info.gz", lambda path: read_info(path, 9606)),
    "gene_summary": _one(_ncbi("summary"), "s.gz", lambda path: read_summaries(path, [9606], [9606])),
    "gene_orthologs": _one(_ncbi("orthologs"), "o.gz", lambda path: read_orthologs(path, 9606, 10090)),
    "hcop": _one(_hcop, "h.gz", lambda path: read_hcop(path, 10090).sort("gene_id", "human_gene_id")),
    "suite": _one(lambda path: path.write_text(SUITE), "suite.toml", Suite.read),
    "recipe": _one(
        lambda path: path.write_text('name = "mine"\nweights = "svd"\ndimension = 8\n'), "mine.toml", Recipe.from_toml
    ),
    "store": Target(_store, _asked, _expected),
}


def copies(target: Target, folder: Path) -> Iterator[Path]:
    """Yield a fresh copy of the valid file, again and again."""
    valid = folder / "valid"
    valid.mkdir(parents=True, exist_ok=True)
    path = target.make(valid)
    while True:
        mutant = folder / "mutant"
        shutil.rmtree(mutant, ignore_errors=True)
        mutant.mkdir()
        copy = mutant / path.name
        shutil.copytree(path, copy) if path.is_dir() else shutil.copyfile(path, copy)
        yield copy


def shown(value: Any) -> str:
    """Return a part in few words, for a message."""
    return json.dumps(value, default=str)[:150]
