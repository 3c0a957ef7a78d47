"""Trains a readout on a file of labelled cells, into a store or only in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scvec.atlas.paths import check_name
from scvec.core.progress import shown
from scvec.core.types import Progress
from scvec.errors import ExistsError, InputError
from scvec.ingest.cells import AskedScale
from scvec.ingest.cells.options import ReadOptions
from scvec.interpret.readout.backbone import Backbone, make_backbone, require
from scvec.interpret.readout.checkpoint import Checkpoint
from scvec.interpret.readout.dataset import Dataset, read_dataset
from scvec.interpret.readout.loop import learn
from scvec.interpret.readout.readout import Readout, folder_of, is_there, manifest_of, save
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.store import Store


def train(
    store: Store,
    name: str | None,
    cells: str | Path,
    *,
    label_key: str,
    spec: ReadoutSpec,
    batch_key: str | None = None,
    taxon: str | int | None = None,
    release: str | None = None,
    layer: str | None = None,
    scale: AskedScale = "auto",
    gene_key: str | None = None,
    obs: str | Path | None = None,
    only: str | None = None,
    only_annotated: bool = False,
    unlabelled: Sequence[str] = (),
    overwrite: bool = False,
    download: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Readout:
    """Train a readout and save it; it appears in the store only when it is complete.

    A training that was interrupted or killed resumes if it is started again with the same file and parameters.

    Parameters
    ----------
    store, name
        The store, which has the gene texts and the spec's encoder's vectors of them; and the readout's name. None: it
        is not saved.
    cells
        A file that `scvec.ingest.cells.open_cells` reads.
    label_key, batch_key
        Columns of ``obs``: the label of each cell; its donor or batch, of which whole ones are held out.
    spec
        How it is made and trained; if its LLM is a path, the readout keeps it as an absolute one.
    taxon, release
        The gene texts; None: those of the taxon in the store whose genes fit best, at its last release.
    layer, scale, gene_key, obs, only, only_annotated, unlabelled
        As in `scvec.atlas.build`.
    overwrite
        Replace a readout of that name.
    download
        Whether the LLM may be downloaded.
    device
        Where the LLM computes.
    progress
        Shows the cells done; each counts once per epoch.

    Raises
    ------
    InputError
        If the file, a column, the matrix, the genes or the LLM are invalid, or if the loss is not finite.
    ExistsError
        If there is such a readout and `overwrite` is not set.
    NotInStoreError
        If gene texts or vectors are missing.
    MissingDependencyError
        If torch or transformers is not installed.
    ConflictError
        If another process is training one of that name.
    """
    progress = shown(progress)
    require()
    if name is not None:
        check_name(name, "readout")
        _expect_room(store, name, overwrite)
    dataset = read_dataset(
        store,
        cells,
        spec,
        label_key=label_key,
        batch_key=batch_key,
        release=release,
        reading=ReadOptions(
            obs=obs,
            layer=layer,
            scale=scale,
            gene_key=gene_key,
            taxon=taxon,
            only=only,
            only_annotated=only_annotated,
            unlabelled=unlabelled,
        ),
        progress=progress,
    )
    spec = _findable(spec)
    backbone = make_backbone(spec, device=device, download=download)
    if name is None:
        return _learnt(store, "", dataset, backbone, spec, None, progress)
    folder = folder_of(name)
    with store.only_writer(f"{folder}/writer"):
        _expect_room(store, name, overwrite)  # Another process may have finished meanwhile.
        checkpoint = Checkpoint(store, f"{folder}/job/state.safetensors", dataset.plan(spec, backbone.revision))
        try:
            readout = _learnt(store, name, dataset, backbone, spec, checkpoint, progress)
        except InputError:  # the same error would come again
            store.remove(f"{folder}/job" if is_there(store, name) else folder)
            raise
        save(store, readout)
    return readout


def _findable(spec: ReadoutSpec) -> ReadoutSpec:
    """Return a spec whose LLM, if it is a path, is found from any folder."""
    is_path = spec.model is not None and Path(spec.model).exists()
    return replace(spec, model=str(Path(spec.model or "").absolute())) if is_path else spec


def _expect_room(store: Store, name: str, overwrite: bool) -> None:
    if is_there(store, name) and not overwrite:
        raise ExistsError(f"readout {name!r} already exists", fix="choose another name, or set `overwrite`")


def _learnt(
    store: Store,
    name: str,
    dataset: Dataset,
    backbone: Backbone,
    spec: ReadoutSpec,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> Readout:
    learnt = learn(dataset, backbone, spec, checkpoint, progress)
    about = {"source": dict(dataset.source), "history": list(learnt.history)}
    manifest = manifest_of(name, spec, dataset.labels, dataset.genes, backbone, about)
    return Readout(name, spec, dataset.labels, dataset.genes, learnt.modules, backbone, manifest, store)
