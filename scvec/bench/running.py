"""Runs a suite, one run after another; runs done before are not repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec import atlas as atlases
from scvec.annotation.query import annotate
from scvec.annotation.result import Annotation
from scvec.bench import records
from scvec.bench.planning import Run, plan
from scvec.bench.records import FAILURES, Record
from scvec.bench.results import Results
from scvec.bench.suite import Suite
from scvec.bench.tasks import BATCH, LABEL
from scvec.core.progress import shown
from scvec.core.types import Progress, Strings
from scvec.evaluation.baselines import logistic_regression
from scvec.evaluation.writing import check_folder
from scvec.interpret.readout import Predicted, ReadoutSpec, predict, train
from scvec.store import Store

Keep: TypeAlias = Callable[[Run, Record], None]
Values: TypeAlias = NDArray[np.floating[Any]]
Call: TypeAlias = Callable[[Run], tuple[Strings, dict[str, Values]]]
"""Returns the labels called for a run's query, and uncertainties by name, larger where a call is less sure."""


def run(
    suite: Suite,
    out: str | Path,
    store: Store,
    *,
    chosen: Callable[[Run], bool] | None = None,
    progress: Progress | None = None,
) -> Results:
    """Run a suite into `out`; a run that has a record, made from the same inputs, is not repeated.

    A record is written after each run. A run that fails on its task is recorded as failed. Atlases are built in the
    store, one at a time, serve all runs that share them, and are removed.

    Parameters
    ----------
    suite
        What to run.
    out
        A folder for the tasks' files, the records and the results.
    store
        The store with the gene texts, and the encoders' vectors of them.
    chosen
        Which runs are done now; None: all.
    progress
        Shows the runs done.

    Raises
    ------
    InputError
        If `out` is a file, or a file of a task is invalid.
    NotInStoreError
        If gene texts or vectors are missing.
    """
    progress = shown(progress)
    out = Path(out)
    check_folder(out)
    made = plan(suite, out, store, progress=progress)
    done = records.read(out)
    shared: dict[str, list[Run]] = {}
    asked = [one for one in made.runs if chosen is None or chosen(one)]
    for one in asked:
        shared.setdefault(one.made, []).append(one)
    with progress(suite.name, len(asked)) as advance:

        def keep(one: Run, found: Record) -> None:
            method = one.method
            records.write(out, records.record(one.digest, one.task, method.name, method.kind, one.seed, found))
            advance(1)

        for group in shared.values():
            left = [one for one in group if one.digest not in done]
            advance(len(group) - len(left))
            if left and left[0].model is None:
                _logistic(left, keep)
            elif left:
                _together(left, store, keep)
    return Results.write(made)


def _logistic(runs: Sequence[Run], keep: Keep) -> None:
    for one in runs:
        start = perf_counter()
        try:
            called = logistic_regression(one.task.reference, one.task.renamed_query, label_key=LABEL)
            found = {**records.figures(one.task, called, {}), "build_s": round(perf_counter() - start, 3)}
        except FAILURES as error:
            found = records.failure(error)
        keep(one, found)


def _together(runs: Sequence[Run], store: Store, keep: Keep) -> None:
    """Make the atlas or the readout that the runs share, and run them."""
    name = f"bench-{runs[0].made[:12]}"
    try:
        start = perf_counter()
        try:
            call = _made(runs[0], store, name)
        except FAILURES as error:
            for one in runs:
                keep(one, records.failure(error))
            return
        build_s = round(perf_counter() - start, 3)
        for one in runs:
            keep(one, _called(one, call, {"build_s": build_s}))
    finally:
        store.remove(f"atlases/{name}")


def _made(run: Run, store: Store, name: str) -> Call:
    """Build the atlas of a run, or train its readout; return the function that calls cells with it."""
    batch_key = BATCH if run.task.task.batch_key else None
    if isinstance(run.model, ReadoutSpec):
        readout = train(store, None, run.task.reference, label_key=LABEL, batch_key=batch_key, spec=run.model)
        return lambda one: _by_readout(predict(one.task.query, readout, taxon=one.task.task.query_taxon))
    panel = {"panel": run.task.query, "panel_taxon": run.task.task.query_taxon}
    more: dict[str, Any] = panel if run.method.panel else {}
    atlas = atlases.build(
        store,
        name,
        run.task.reference,
        label_key=LABEL,
        batch_key=batch_key,
        recipe=run.model,
        overwrite=True,
        **more,
    )
    return lambda one: _by_retrieval(annotate(one.task.query, atlas, taxon=one.task.task.query_taxon))


def _called(run: Run, call: Call, about: Record) -> Record:
    start = perf_counter()
    try:
        label, unsure = call(run)
        query_s = round(perf_counter() - start, 3)
        return {**records.figures(run.task, label, unsure), **about, "query_s": query_s}
    except FAILURES as error:
        return records.failure(error)


def _by_readout(said: Predicted) -> tuple[Strings, dict[str, Values]]:
    return said.label, {"score": _filled(1 - said.score)}


def _by_retrieval(calls: Annotation) -> tuple[Strings, dict[str, Values]]:
    found: dict[str, Values] = {"score": 1 - calls.score, "distance": calls.distance, "novelty": calls.novelty}
    # An atlas that is too small to be calibrated has no novelty.
    return calls.label, {name: _filled(values) for name, values in found.items() if not np.isnan(values).all()}


def _filled(values: Values) -> Values:
    """Return the values; cells without one, of which nothing is known, get more than the largest."""
    return np.where(np.isnan(values), np.nanmax(values) + 1, values)
