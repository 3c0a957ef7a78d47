"""What a query costs beside the bare work in it: a file of 20,000 cells against an atlas of a million.

    python -m benchmarks.query --store STORE --atlas ATLAS --query QUERY.h5ad [--peers FOLDER]

*Whole* is ``scvec query`` as a process, from its start to its end. The parts are those that nobody could leave out, in
a process of their own in which each is done once, the first time, as in a query. Whole and parts take turns. In FOLDER
are the files that `benchmarks.peers.scale` wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import HERE, WORK, markdown, save

ROUNDS, WANTED = 5, 1.25
CELLTYPIST_CELLS = 20_000
"""As in `benchmarks.peers.scale`, which is run elsewhere."""

IMPORTS = "numpy, scipy.sparse, h5py, pyarrow, lance, faiss, polars, numba, safetensors.numpy, typer, rich.console"
BARE = {
    "python and imports": f"`import {IMPORTS}`",
    "reading the cells": "h5py, data and indices alone",
    "normalising and projecting": "batches that are in memory",
    "opening the atlas": "labels and genes from Lance, what was fitted, the index",
    "FAISS": "the same index, parameters and candidates",
    "distances": "of the candidates, recomputed",
    "votes": "of the neighbours, once",
}
REST = {
    "matching the genes": "names to genes, whose texts are read from Lance",
    "odd genes": "what a cell expresses beyond its label, for novelty",
    "calls": "confidence, novelty, names of cells and genes",
    "writing": "Parquet",
}

TEXT = """# A query

`scvec query` of {n_query:,} cells ({genes:,.0f} genes a cell) against {n:,} x {d}, {index}, {threads} threads:
{whole:.2f} s, {ratio:.2f} times its bare parts ({bare:.2f} s; at most {wanted} times are wanted), {peak:,.0f} MB at its
peak, of which mapped files are a part. Medians of {rounds} turns; the ratio is the median of those within a turn.

{table}

What is not bare is measured in the process of the parts; *all else* is the difference to the whole: scvec's own
modules, checks of the cells read, notes, and the end of the process. The machine had other work in these minutes.
"""

PEERS = """
## Other tools

The same query against {n:,} cells, {threads} threads. A tool's seconds are those from the query's file to its labels:
imports, and what it learns from the reference (*learning*), are not among them. *scvec* is `scvec query` as a process,
its start and imports among its seconds, run after each of the tool's turns; its atlas of these cells was built before.
CellTypist learned from {celltypist:,} of the cells, by mini-batches. The cells are 2,142 real ones drawn again: all
tools find them easy, and accuracy is here only to show that they did their work. The machine had other work to do, in
some of these minutes more than in others: what scvec took beside each tool says how much.

{table}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.query", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True)
    parser.add_argument("--atlas", required=True)
    parser.add_argument("--query", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peers", type=Path, help="a folder of the files of benchmarks.peers.scale")
    parser.add_argument("--parts", action="store_true", help="print the parts of one query as JSON")
    asked = parser.parse_args()
    if asked.parts:
        print(json.dumps(parts(asked.store, asked.atlas, asked.query)))
    else:
        run(asked)


def parts(store_uri: str, name: str, path: Path) -> dict[str, Any]:
    """Do what a query does, each part once and alone, and return its seconds; imports are not among them."""
    import numpy as np

    import scvec.embed.compiled
    import scvec.index.compiled  # noqa: F401
    from benchmarks.machine import read_h5ad
    from scvec.annotation import writing
    from scvec.annotation.calls import Found, call, votes_of
    from scvec.annotation.candidates import candidates_of
    from scvec.atlas import open_atlas
    from scvec.atlas.query_cells import match_to_atlas, placed
    from scvec.core.types import Floats, Ints, Neighbors
    from scvec.embed.projection import normalise
    from scvec.index import nearest
    from scvec.index.base import OVERFETCH
    from scvec.ingest.cells import open_cells
    from scvec.knn.options import DEFAULT
    from scvec.store import Store

    seconds: dict[str, float] = {}

    @contextmanager
    def timing(part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - start

    with timing("opening the atlas"):
        atlas = open_atlas(Store(store_uri), name)
        index, embedding, profiles, calibration = atlas.index, atlas.embedding, atlas.profiles, atlas.calibration
        chosen = candidates_of(atlas)
    del calibration
    seconds["reading the cells"] = read_h5ad(path, cold=False).seconds
    with open_cells(path) as file, file.matrix() as matrix:
        with timing("matching the genes"):
            match, _ = match_to_atlas(matrix, atlas, None, None)
            columns, has, share = placed(match, atlas)
        found: list[Found] = []
        k, n_genes = DEFAULT.k, 0
        for _, batch in matrix.batches("parts"):
            n_genes += batch.nnz
            with timing("normalising and projecting"):
                known = normalise(batch, matrix.values, embedding.recipe.target_sum, columns, share)
                vectors, empty = embedding.vectors(known, has)
            queries: Floats = vectors[~empty]
            with timing("FAISS"):
                candidates: Ints = index.candidates(queries, k + index.parameters.get(OVERFETCH, 0))
            with timing("distances"):
                near = nearest(candidates, index.distances(queries, candidates), k)
            ids, distances = np.full((len(empty), k), -1, np.int64), np.full((len(empty), k), np.inf, np.float32)
            ids[~empty], distances[~empty] = near.ids, near.distances
            neighbors = Neighbors(ids, distances)
            with timing("votes"):
                votes, positions = votes_of(neighbors, chosen, DEFAULT)
            with timing("odd genes"):
                odd, genes = profiles.odd(known, has, votes.winner)
            found.append(Found(vectors, empty, neighbors, positions, votes, odd, genes))
        names = file.obs_names
    with timing("calls"):
        calls = call(Found.joined(found), names, chosen, DEFAULT)
    with timing("writing"):
        writing.write(calls, WORK / "query" / "parts.parquet", path)
    about = {"n": len(index), "d": index.stored.dimension, "index": f"{index.factory} {dict(index.parameters)}"}
    return {"seconds": seconds, "n_query": len(calls), "genes": n_genes / len(calls), **about}


def timed(command: list[str]) -> tuple[float, float, str]:
    """Run a command, and return its seconds, the most memory that it held in MB, and what it printed."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, used.ru_maxrss / 1024, said


def run(asked: argparse.Namespace) -> None:
    """Measure, and write the results."""
    from scvec.core.jit import n_threads

    (WORK / "query").mkdir(parents=True, exist_ok=True)
    where = ["--store", asked.store, "--atlas", asked.atlas]
    out = str(WORK / "query" / "whole.parquet")
    command = [sys.executable, "-m", "scvec", "query", str(asked.query), *where, "--out", out, "--quiet"]
    alone = [sys.executable, "-m", "benchmarks.query", *where, "--query", str(asked.query), "--parts"]
    turns: list[dict[str, Any]] = []
    for turn in range(asked.rounds + 1):
        imports = timed([sys.executable, "-c", f"import {IMPORTS}"])[0]
        whole, peak, _ = timed(command)
        told = json.loads(timed(alone)[2])
        seconds = {"python and imports": imports, **told.pop("seconds")}
        if turn:
            turns.append({"whole": whole, "peak_mb": peak, "parts": seconds})
            print(turn, round(whole, 2), round(sum(seconds[part] for part in BARE), 2), flush=True)
    ratio = median(one["whole"] / sum(one["parts"][part] for part in BARE) for one in turns)
    whole = median(one["whole"] for one in turns)
    bare = median(sum(one["parts"][part] for part in BARE) for one in turns)
    text = TEXT.format(
        **told,
        threads=n_threads(),
        whole=whole,
        ratio=ratio,
        bare=bare,
        wanted=WANTED,
        peak=max(one["peak_mb"] for one in turns),
        rounds=len(turns),
        table=table(turns),
    )
    peers = [json.loads(path.read_text()) for path in sorted(asked.peers.glob("*.json"))] if asked.peers else []
    if peers:
        text += PEERS.format(
            n=peers[0]["n_reference"], threads=n_threads(), celltypist=20_000, table=peers_table(peers)
        )
    values = {**told, "whole": whole, "bare": bare, "ratio": ratio, "turns": turns, "peers": peers}
    given = "--store STORE --atlas ATLAS --query QUERY.h5ad" + (" --peers FOLDER" if peers else "")
    save("query", f"python -m benchmarks.query {given}", values, text.rstrip())


def table(turns: list[dict[str, Any]]) -> str:
    """Return the parts as Markdown: the bare ones, the others, the rest."""
    whole = median(one["whole"] for one in turns)
    middle = {part: median(one["parts"][part] for one in turns) for part in (*BARE, *REST)}
    rows: list[tuple[str, ...]] = [
        (part, about, f"{middle[part]:.2f}", "yes" if part in BARE else "") for part, about in {**BARE, **REST}.items()
    ]
    rest = median(one["whole"] - sum(one["parts"].values()) for one in turns)
    rows += [("all else", "", f"{rest:.2f}", ""), ("whole", "", f"{whole:.2f}", "")]
    return markdown(("part", "what", "seconds", "bare"), rows)


def peers_table(peers: list[dict[str, Any]]) -> str:
    """Return what other tools took, as Markdown."""
    rows = []
    for one in peers:
        own = [read + annotate for read, annotate in zip(one["read_s"], one["annotate_s"], strict=True)]
        ratio = median(mine / beside for mine, beside in zip(own, one["beside_s"], strict=True))
        rows.append(
            (
                one["method"],
                f"{median(own):.1f}",
                f"{median(one['beside_s']):.1f}",
                f"{ratio:.1f}",
                f"{one['train_s']:.0f}",
                f"{one['peak_mb']:,.0f}",
                f"{one['accuracy']:.3f}",
            )
        )
    header = ("tool", "its seconds", "scvec's", "ratio", "learning, s", "its peak, MB", "its accuracy")
    return markdown(header, rows)


if __name__ == "__main__":
    main()
