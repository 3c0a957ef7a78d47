"""A folder or object-store URI of tables, with a marker that gives the format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scvec._version import __version__
from scvec.core.html import table
from scvec.core.logs import logger
from scvec.errors import ConflictError, StoreError, StoreFormatError
from scvec.store import registry
from scvec.store.folder import Folder, is_name
from scvec.store.storage_options import StorageOptions
from scvec.store.table import Table

FORMAT = 3
"""The version of the layout that this scvec writes."""

READABLE = (2, 3)
"""Gene texts and vectors of format 2 are as in 3; its atlases have another layout and are refused one by one."""

MARKER = "scvec-store.json"

MAX_DEPTH = 3
"""Names in the path of a table."""

N_SHOWN = 8
"""Atlases that the line about a store names."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What LanceDB lists of a store.

    Attributes
    ----------
    tables
        The paths of all tables.
    added, dropped
        Those that were not listed before, and those that were and are gone.
    """

    tables: tuple[str, ...]
    added: tuple[str, ...]
    dropped: tuple[str, ...]


class Store(Folder):
    """A folder or object-store URI of tables, and of the files that belong to them.

    Nothing is created before the first write.

    Parameters
    ----------
    uri
        A local path, or ``s3://``, ``gs://``, ``az://``, ``abfss://``.
    storage_options
        Keys, endpoint and region of an object store, under the names that Lance and LanceDB know; what is not given
        comes from the environment (``AWS_ENDPOINT_URL`` and so on). They are not shown, nor written to the store.

    Raises
    ------
    InputError
        If an option is unknown.
    StoreFormatError
        If the store has another format.
    StoreError
        If the URI is invalid, or is that of a file.
    """

    def __init__(self, uri: str | Path, storage_options: Mapping[str, object] | None = None) -> None:
        super().__init__(uri, storage_options)
        found = self.read_json(MARKER).get("format") if self.exists else FORMAT
        if not isinstance(found, int) or found > FORMAT:
            raise StoreFormatError(
                f"{self.uri} has store format {found}", f"{FORMAT}", "upgrade scvec: pip install -U scvec"
            )
        if found not in READABLE:
            raise StoreFormatError(
                f"{self.uri} has store format {found}, of an earlier scvec",
                f"{FORMAT}",
                "import gene texts and build atlases again in a new `store`",
            )
        self.format = found
        self._listed = set[str]()  # what this object has registered: not looked up at each commit

    def __repr__(self) -> str:
        names = self._atlases()
        shown = ", ".join(names[:N_SHOWN]) + (f" and {len(names) - N_SHOWN:,} more" if len(names) > N_SHOWN else "")
        return f"Store {self.uri}" + (f": {shown}" if names else "")

    def _repr_html_(self) -> str:
        return table(f"Store {self.uri}", ("atlas",), [(name,) for name in self._atlases()])

    def _atlases(self) -> list[str]:
        """Return the names of the atlases, to be shown; an object store is not asked only for that."""
        return self.children("atlases") if self.is_local else []

    @property
    def address(self) -> Address:
        """What another process needs to open it."""
        return Address(self.uri, self.storage_options)

    @property
    def exists(self) -> bool:
        """Whether anything was ever written here."""
        return self.has_file(MARKER)

    def table(self, path: str) -> Table:
        """Return a handle on the table at `path` (``"gene_texts/9606"``), which may not exist yet."""
        return Table(self, path, before_writing=self.mark, published=self._list_in_lancedb)

    def tables(self) -> list[str]:
        """Return the paths of all tables, sorted."""
        found, folders = [], [""]
        for _ in range(MAX_DEPTH):
            below = [(above, name) for above in folders for name in self.folders(above) if is_name(name)]
            paths = [f"{above}/{name}".lstrip("/") for above, name in below if not name.startswith((".", "_"))]
            found += [path.removesuffix(".lance") for path in paths if path.endswith(".lance")]
            folders = [path for path in paths if not path.endswith(".lance")]
        return sorted(path for path in found if self.table(path).exists)

    def register(self) -> Registration:
        """Bring LanceDB's list of tables up to date, so that ``lancedb.connect(uri)`` lists and opens those of now.

        What publishes a new table does so by itself; a store of an earlier scvec, or one whose folders were copied or
        removed by hand, needs this once. Tables and their versions stay as they are. A list that cannot be read is set
        aside as ``__manifest.damaged``, as it may name tables that others have made with LanceDB.

        Raises
        ------
        StoreError
            If the list cannot be read in an object store, where that may pass; or the store cannot be written.
        """
        there = set(self.tables())
        with self.writing():
            try:
                lost = registry.lost(self)
            except StoreError:
                if not self.is_local:
                    raise
                self.remove(f"{registry.REGISTRY}.damaged")
                Path(self.location(registry.REGISTRY)).rename(self.location(f"{registry.REGISTRY}.damaged"))
                lost = []
            added = registry.register(self, there)
            dropped = registry.deregister(self, lost)
        return Registration(tuple(sorted(there)), tuple(added), tuple(dropped))

    def remove(self, path: str) -> None:
        """Remove a folder and its contents, if it exists, and its tables from LanceDB's list."""
        super().remove(path)
        self._listed.clear()
        if path.count("/") >= MAX_DEPTH - 1 and not path.endswith(".lance"):
            return  # it holds no table
        try:
            listed = registry.registered(self)
            registry.deregister(self, [one for one in listed if f"{one}.lance/".startswith(f"{path}/")])
        except StoreError as error:
            logger.warning("LanceDB may still list what was removed: %s", error)

    def _list_in_lancedb(self, path: str) -> None:
        """Register a table that was just published; it is safe by now, so that a failure is only logged."""
        try:
            if path not in self._listed:
                registry.register(self, [path])
                self._listed.add(path)
        except StoreError as error:
            logger.warning("LanceDB does not list %s: %s", path, error)

    def mark(self) -> None:
        """Write the marker before the first table; a store of an older readable format becomes one of this format."""
        if not self.exists or self.format != FORMAT:
            self.write_json(MARKER, {"format": FORMAT, "written_by": f"scvec {__version__}"})
            self.format = FORMAT

    @contextmanager
    def only_writer(self, path: str) -> Iterator[None]:
        """Keep other processes of this machine from writing at `path` while the context lasts.

        The system releases the lock when the process ends, however it ends. An object store has no such lock: there,
        the later of two writers fails at its commit.

        Raises
        ------
        ConflictError
            If another process is writing there.
        """
        if not self.is_local:
            yield
            return
        from filelock import FileLock, Timeout

        file = Path(f"{self.location(path)}.lock")
        try:
            with self.writing():
                file.parent.mkdir(parents=True, exist_ok=True)
                held = FileLock(file, timeout=0).acquire()
        except Timeout as error:
            raise ConflictError(
                f"another process is writing {path}", "one writer at a time", "wait for it, then run this again"
            ) from error
        with held:
            yield


def as_store(store: Store | str | Path) -> Store:
    """Return a store that may be given by its folder or URI."""
    return store if isinstance(store, Store) else Store(store)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is and how it is reached, as workers are told. It holds secrets, and is never written to disk."""

    uri: str
    storage_options: StorageOptions

    def open(self) -> Store:
        """Open the store."""
        return Store(self.uri, self.storage_options.for_lance())
