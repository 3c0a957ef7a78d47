"""A child that was forked from a process that had computed ends with an error, and does not wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import scvec as sv

SCRIPT = """
import multiprocessing, sys, warnings
import scvec as sv
warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads

def child(way, queue):
    try:
        if way == "annotate":
            sv.annotate(query, atlas)
        elif way == "annotate there":
            sv.annotate(query, sv.atlas.open_atlas(store, "toy"))
        elif way == "open":
            sv.atlas.open_atlas(store, "toy")
        elif way == "build":
            sv.atlas.build(store, "new", query, label_key="cell_type", recipe="expression")
        elif way == "extend":
            sv.atlas.extend(atlas, query, dataset="more")
        elif way == "evaluate":
            sv.evaluate(calls, "cell_type")
        elif way == "frame":
            calls.to_polars()
        queue.put("done")
    except sv.ScvecError as error:
        queue.put(f"{type(error).__name__}: {error}")

store, query, before, *ways = sys.argv[1:]
atlas = sv.atlas.open_atlas(store, "toy") if before != "imported" else None
calls = sv.annotate(query, atlas) if before == "computed" else None
context = multiprocessing.get_context("fork")
for way in ways:
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(way, queue))
    process.start()
    process.join(20)
    if process.is_alive():
        process.kill()
        print(way, "waits without end")
    else:
        print(way, queue.get() if not queue.empty() else process.exitcode)
"""


def ran(store: sv.Store, files: Path, before: str, *ways: str) -> list[str]:
    words = [sys.executable, "-c", SCRIPT, store.uri, str(files / "query.h5ad"), before, *ways]
    return subprocess.run(words, capture_output=True, text=True, timeout=200, check=True).stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork by default")
def test_a_forked_child_says_what_to_do(store: sv.Store, files: Path) -> None:
    lines = ran(store, files, "computed", "annotate", "open", "build", "extend", "evaluate", "frame")
    assert len(lines) == 6
    for line in lines:
        assert "InputError: this process was forked" in line
        assert "spawn" in line


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork by default")
def test_a_process_that_opened_an_atlas_has_started_threads(store: sv.Store, files: Path) -> None:
    """Lance's: of such children some computed, some crashed and some waited, as it happened."""
    (line,) = ran(store, files, "opened", "annotate")
    assert "InputError: this process was forked" in line


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork by default")
def test_a_child_of_a_process_that_only_imported_scvec_computes(store: sv.Store, files: Path) -> None:
    assert ran(store, files, "imported", "annotate there") == ["annotate there done"]
