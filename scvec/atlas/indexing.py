"""The index of an atlas: its parts, made from the rows of the table, and their entries in the manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scvec import index as indexes
from scvec.atlas.engine import Compute
from scvec.atlas.manifests import PART, index_named, read_part
from scvec.atlas.paths import atlas_folder
from scvec.core.arrow import vectors_from_arrow
from scvec.core.files import sha256
from scvec.core.types import Floats, Ints, Progress
from scvec.errors import InputError
from scvec.index import Index, IndexSpec, Stored, lance
from scvec.index.choose import lists
from scvec.index.engines import Installed, Kind, SearchEngine, engine_for
from scvec.store import Address, Snapshot, Store, Table


def filled_rows(cells: Snapshot, name: str) -> Ints:
    """Return the row ids of all cells that are not empty; raise `InputError` if there are none."""
    table = cells.read(["row", "empty"])
    rows: Ints = np.asarray(table["row"], np.int64)[~np.asarray(table["empty"])]
    if not len(rows):
        raise no_expression(f"in atlas {name!r}")
    return rows


def no_expression(where: str) -> InputError:
    """Return the error for cells that are all empty."""
    return InputError(f"no cell {where} expresses a known gene", fix="check the matrix")


def index_folder(store: Store, name: str, version: int, spec: IndexSpec) -> str:
    """Return a folder for a new index of a version, one that no manifest of the atlas names."""
    base, used = f"{atlas_folder(name)}/index", set()
    for one in store.children(atlas_folder(name)):
        if store.has_file(f"{atlas_folder(name)}/{one}/manifest.json"):
            used.add(index_named(store, f"{atlas_folder(name)}/{one}/manifest.json"))
    # Named by the spec, so that a process which resumes a killed one finds its parts, and no others.
    asked = f"{base}/v{version}-{hashlib.sha256(repr(spec).encode()).hexdigest()[:8]}"
    return next(path for path in [asked, *(f"{asked}.{n}" for n in range(2, len(used) + 3))] if path not in used)


def with_table_index(table: Table, cells: Snapshot, rows: Ints, spec: IndexSpec, progress: Progress) -> Snapshot:
    """Return the table at its newest version, or, for a Lance index, at a new version that has the index.

    Call it before `new_index`, so that only one version, the last, is published.
    """
    if not indexes.is_lance(spec.factory):
        return cells
    n, n_codes = _lance_lists(spec.factory, len(rows)), lance.codes(_kind(cells)[0])
    with progress("making Lance's index", 1) as advance:
        kind = spec.factory.removeprefix(lance.PREFIX)
        version = table.build_index(cells.version, kind, n, n_codes if "PQ" in kind else None)
        advance(1)
    return table.at(version)


def new_index(
    store: Store, folder: str, cells: Snapshot, rows: Ints, spec: IndexSpec, compute: Compute
) -> dict[str, Any]:
    """Train an index for these rows, make its parts in `folder`, tune it, and return its entry in the manifest.

    Existing parts, of a process that was interrupted, are kept.
    """
    dimension, _ = _kind(cells)
    factory = indexes.resolve(spec, len(rows), dimension)
    made: dict[str, Any] = {"factory": factory, "metric": "cosine", "folder": folder, "spec": asdict(spec)}
    if indexes.is_lance(factory):
        made["lists"] = _lance_lists(factory, len(rows))
    elif factory != "exact":
        trained = f"{folder}/trained.faiss"
        if not store.has_file(trained):
            chosen = indexes.sample(rows, spec.random_state, indexes.sample_rows(factory, dimension, len(rows)))
            sample = _vectors(cells, _positions(cells, chosen))
            with compute.progress("training the index", 1) as advance:
                store.put_file(
                    trained, lambda path: indexes.train(factory, sample, spec.random_state, path, compute.device)
                )
                advance(1)
        with store.local_file(trained) as path:
            made |= {"trained": "trained.faiss", "trained_sha256": sha256(path)}
    made["parts"] = add_parts(store, made, cells, rows, spec, "part", compute)
    return made | tuned(store, made, cells, rows, spec, compute)


def add_parts(
    store: Store,
    made: Mapping[str, Any],
    cells: Snapshot,
    rows: Ints,
    spec: IndexSpec,
    called: str,
    compute: Compute,
) -> list[dict[str, Any]]:
    """Make the parts of an index for these rows, ascending, and return their entries in the manifest.

    A Lance index has no parts, as it is in the table.
    """
    if indexes.is_lance(made["factory"]):
        return []
    dimension, _ = _kind(cells)
    size = indexes.part_rows(spec, made["factory"], dimension)
    asked = [
        PartPlan(f"{called}-{number:04d}", rows[start : start + size])
        for number, start in enumerate(range(0, len(rows), size))
    ]
    found: dict[str, dict[str, Any]] = {}
    with compute.progress("indexing", len(rows)) as advance:
        for plan in asked:
            if store.has_file(f"{made['folder']}/{plan.name}/{PART}"):
                found[plan.name] = read_part(store, f"{made['folder']}/{plan.name}")
                advance(len(plan.rows))
        common = Parts(store.address, made, cells.path, cells.version)
        left = [plan for plan in asked if plan.name not in found]
        with closing(compute.engine.each(part_maker, common, left)) as parts:
            for part in parts:
                found[part["name"]] = part
                advance(part["rows"])
    return [found[plan.name] for plan in asked]


@dataclass(frozen=True, slots=True)
class Parts:
    """What all parts of an index have in common.

    Attributes
    ----------
    store
        Where the store is.
    made
        The index's entry in the manifest.
    table, version
        The table with its rows.
    """

    store: Address
    made: Mapping[str, Any]
    table: str
    version: int


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A part that will be made.

    Attributes
    ----------
    name
        Name of its folder.
    rows
        (n,) the row ids of its cells, ascending.
    """

    name: str
    rows: Ints

    def __str__(self) -> str:
        return f"{self.name} of the index"


@contextmanager
def part_maker(common: Parts) -> Iterator[Callable[[PartPlan], dict[str, Any]]]:
    """Give the function that makes a part, as a `scvec.atlas.engine.Worker`."""
    store = common.store.open()
    cells = store.table(common.table).at(common.version)
    yield lambda plan: make_part(store, common.made, plan.name, cells, plan.rows)


def make_part(store: Store, made: Mapping[str, Any], name: str, cells: Snapshot, rows: Ints) -> dict[str, Any]:
    """Make one part from rows of the table, store it, and return its entry in the manifest."""
    folder, (dimension, dtype) = made["folder"], _kind(cells)

    def write(path: Path) -> None:
        with ExitStack() as stack:
            trained = made.get("trained")
            local = None if trained is None else stack.enter_context(store.local_file(f"{folder}/{trained}"))
            part = indexes.make_part(path, made["factory"], local, dimension, dtype, _blocks(cells, rows))
        about = {"name": name, "rows": part.rows, "bytes": part.bytes}
        about["files"] = {
            file: {"bytes": (path / file).stat().st_size, "sha256": digest} for file, digest in part.hashes.items()
        }
        about |= {"first_row": int(rows[0]), "last_row": int(rows[-1])}
        (path / PART).write_text(json.dumps(about))

    store.put_folder(f"{folder}/{name}", write, last=PART)
    return read_part(store, f"{folder}/{name}")


def open_index(
    store: Store,
    made: Mapping[str, Any],
    cells: Snapshot,
    rows: Ints,
    device: str = "cpu",
    search_engine: SearchEngine = "auto",
    *,
    as_index: bool = False,
) -> Index:
    """Open an index by its entry in the manifest: its parts, or, for a Lance index, the table and the rows to find."""
    if indexes.is_lance(made["factory"]):
        engine = engine_for(Kind(made["factory"]), device, search_engine, Installed())
        dimension, dtype = _kind(cells)
        vectors = lance.Taken(
            lambda at: _vectors(cells, at), _positions(cells, rows), dimension, np.dtype(dtype).itemsize
        )
        return lance.Lance(
            made["factory"],
            Stored([(rows, vectors)]),
            cells.nearest,
            made["lists"],
            made.get("search", {}),
            (engine.note,) if engine.note else (),
        )
    folders = [store.local_folder(f"{made['folder']}/{part['name']}") for part in made["parts"]]
    return indexes.open_parts(
        made["factory"], folders, made.get("search", {}), device=device, search_engine=search_engine, as_index=as_index
    )


def faulty_part(store: Store, folder: str, part: Mapping[str, Any], *, whole: bool) -> list[str]:
    """Return the files of a part that are missing or have changed: by size, or by hash if `whole`."""
    found = []
    for name, about in part["files"].items():
        path = f"{folder}/{name}"
        if not store.has_file(path) or store.size(path) != about["bytes"]:
            found.append(path)
        elif whole:
            with store.local_file(path) as local:
                if sha256(local) != about["sha256"]:
                    found.append(path)
    return found


def tuned(
    store: Store, made: Mapping[str, Any], cells: Snapshot, live: Ints, spec: IndexSpec, compute: Compute
) -> dict[str, Any]:
    """Return search parameters that reach the recall of `spec`, and the recall measured on a sample of live rows."""
    with compute.progress("measuring recall", 1) as advance:
        index = open_index(store, made, cells, live, compute.device, as_index=True)
        asked = indexes.sample(live, spec.random_state)
        # Vectors that are fetched are streamed, and kept neither on a device nor elsewhere.
        of_truth = "cpu" if indexes.is_lance(made["factory"]) else compute.device
        found = indexes.tune(index, index.vectors(asked), asked, spec, of_truth)
        advance(1)
    return {"rows": len(index), **found.to_dict(), "notes": list(index.notes)}


def _kind(cells: Snapshot) -> tuple[int, Any]:
    vector = cells.schema.field("vector").type
    return vector.list_size, str(np.dtype(vector.value_type.to_pandas_dtype()))


def _lance_lists(factory: str, n: int) -> int:
    return lance.shape(factory, n, lists(n))


def _vectors(cells: Snapshot, positions: Ints) -> Floats:
    return vectors_from_arrow(cells.take(positions, ["vector"])["vector"])


def _blocks(cells: Snapshot, rows: Ints) -> Iterator[tuple[Ints, Floats]]:
    """Yield these rows of the table, in order, some thousands at a time."""
    for block in cells.batches(["row", "vector"], f"row >= {int(rows[0])} AND row <= {int(rows[-1])}"):
        own = np.asarray(block["row"], np.int64)
        keep = np.isin(own, rows, assume_unique=True)
        yield own[keep], vectors_from_arrow(block["vector"])[keep]


def _positions(cells: Snapshot, rows: Ints) -> Ints:
    return np.searchsorted(np.asarray(cells.read(["row"])["row"], np.int64), rows)
