"""What a query costs, compared with the bare work in it: a file of 20,000 cells against an atlas of a million.

    python -m benchmarks.query --store STORE --atlas ATLAS --query QUERY.h5ad [--peers FOLDER]

*Whole* is ``scvec query`` as a process, from start to end. The bare parts are those that no implementation can leave
out; they run in a process of their own, each once and for the first time, as in a query. Whole and parts take turns.
FOLDER has the files of `benchmarks.peers.scale`.
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
from typing import TYPE_CHECKING, Any

from benchmarks.common import HERE, WORK, make_parser, markdown, save

if TYPE_CHECKING:
    from scvec.annotation.calls import Found
    from scvec.annotation.candidates import Candidates
    from scvec.atlas import Atlas
    from scvec.core.types import Floats, Ints
    from scvec.ingest.cells import Matrix

ROUNDS, WANTED = 5, 1.25
CELLTYPIST_CELLS = 20_000
"""As in `benchmarks.peers.scale`, which runs in another environment."""

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
{whole:.2f} s, {ratio:.2f} times its bare parts ({bare:.2f} s; the goal is at most {wanted} times), peak memory
{peak:,.0f} MB, including mapped files. Medians of {rounds} turns; the ratio is the median of the ratios within a turn.

{table}

Parts that are not bare are measured in the same process as the bare ones; *all else* is the difference to the whole:
scvec's own modules, checks of the cells read, notes, and the end of the process. Other work ran on the machine at the
same time.
"""

PEERS = """
## Other tools

The same query against {n:,} cells, {threads} threads. A tool's seconds are those from the query's file to its labels,
without imports and without learning from the reference (*learning*). *scvec* is `scvec query` as a process, including
its start and imports, run after each of the tool's turns; its atlas of these cells was built before. CellTypist learned
from {celltypist:,} of the cells, in mini-batches. The cells are resampled from 2,142 real ones: all tools find them
easy, and accuracy only shows that they did their work. Other work ran on the machine, more in some minutes than in
others; the time of scvec next to each tool shows how much.

{table}
"""


def main() -> None:
    parser = make_parser("query", __doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--atlas", required=True)
    parser.add_argument("--query", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peers", type=Path, help="a folder of the files of benchmarks.peers.scale")
    parser.add_argument("--parts", action="store_true", help="print the parts of one query as JSON")
    args = parser.parse_args()
    if args.parts:
        print(json.dumps(parts(args.store, args.atlas, args.query)))
    else:
        run(args)


class _Timer:
    """Adds up seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start


def parts(store_uri: str, name: str, path: Path) -> dict[str, Any]:
    """Do what a query does, each part once and separately, and return the seconds, without imports."""
    import scvec.embed.compiled
    import scvec.index.compiled  # noqa: F401
    from benchmarks.machine import read_h5ad
    from scvec.annotation import writing
    from scvec.annotation.calls import Found, call
    from scvec.annotation.candidates import candidates_of
    from scvec.atlas import open_atlas
    from scvec.ingest.cells import open_cells
    from scvec.knn.options import DEFAULT
    from scvec.store import Store

    timing = _Timer()
    with timing("opening the atlas"):
        atlas = open_atlas(Store(store_uri), name)
        # Parts of an atlas are read when they are first used.
        for part in ("index", "embedding", "profiles", "calibration"):
            getattr(atlas, part)
        chosen = candidates_of(atlas)
    timing.seconds["reading the cells"] = read_h5ad(path, cold=False).seconds
    with open_cells(path) as file, file.matrix() as matrix:
        found, n_genes = _searched(matrix, atlas, chosen, timing)
        names = file.obs_names
    with timing("calls"):
        calls = call(Found.joined(found), names, chosen, DEFAULT)
    with timing("writing"):
        writing.write(calls, WORK / "query" / "parts.parquet", path)
    index = atlas.index
    about = {"n": len(index), "d": index.stored.dimension, "index": f"{index.factory} {dict(index.parameters)}"}
    return {"seconds": timing.seconds, "n_query": len(calls), "genes": n_genes / len(calls), **about}


def _searched(matrix: Matrix, atlas: Atlas, chosen: Candidates, timing: _Timer) -> tuple[list[Found], int]:
    """Search all cells of a query, a batch at a time; return what was found, and the number of values read."""
    import numpy as np

    from scvec.annotation.calls import Found, votes_of
    from scvec.atlas.query_cells import match_to, placed
    from scvec.core.types import Neighbors
    from scvec.embed.projection import normalise
    from scvec.index import nearest
    from scvec.index.base import OVERFETCH
    from scvec.knn.options import DEFAULT

    index, embedding, k = atlas.index, atlas.embedding, DEFAULT.k
    with timing("matching the genes"):
        match, _ = match_to(matrix, atlas.store, atlas.gene_table, embedding.gene_ids, None, None)
        columns, has, share = placed(match, atlas)
    found: list[Found] = []
    n_values = 0
    for _, batch in matrix.batches("parts"):
        n_values += batch.nnz
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
            odd, genes = atlas.profiles.odd(known, has, votes.winner)
        found.append(Found(vectors, empty, neighbors, positions, votes, odd, genes, np.diff(known.indptr), {}))
    return found, n_values


def timed(command: list[str]) -> tuple[float, float, str]:
    """Run a command, and return its seconds, its peak memory in MB, and its output."""
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


def run(args: argparse.Namespace) -> None:
    """Measure, and write the results."""
    from scvec.core.jit import n_threads

    (WORK / "query").mkdir(parents=True, exist_ok=True)
    where = ["--store", args.store, "--atlas", args.atlas]
    out = str(WORK / "query" / "whole.parquet")
    command = [sys.executable, "-m", "scvec", "query", str(args.query), *where, "--out", out, "--quiet"]
    alone = [sys.executable, "-m", "benchmarks.query", *where, "--query", str(args.query), "--parts"]
    turns: list[dict[str, Any]] = []
    for turn in range(args.rounds + 1):
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
    peers = [json.loads(path.read_text()) for path in sorted(args.peers.glob("*.json"))] if args.peers else []
    if peers:
        text += PEERS.format(
            n=peers[0]["n_reference"], threads=n_threads(), celltypist=CELLTYPIST_CELLS, table=peers_table(peers)
        )
    values = {**told, "whole": whole, "bare": bare, "ratio": ratio, "turns": turns, "peers": peers}
    given = "--store STORE --atlas ATLAS --query QUERY.h5ad" + (" --peers FOLDER" if peers else "")
    save("query", f"python -m benchmarks.query {given}", values, text.rstrip())


def table(turns: list[dict[str, Any]]) -> str:
    """Return the parts as Markdown: the bare ones, the others, and all else."""
    whole = median(one["whole"] for one in turns)
    middle = {part: median(one["parts"][part] for one in turns) for part in (*BARE, *REST)}
    rows: list[tuple[str, ...]] = [
        (part, about, f"{middle[part]:.2f}", "yes" if part in BARE else "") for part, about in {**BARE, **REST}.items()
    ]
    rest = median(one["whole"] - sum(one["parts"].values()) for one in turns)
    rows += [("all else", "", f"{rest:.2f}", ""), ("whole", "", f"{whole:.2f}", "")]
    return markdown(("part", "what", "seconds", "bare"), rows)


def peers_table(peers: list[dict[str, Any]]) -> str:
    """Return the other tools' figures as Markdown."""
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
