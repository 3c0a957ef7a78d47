"""The index of an atlas: parts made from the rows of its table, and what its manifest says of them."""

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
from scvec.atlas.engine import Engine
from scvec.core.arrow import vectors_from_arrow
from scvec.core.files import sha256
from scvec.core.types import Floats, Ints, Progress
from scvec.errors import InputError
from scvec.index import Index, IndexSpec, Stored, lance
from scvec.index.choose import lists
from scvec.store import Snapshot, Store, Table

PART = "part.json"
"""In the folder of a part, what the manifest says of it: the last file of a part that is whole."""


def filled_rows(cells: Snapshot, name: str) -> Ints:
    """Return the row ids of all but the empty cells; raise `InputError` if there is none."""
    table = cells.read(["row", "empty"])
    rows: Ints = np.asarray(table["row"], np.int64)[~np.asarray(table["empty"])]
    if not len(rows):
        raise no_expression(f"of atlas {name!r}")
    return rows


def no_expression(of: str) -> InputError:
    """Return the error for cells that are all empty."""
    return InputError(f"no cell {of} has expression on a known gene", "at least one that has", "check the matrix")


def index_folder(store: Store, name: str, version: int, spec: IndexSpec) -> str:
    """Return a folder for a new index of a version, other than those that a manifest of the atlas names."""
    base, used = f"atlases/{name}/index", set()
    for one in store.children(f"atlases/{name}"):
        if store.has_file(f"atlases/{name}/{one}/manifest.json"):
            used.add(store.read_json(f"atlases/{name}/{one}/manifest.json")["index"]["folder"])
    # Named by what was asked for, so that a process that goes on from a killed one finds its parts, and no others.
    asked = f"{base}/v{version}-{hashlib.sha256(repr(spec).encode()).hexdigest()[:8]}"
    return next(path for path in [asked, *(f"{asked}.{n}" for n in range(2, len(used) + 3))] if path not in used)


def with_table_index(table: Table, cells: Snapshot, rows: Ints, spec: IndexSpec, progress: Progress) -> Snapshot:
    """Return the newest version of a table, or where Lance's index is asked for, one after it, which has that index.

    To be called before `new_index`, so that what is published is one version, and the last.
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
    store: Store,
    folder: str,
    cells: Snapshot,
    rows: Ints,
    spec: IndexSpec,
    device: str,
    engine: Engine,
    progress: Progress,
) -> dict[str, Any]:
    """Train an index for these rows, make its parts in `folder`, tune it, and return what the manifest says of it.

    Parts that are there already are of a process that was interrupted, and are kept.
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
            with progress("training the index", 1) as advance:
                store.put_file(trained, lambda path: indexes.train(factory, sample, spec.random_state, path, device))
                advance(1)
        with store.local_file(trained) as path:
            made |= {"trained": "trained.faiss", "trained_sha256": sha256(path)}
    made["parts"] = add_parts(store, made, cells, rows, spec, "part", engine, progress)
    return made | tuned(store, made, cells, rows, spec, device, progress)


def add_parts(
    store: Store,
    made: Mapping[str, Any],
    cells: Snapshot,
    rows: Ints,
    spec: IndexSpec,
    called: str,
    engine: Engine,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Make the parts of an index that hold these rows, ascending, and return what the manifest says of each.

    An index of Lance's has none: it is in the table.
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
    with progress("indexing", len(rows)) as advance:
        for plan in asked:
            if store.has_file(f"{made['folder']}/{plan.name}/{PART}"):
                found[plan.name] = store.read_json(f"{made['folder']}/{plan.name}/{PART}")
                advance(len(plan.rows))
        common = Parts(store.uri, made, cells.path, cells.version)
        with closing(engine.each(part_maker, common, [plan for plan in asked if plan.name not in found])) as parts:
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
        The store's URI.
    made
        What the manifest says of the index.
    table, version
        Whose rows it has.
    """

    store: str
    made: Mapping[str, Any]
    table: str
    version: int


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A part that is to be made.

    Attributes
    ----------
    name
        Of its folder.
    rows
        (n,) the row ids of its cells, ascending.
    """

    name: str
    rows: Ints

    def __str__(self) -> str:
        return f"{self.name} of the index"


@contextmanager
def part_maker(common: Parts) -> Iterator[Callable[[PartPlan], dict[str, Any]]]:
    """Give what makes a part, as a `scvec.atlas.engine.Worker`."""
    store = Store(common.store)
    cells = store.table(common.table).at(common.version)
    yield lambda plan: make_part(store, common.made, plan.name, cells, plan.rows)


def make_part(store: Store, made: Mapping[str, Any], name: str, cells: Snapshot, rows: Ints) -> dict[str, Any]:
    """Make one part from the rows of the table, place it, and return what the manifest says of it."""
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
    return store.read_json(f"{folder}/{name}/{PART}")


def open_index(store: Store, made: Mapping[str, Any], cells: Snapshot, rows: Ints, device: str = "cpu") -> Index:
    """Open an index as its manifest describes it: its parts, or for Lance's, the table with rows that may be found."""
    if indexes.is_lance(made["factory"]):
        dimension, dtype = _kind(cells)
        vectors = lance.Taken(
            lambda at: _vectors(cells, at), _positions(cells, rows), dimension, np.dtype(dtype).itemsize
        )
        return lance.Lance(
            made["factory"], Stored([(rows, vectors)]), cells.nearest, made["lists"], made.get("search", {})
        )
    folders = [store.local_folder(f"{made['folder']}/{part['name']}") for part in made["parts"]]
    return indexes.open_parts(made["factory"], folders, made.get("search", {}), device=device)


def faulty_part(store: Store, folder: str, part: Mapping[str, Any], *, whole: bool) -> list[str]:
    """Return the files of a part that are missing, or not as they were made: by size, or by hash if `whole`."""
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
    store: Store,
    made: Mapping[str, Any],
    cells: Snapshot,
    live: Ints,
    spec: IndexSpec,
    device: str,
    progress: Progress,
) -> dict[str, Any]:
    """Return the search parameters that reach the recall asked for, and the recall measured on some live rows."""
    with progress("measuring recall", 1) as advance:
        index = open_index(store, made, cells, live, device)
        asked = indexes.sample(live, spec.random_state)
        # Vectors that are fetched are streamed, and not kept, on a device or elsewhere.
        of_truth = "cpu" if indexes.is_lance(made["factory"]) else device
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
    """Yield those rows of the table, in order, some thousands at a time."""
    for block in cells.batches(["row", "vector"], f"row >= {int(rows[0])} AND row <= {int(rows[-1])}"):
        own = np.asarray(block["row"], np.int64)
        keep = np.isin(own, rows, assume_unique=True)
        yield own[keep], vectors_from_arrow(block["vector"])[keep]


def _positions(cells: Snapshot, rows: Ints) -> Ints:
    return np.searchsorted(np.asarray(cells.read(["row"])["row"], np.int64), rows)
