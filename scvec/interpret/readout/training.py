"""Training a readout: on a file of labelled cells, into a store or only in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scvec.atlas.paths import check_name
from scvec.core.types import Progress, silent
from scvec.errors import ExistsError, InputError
from scvec.ingest.cells import AskedScale
from scvec.interpret.readout.backbone import Body, make_body, require
from scvec.interpret.readout.checkpoint import Checkpoint
from scvec.interpret.readout.dataset import Lesson, read_lesson
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
    overwrite: bool = False,
    download: bool = False,
    device: str = "cpu",
    progress: Progress = silent,
) -> Readout:
    """Train a readout and save it: a new one is there when it is whole, and not before.

    A training that was interrupted or killed goes on where it was, when it is started again with the same file and the
    same parameters.

    Parameters
    ----------
    store, name
        Where to, and what it will be called; None: it is saved nowhere. The store has the gene texts, and their vectors
        by the spec's encoder.
    cells
        A file that `scvec.ingest.cells.open_cells` reads.
    label_key, batch_key
        Columns of ``obs``: the label of each cell; its donor or batch, of which whole ones are held out.
    spec
        How it is made and trained; where its LLM is a path, that is kept as an absolute one.
    taxon, release
        The gene texts; None: of the taxa in the store the one whose genes fit best, at its last release.
    layer, scale, gene_key, obs
        As `scvec.atlas.build` takes them.
    overwrite
        Replace a readout of that name.
    download
        Whether the LLM may be fetched.
    device
        Where the LLM computes.
    progress
        Shows the cells done, each once an epoch.

    Raises
    ------
    InputError
        If the file, a column, the matrix, the genes or the LLM are of no use, or the loss is no longer a number.
    ExistsError
        If there is such a readout and `overwrite` is not set.
    NotInStoreError
        If gene texts or vectors are missing.
    MissingDependencyError
        If torch or transformers is not installed.
    ConflictError
        If another process trains one of that name.
    """
    require()
    if name is not None:
        check_name(name, "readout")
        _expect_room(store, name, overwrite)
    lesson = read_lesson(
        store,
        cells,
        spec,
        label_key=label_key,
        batch_key=batch_key,
        taxon=taxon,
        release=release,
        layer=layer,
        scale=scale,
        gene_key=gene_key,
        obs=obs,
        progress=progress,
    )
    spec = _findable(spec)
    body = make_body(spec, device=device, download=download)
    if name is None:
        return _learnt(store, "", lesson, body, spec, None, progress)
    folder = folder_of(name)
    with store.only_writer(f"{folder}/writer"):
        _expect_room(store, name, overwrite)  # Another process may have been done meanwhile.
        checkpoint = Checkpoint(store, f"{folder}/job/state.safetensors", lesson.plan(spec, body.revision))
        try:
            readout = _learnt(store, name, lesson, body, spec, checkpoint, progress)
        except InputError:  # the same would come of it again
            store.remove(f"{folder}/job" if is_there(store, name) else folder)
            raise
        save(store, readout)
    return readout


def _findable(spec: ReadoutSpec) -> ReadoutSpec:
    """Return a spec whose LLM is found from any folder, if it is a path."""
    is_path = spec.model is not None and Path(spec.model).exists()
    return replace(spec, model=str(Path(spec.model or "").absolute())) if is_path else spec


def _expect_room(store: Store, name: str, overwrite: bool) -> None:
    if is_there(store, name) and not overwrite:
        raise ExistsError(f"there is a readout {name!r}", "a new name", "choose another, or give --overwrite")


def _learnt(
    store: Store,
    name: str,
    lesson: Lesson,
    body: Body,
    spec: ReadoutSpec,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> Readout:
    learnt = learn(lesson, body, spec, checkpoint, progress)
    about = {"source": dict(lesson.source), "history": list(learnt.history)}
    manifest = manifest_of(name, spec, lesson.labels, lesson.genes, body, about)
    return Readout(name, spec, lesson.labels, lesson.genes, learnt.parts, body, manifest, store)
