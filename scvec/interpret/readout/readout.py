"""A readout that was trained: what it is made of, and where it is in a store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec._version import __version__
from scvec.core.files import save_arrays, sha256
from scvec.embed import open_genes
from scvec.errors import MismatchError, NotInStoreError, unknown
from scvec.ingest import open_texts
from scvec.interpret.readout.backbone import Body, make_body, require
from scvec.interpret.readout.dataset import Genes, genes_of
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.store import Store

if TYPE_CHECKING:
    import torch

MANIFEST, PARTS = "readout.json", "parts.safetensors"


@dataclass(frozen=True)
class Readout:
    """A trained readout. Get one from `train` or `open_readout`.

    Attributes
    ----------
    name
        What it is called; "" where it is in no store.
    spec
        How it was made.
    labels
        (L,) what it may call, sorted.
    genes
        The genes that it reads, with their vectors.
    parts
        What was trained.
    body
        What lies between.
    manifest
        What it was made from, and how training went; JSON types.
    store
        Where gene texts are.
    """

    name: str
    spec: ReadoutSpec
    labels: tuple[str, ...]
    genes: Genes
    parts: Mapping[str, torch.Tensor]
    body: Body
    manifest: Mapping[str, Any]
    store: Store

    @property
    def history(self) -> list[dict[str, float]]:
        """How training went: see `Learnt.history`."""
        return list(self.manifest["history"])

    @property
    def best(self) -> dict[str, float]:
        """The epoch whose parts were kept: the one with the lowest loss on the cells held out."""
        return min(self.history, key=lambda one: one["validation_loss"])

    @cached_property
    def vectors(self) -> torch.Tensor:
        """(g, d) the genes' vectors, where the body computes."""
        import torch

        return torch.from_numpy(np.array(self.genes.vectors, np.float32)).to(self.body.device)

    def to_dict(self) -> dict[str, Any]:
        """Return what it is known by in the provenance of an answer, as JSON types."""
        return {key: self.manifest[key] for key in ("name", "spec", "labels", "llm", "genes", "source")}


def manifest_of(
    name: str, spec: ReadoutSpec, labels: tuple[str, ...], genes: Genes, body: Body, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a store says of a readout; `about` is its source and history."""
    return {
        "kind": "readout",
        "name": name,
        "spec": spec.to_dict(),
        "spec_sha256": spec.sha256(),
        "labels": list(labels),
        "genes": genes.to_dict(),
        "llm": {"name": body.name, "revision": body.revision} if spec.reads_llm else None,
        "written_by": f"scvec {__version__}",
        **about,
    }


def folder_of(name: str) -> str:
    """Return where a readout is in its store."""
    return f"readouts/{name}"


def is_there(store: Store, name: str) -> bool:
    """Whether a store has a readout of that name, whole."""
    return store.has_file(f"{folder_of(name)}/{MANIFEST}")


def save(store: Store, readout: Readout) -> None:
    """Write a readout, whole or not at all; what its training left is gone with that."""
    arrays = {name: one.detach().cpu().numpy() for name, one in readout.parts.items()}

    def write(folder: Path) -> None:
        save_arrays(folder / PARTS, {**arrays, "gene_ids": readout.genes.ids})
        values = {**readout.manifest, "parts_sha256": sha256(folder / PARTS)}
        (folder / MANIFEST).write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    store.put_folder(folder_of(readout.name), write, last=MANIFEST)


def open_readout(
    store: Store, name: str, *, model: str | None = None, device: str = "cpu", download: bool = False
) -> Readout:
    """Open a readout of a store; its language model and the vectors of its genes must be where they were.

    Parameters
    ----------
    store, name
        Which.
    model
        Where the LLM is now: a folder, a GGUF file or a name on the hub; None: where it was.
    device
        Where it computes.
    download
        Whether the LLM may be fetched.

    Raises
    ------
    KeyNotFoundError
        If there is no such readout.
    MismatchError
        If the LLM, the gene texts or the files of the readout are not those that it was trained with.
    NotInStoreError
        If its gene texts or vectors are no longer there.
    MissingDependencyError
        If torch or transformers is not installed.
    """
    require()
    from safetensors.torch import load_file

    if not is_there(store, name):
        raise unknown("readout", name, [one for one in store.children("readouts") if is_there(store, one)], store.uri)
    manifest = store.read_json(f"{folder_of(name)}/{MANIFEST}")
    spec = ReadoutSpec.from_dict(manifest["spec"], f"readout {name}")
    with store.local_file(f"{folder_of(name)}/{PARTS}") as path:
        _expect(f"the parts of readout {name!r}", sha256(path), manifest["parts_sha256"], "train it again")
        parts = load_file(path)
    genes = _genes(store, name, spec, parts.pop("gene_ids").numpy(), manifest["genes"])
    body = make_body(spec, model=model, device=device, download=download)
    if manifest["llm"] is not None:
        wanted = f"{manifest['llm']['revision']}, with which readout {name!r} was trained"
        cure = "say where that model is with --model (of query and evaluate: --readout-model), or train again"
        if body.revision != manifest["llm"]["revision"]:
            raise MismatchError(f"the language model {body.name} has the weights {body.revision}", wanted, cure)
    placed = {key: one.to(body.device) for key, one in parts.items()}
    return Readout(name, spec, tuple(manifest["labels"]), genes, placed, body, manifest, store)


def _genes(store: Store, name: str, spec: ReadoutSpec, ids: Any, made: Mapping[str, Any]) -> Genes:
    texts = open_texts(store, made["taxon_id"], made["release"])
    again = f"train it again: scvec interpret train ... --name {name} --overwrite"
    _expect(f"the {texts}", texts.manifest["digest"], made["gene_texts_digest"], again)
    found = open_genes(store, texts, encoder=made["encoder"], revision=made["encoder_revision"])
    if found.revision != made["encoder_revision"]:
        raise NotInStoreError(f"vectors by revision {found.revision}", made["encoder_revision"], again)
    return genes_of(spec, texts, ids, found.of(ids), found.encoder, found.revision)


def _expect(what: str, found: str, wanted: str, cure: str) -> None:
    if found != wanted:
        raise MismatchError(f"{what}: hash {found[:12]}", f"{wanted[:12]}, as it was made", cure)
