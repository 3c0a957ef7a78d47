"""A trained readout: what it consists of, and where it is in a store."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec._version import __version__
from scvec.core.files import save_arrays, sha256
from scvec.core.shapes import Each, Maybe, fault
from scvec.embed import open_genes
from scvec.errors import MismatchError, NotInStoreError, StoreError, unknown
from scvec.ingest import open_texts
from scvec.interpret.readout.backbone import Backbone, make_backbone, require
from scvec.interpret.readout.dataset import Genes, genes_of
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.store import Store

if TYPE_CHECKING:
    import torch

MANIFEST, PARTS = "readout.json", "parts.safetensors"
"""The manifest, and the parts of readouts whose manifest names none."""

SHAPE = {
    "spec": Each(object),
    "labels": (str,),
    "parts": Maybe(str),
    "parts_sha256": str,
    "llm": Maybe({"name": str, "revision": str}),
    "genes": {"taxon_id": int, "release": str, "gene_texts_digest": str, "encoder": str, "encoder_revision": str},
}
"""What a manifest has at least."""


@dataclass(frozen=True)
class Readout:
    """A trained readout. Get one from `train` or `open_readout`.

    Attributes
    ----------
    name
        Its name; "" if it is in no store.
    spec
        How it was made.
    labels
        (L,) the labels that it knows, sorted.
    genes
        The genes that it reads, with their vectors.
    modules
        The trained modules.
    backbone
        The language model, or the mean, between the modules.
    manifest
        What it was made from, and how training went; JSON types.
    store
        The store with the gene texts.
    """

    name: str
    spec: ReadoutSpec
    labels: tuple[str, ...]
    genes: Genes
    modules: Mapping[str, torch.Tensor]
    backbone: Backbone
    manifest: Mapping[str, Any]
    store: Store

    @property
    def history(self) -> list[dict[str, float]]:
        """How training went: see `scvec.interpret.readout.loop.Learnt.history`."""
        return list(self.manifest["history"])

    @property
    def best(self) -> dict[str, float]:
        """The epoch whose modules were kept: the one with the lowest loss on held-out cells."""
        return min(self.history, key=lambda one: one["validation_loss"])

    @cached_property
    def vectors(self) -> torch.Tensor:
        """(g, d) vectors of the genes, on the backbone's device."""
        import torch

        return torch.from_numpy(np.array(self.genes.vectors, np.float32)).to(self.backbone.device)

    def to_dict(self) -> dict[str, Any]:
        """Return what identifies it in the provenance of calls, as JSON types."""
        return {key: self.manifest[key] for key in ("name", "spec", "labels", "llm", "genes", "source")}


def manifest_of(
    name: str, spec: ReadoutSpec, labels: tuple[str, ...], genes: Genes, backbone: Backbone, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the manifest of a readout; `about` is its source and history."""
    return {
        "kind": "readout",
        "name": name,
        "spec": spec.to_dict(),
        "spec_sha256": spec.sha256(),
        "labels": list(labels),
        "genes": genes.to_dict(),
        "llm": {"name": backbone.name, "revision": backbone.revision} if spec.reads_llm else None,
        "written_by": f"scvec {__version__}",
        **about,
    }


def folder_of(name: str) -> str:
    """Return the folder of a readout in its store."""
    return f"readouts/{name}"


def is_there(store: Store, name: str) -> bool:
    """Whether a store has a complete readout of that name."""
    return store.has_file(f"{folder_of(name)}/{MANIFEST}")


def save(store: Store, readout: Readout) -> None:
    """Write a readout, completely or not at all; then delete the checkpoint of its training, and an older readout.

    Parts are named by their hash, and the manifest that names them is one file, written last: at any moment a reader
    finds the older readout or the new one, in an object store too.
    """
    arrays = {name: one.detach().cpu().numpy() for name, one in readout.modules.items()}
    folder = folder_of(readout.name)
    with TemporaryDirectory() as made:
        local = Path(made, "parts")
        save_arrays(local, {**arrays, "gene_ids": readout.genes.ids})
        digest = sha256(local)
        parts = f"parts-{digest[:12]}.safetensors"
        store.put_file(f"{folder}/{parts}", lambda path: shutil.copyfile(local, path))
    store.write_json(f"{folder}/{MANIFEST}", {**readout.manifest, "parts": parts, "parts_sha256": digest})
    for name in store.children(folder):
        if name.startswith("parts") and name != parts:
            store.remove_file(f"{folder}/{name}")
    store.remove(f"{folder}/job")


def open_readout(
    store: Store, name: str, *, model: str | None = None, device: str = "cpu", download: bool = False
) -> Readout:
    """Open a readout of a store; its language model and the vectors of its genes must still be available.

    Parameters
    ----------
    store, name
        The store, and the readout's name.
    model
        Where the LLM is now: a folder, a GGUF file or a name on the hub; None: where it was at training.
    device
        Where the LLM computes.
    download
        Whether the LLM may be downloaded.

    Raises
    ------
    KeyNotFoundError
        If there is no such readout.
    MismatchError
        If the LLM, the gene texts or the files of the readout are not those that it was trained with.
    NotInStoreError
        If its gene texts or vectors are missing from the store.
    MissingDependencyError
        If torch or transformers is not installed.
    """
    require()
    from safetensors.torch import load_file

    if not is_there(store, name):
        raise unknown("readout", name, [one for one in store.children("readouts") if is_there(store, one)], store.uri)
    manifest = store.read_json(f"{folder_of(name)}/{MANIFEST}")
    spec = ReadoutSpec.from_dict(manifest["spec"], f"readout {name}")
    found = fault(manifest, SHAPE)
    if found:
        raise StoreError(f"{MANIFEST} of readout {name!r}: {found}", "what scvec wrote", "train it again")
    parts = manifest.get("parts", PARTS)
    with store.local_file(f"{folder_of(name)}/{parts}") as path:
        _expect(f"{parts} of readout {name!r}", sha256(path), manifest["parts_sha256"], "train it again")
        modules = load_file(path)
    genes = _genes(store, name, spec, modules.pop("gene_ids").numpy(), manifest["genes"])
    backbone = make_backbone(spec, model=model, device=device, download=download)
    if manifest["llm"] is not None and backbone.revision != manifest["llm"]["revision"]:
        raise MismatchError(
            f"language model {backbone.name} has weights {backbone.revision}",
            f"{manifest['llm']['revision']}, with which readout {name!r} was trained",
            "point `model` to that language model, or train again",
        )
    placed = {key: one.to(backbone.device) for key, one in modules.items()}
    return Readout(name, spec, tuple(manifest["labels"]), genes, placed, backbone, manifest, store)


def _genes(store: Store, name: str, spec: ReadoutSpec, ids: Any, made: Mapping[str, Any]) -> Genes:
    texts = open_texts(store, made["taxon_id"], made["release"])
    again = "train it again with `overwrite`"
    _expect(str(texts), texts.manifest["digest"], made["gene_texts_digest"], again)
    found = open_genes(store, texts, encoder=made["encoder"], revision=made["encoder_revision"], gene_ids=ids)
    if found.revision != made["encoder_revision"]:
        raise NotInStoreError(
            f"readout {name!r}: the store has gene vectors of revision {found.revision}",
            made["encoder_revision"],
            again,
        )
    return genes_of(spec, texts, ids, found.of(ids), found.encoder, found.revision)


def _expect(what: str, found: str, expected: str, fix: str) -> None:
    if found != expected:
        raise MismatchError(f"{what} has hash {found[:12]}", f"{expected[:12]}, as at training", fix)
