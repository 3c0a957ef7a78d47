"""Runs a suite of gene-level tasks, one model after another; what has a record is not measured again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path

from scvec._version import __version__
from scvec.bench import records
from scvec.bench.code import genes_digest
from scvec.bench.genes import models
from scvec.bench.genes.facts import encode
from scvec.bench.genes.measuring import measure
from scvec.bench.genes.results import TFIDF, GeneResults
from scvec.bench.genes.sources import Drawn, Encoded, Length, OfExpression, Permuted, Source, identity
from scvec.bench.genes.suite import GeneSuite
from scvec.bench.genes.tasks import VARIANTS, Prepared, Preparer, Variant
from scvec.core.progress import shown
from scvec.core.types import Progress
from scvec.embed.encoders import Address, Encoder, find, make
from scvec.errors import FileError, InputError, MissingDependencyError, ServiceError
from scvec.evaluation.writing import check_folder
from scvec.store import Store

OUT_OF_REACH = (FileError, InputError, MissingDependencyError, ServiceError)
"""What an encoder raises whose weights, package, key or server is missing, or whose name no package here has."""


def run(
    suite: GeneSuite,
    out: str | Path,
    store: Store,
    *,
    encoders: Sequence[str] | None = None,
    download: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> GeneResults:
    """Measure models on a suite's tasks into `out`; a figure that has a record of the same inputs is not made again.

    Texts without a vector are encoded and kept in the store. A model of the suite whose weights, package or key is
    missing gets a row that says so. A record is written after each task.

    Parameters
    ----------
    suite
        What to measure.
    out
        A folder for the records and the results.
    store
        The store with the gene texts.
    encoders
        Measure only these, which need not be in the suite; the rows of others stay. None: those of the suite.
    download
        Whether encoders may download their weights.
    command
        What measures a model into `out`, if ``--encoder MODEL`` is added: it stands beside models that are missing.
    progress
        Shows the models, and texts that are encoded.

    Raises
    ------
    InputError
        If `out` is a file, a file of sets is invalid, or one of `encoders` cannot be used.
    NotInStoreError
        If the store has no gene texts of a species.
    """
    progress, out = shown(progress), Path(out)
    check_folder(out)
    for one in encoders or ():
        find(Address.parse(one).kind)  # an unknown one is said before anything is measured
    preparer = Preparer(store, suite)
    tasks = tuple(preparer.prepare(one) for one in suite.tasks)
    runner = _Runner(suite, tasks, preparer, store, out, progress, download)
    wanted = suite.encoders if encoders is None else tuple(encoders)
    suite.keep(out)
    runner.controls()
    for one in wanted:
        runner.model(one, required=encoders is not None)
    return GeneResults.write(suite, tasks, out, runner.asked, command)


class _Runner:
    """Measures one source after another, and writes records."""

    def __init__(
        self,
        suite: GeneSuite,
        tasks: tuple[Prepared, ...],
        preparer: Preparer,
        store: Store,
        out: Path,
        progress: Progress,
        download: bool,
    ) -> None:
        self._suite, self._tasks, self._preparer, self._store, self._out = suite, tasks, preparer, store, out
        self._progress, self._download = progress, download
        self._done = set(records.read(out))
        self.asked: set[str] = set()

    def model(self, address: str, *, required: bool) -> None:
        """Measure a model and its control by names alone; one out of reach is noted, unless it is `required`."""
        name = Address.parse(address).canonical()
        if name == TFIDF and TFIDF in self._suite.controls:
            return
        try:
            self._encoder(address, make(address, self._preparer.texts.frame, download=self._download))
        except OUT_OF_REACH as error:
            if required:
                raise
            models.write(self._out, {"model": name, "address": address, "missing": str(error)})

    def _encoder(self, address: str, model: Encoder) -> None:
        variants: tuple[Variant, ...] = VARIANTS if "name" in self._suite.controls else ("plain", "masked")
        source = Encoded(self._store, model)
        read = Encoded(self._store, model, variants=variants).variants
        self._encode(source, address, read)
        self._measure(source)
        if "name" in read:
            self._measure(Encoded(self._store, model, "control", models.name_only(model.name), ("name",)))

    def _encode(self, source: Encoded, address: str, variants: tuple[Variant, ...]) -> None:
        model = source.model
        timed = models.facts_of(self._out, model.name, model.revision) is not None
        facts = encode(source, self._tasks, variants, timed=timed, progress=self._progress)
        models.keep(self._out, model.name, address, facts)

    def controls(self) -> None:
        """Measure what models have to beat."""
        for source in self._controls():
            self._measure(source)

    def _controls(self) -> Iterator[Source]:
        wanted = self._suite.controls
        if TFIDF in wanted or "permuted" in wanted:
            tfidf = Encoded(self._store, make(TFIDF, self._preparer.texts.frame), "control")
            self._encode(tfidf, TFIDF, tfidf.variants)
            if TFIDF in wanted:
                yield tfidf
            if "permuted" in wanted:
                yield Permuted(tfidf)
        if "length" in wanted:
            yield Length()
        if "random" in wanted:
            yield Drawn()
        if "expression" in wanted:
            yield OfExpression(self._suite.expression, self._preparer.texts, self._preparer.gene_ids)

    def _measure(self, source: Source) -> None:
        there = [one for one in self._tasks if all(map(source.covers, one.sides))]
        asked = [(one, texts) for one in there for texts in source.variants]
        with self._progress(f"{source.name}: tasks", len(asked)) as advance:
            for task, texts in asked:
                digest = _digest(task, source, texts, self._suite.seeds)
                self.asked.add(digest)
                if digest not in self._done:
                    self._record(task, source, texts, digest)
                advance(1)

    def _record(self, task: Prepared, source: Source, texts: Variant, digest: str) -> None:
        found = measure(task, source, texts, self._suite.seeds)
        about = {
            "digest": digest,
            "task": task.task.name,
            "task_digest": task.digest,
            "code": genes_digest(),
            "method": source.name if texts != "masked" else f"{source.name}, masked",
            "row": source.name,
            "texts": texts,
            "kind": source.kind,
            "revision": source.revision,
            "seed": None,
            "seeds": list(self._suite.seeds),
            "scvec": __version__,
        }
        values = {name: [_json(one) for one in some.tolist()] for name, some in found.items()}
        records.write(self._out, {**about, "values": values})


def _json(value: float) -> float | None:
    return None if isnan(value) else round(value, 6)


def _digest(task: Prepared, source: Source, texts: Variant, seeds: Sequence[int]) -> str:
    """Return a hash of what decides a figure: task, vectors, seeds, and the code."""
    said = json.dumps([task.digest, identity(source, texts), list(seeds), genes_digest()])
    return hashlib.sha256(said.encode()).hexdigest()
