"""References of any size: real cells resampled with multinomial noise, streamed to h5ad files.

    python -m benchmarks.scale OUT.h5ad --cells 1000000 --seed 0

The same seed means the same cells: a smaller file is the beginning of a larger one, whatever the batches and shards. A
real cell is drawn uniformly, with its label and donor; its proportions are mixed with its label's mean; a real total of
the label is scaled so that cells express `--genes-per-cell` genes on average; the counts are an exact multinomial draw.
There are as many cells as requested, but only as many kinds of cells as in the source: this measures speed, memory and
recall, not how well cells are labelled.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

from benchmarks.common import DATA, make_parser
from benchmarks.resample import Drawn, RealCells, draw, read
from scvec.core.files import placing
from scvec.core.types import Strings
from scvec.errors import InputError, ScvecError, must_be

SOURCE = DATA / "cells" / "pancreas_baron_human.h5ad"
BATCH_CELLS, THREADS = 1024, 2
CHUNK_VALUES, CHUNK_CACHE = 2**20, 32 * 2**20
"""Values in a chunk of X; a compressed chunk stays in memory until it is full."""


def write(
    path: Path,
    source: RealCells,
    cells: range,
    *,
    seed: int = 0,
    compression: str | None = None,
    batch_cells: int = BATCH_CELLS,
) -> int:
    """Write new cells as an h5ad file, in constant memory.

    Parameters
    ----------
    path
        The file; it is replaced once the new one is complete.
    source
        The real cells.
    cells
        Consecutive numbers of cells within the seed.
    seed
        Random seed: which cells these numbers mean.
    compression
        None, or ``"lzf"`` with shuffled bytes.
    batch_cells
        How many cells are drawn at a time; the file does not depend on it.

    Returns
    -------
    int
        Number of non-zero counts.

    Raises
    ------
    InputError
        If `cells` is empty, or the seed is negative or exceeds 64 bits.
    DiskFullError
        If no space is left; no file is left either.
    """
    if not len(cells):
        raise InputError(f"{path}: `cells` is empty", fix="ask for at least one cell")
    if not 0 <= seed < 2**64:
        raise must_be("seed", "between 0 and 2**64 - 1", seed)
    with placing(path) as part, h5py.File(part, "w", rdcc_nbytes=CHUNK_CACHE) as file:
        _lay_out(file, source, cells, seed, compression)
        batches = [cells[first : first + batch_cells] for first in range(0, len(cells), batch_cells)]
        done = 0
        for batch, drawn in zip(batches, _drawn_ahead(source, seed, batches), strict=True):
            _append(file, source, drawn, done, [cell_id(seed, number) for number in batch])
            done += len(batch)
        return len(file["X/data"])


def cell_id(seed: int, number: int) -> str:
    """Return the name of a cell; no two seeds share a name."""
    return f"s{seed}c{number}"


def shards(path: Path, n_cells: int, n: int) -> list[tuple[Path, range]]:
    """Return `n` files and their cells, which together are those of one file; a single file is named `path`.

    Raises
    ------
    InputError
        If there are fewer cells than files.
    """
    if not 1 <= n <= n_cells:
        raise must_be("shards", f"between 1 and the number of cells, {n_cells:,}", n)
    if n == 1:
        return [(path, range(n_cells))]
    bounds = [n_cells * one // n for one in range(n + 1)]
    width = len(str(n - 1))
    return [
        (path.with_name(f"{path.stem}-{one:0{width}d}{path.suffix}"), range(bounds[one], bounds[one + 1]))
        for one in range(n)
    ]


def _lay_out(file: h5py.File, source: RealCells, cells: range, seed: int, compression: str | None) -> None:
    """Write everything in a file except its cells, as anndata does, with room for these."""
    n, n_genes = len(cells), len(source.genes)
    file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    for name in ("layers", "obsm", "obsp", "varm", "varp"):
        write_elem(file, name, {})
    write_elem(file, "var", pd.DataFrame(index=pd.Index(source.genes, name="gene")))
    made = {"source": source.name, "seed": seed, "first": cells.start, "mix": source.mix, "depth": source.depth}
    write_elem(file, "uns", {"resampled": made})
    x = file.create_group("X")
    x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array([n, n_genes])})
    for name, kind in (("data", np.float32), ("indices", np.int32)):
        x.create_dataset(
            name,
            (0,),
            kind,
            maxshape=(None,),
            chunks=(CHUNK_VALUES,),
            compression=compression,
            shuffle=bool(compression),
        )
    x.create_dataset("indptr", (n + 1,), np.int64)
    obs = file.create_group("obs")
    columns = {"cell_type": source.cell_types, "donor": source.donors, "dataset": np.array([source.name], object)}
    encoding = {"encoding-type": "dataframe", "encoding-version": "0.2.0"}
    obs.attrs.update({**encoding, "_index": "cell_id", "column-order": list(columns)})
    names = obs.create_dataset("cell_id", (n,), h5py.string_dtype())
    names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    for name, categories in columns.items():
        _lay_out_categories(obs.create_group(name), categories, n)


def _lay_out_categories(group: h5py.Group, categories: Strings, n: int) -> None:
    encoding = {"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False}
    group.attrs.update(encoding)
    write_elem(group, "categories", categories)
    codes = group.create_dataset("codes", (n,), np.min_scalar_type(-len(categories)))
    codes.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def _append(file: h5py.File, source: RealCells, drawn: Drawn, done: int, names: list[str]) -> None:
    """Append cells to the `done` ones that are there."""
    x, obs, cells = file["X"], file["obs"], slice(done, done + len(names))
    first = len(x["data"])
    for name, values in (("data", drawn.data), ("indices", drawn.indices)):
        x[name].resize((first + len(values),))
        x[name][first:] = values
    x["indptr"][done + 1 : done + len(names) + 1] = drawn.indptr[1:] + first
    obs["cell_id"][cells] = names
    obs["cell_type/codes"][cells] = source.cell_type[drawn.cells]
    obs["donor/codes"][cells] = source.donor[drawn.cells]


def _drawn_ahead(source: RealCells, seed: int, batches: Iterable[range]) -> Iterator[Drawn]:
    """Yield each batch of cells, in order, while the next ones are drawn in threads."""
    waiting: deque[Future[Drawn]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for batch in batches:
            waiting.append(pool.submit(draw, source, seed, batch))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def main() -> None:
    parser = make_parser("scale", __doc__)
    parser.add_argument("out", type=Path, help="the h5ad file; shards are OUT-0.h5ad, OUT-1.h5ad ...")
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other cells, with other names")
    parser.add_argument("--genes", type=int, default=20_000, help="those with most counts; default 20,000, or all")
    parser.add_argument("--genes-per-cell", type=int, default=2_000, help="genes that a cell expresses, on average")
    parser.add_argument("--mix", type=float, default=0.1, help="share of the label's mean in a cell's proportions")
    parser.add_argument("--shards", type=int, default=1, help="number of files that share the cells")
    parser.add_argument("--compression", choices=("lzf",), help="default: none")
    parser.add_argument("--source", type=Path, default=SOURCE, help="real labelled cells: an h5ad file of counts")
    parser.add_argument("--label-key", default="cell_type1", help="column of the source's obs")
    parser.add_argument("--donor-key", default="donor", help="column of the source's obs")
    parser.add_argument("--layer", help="the source's counts, if not X")
    args = parser.parse_args()
    try:
        _make(args)
    except ScvecError as error:
        raise SystemExit(f"error: {error}") from error


def _make(args: argparse.Namespace) -> None:
    files = shards(args.out, args.cells, args.shards)
    source = read(
        args.source,
        label_key=args.label_key,
        donor_key=args.donor_key,
        layer=args.layer,
        genes=args.genes,
        genes_per_cell=args.genes_per_cell,
        mix=args.mix,
    )
    print(f"{source.name}: {len(source.cell_type):,} cells, {len(source.genes):,} genes, totals x {source.depth:.2f}")
    for path, cells in files:
        start = time.perf_counter()
        n_values = write(path, source, cells, seed=args.seed, compression=args.compression)
        seconds, size = time.perf_counter() - start, path.stat().st_size
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{path}: {len(cells):,} cells of {n_values / len(cells):,.0f} genes, {size / 1e9:.2f} GB "
            f"({size / len(cells) / 1e3:.1f} GB a million), {seconds:.0f} s, peak {peak:,.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
