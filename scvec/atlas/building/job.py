"""A build or an extension in progress, as recorded in the store: finished steps survive the end of the process.

The folder ``atlases/<name>/job`` holds the plan and a note for each finished step and each staged shard. It exists
from the start of a build to its last step. A process with the same plan resumes it; a process with another plan
discards it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np

from scvec.atlas.building.shards import Done, Shard
from scvec.atlas.manifests import FITTED, check_fitted
from scvec.core.reading import reading
from scvec.core.shapes import Maybe, Shape, fault
from scvec.errors import FileError, InputError, StoreError
from scvec.store import Store, Table

SHARD: Shape = {
    "shard": dict.fromkeys(("number", "source", "start", "stop", "first_row"), int),
    "staged": (str,),
    "n_empty": int,
    "totals": str,
}
NOTES: Mapping[str, Shape] = MappingProxyType(
    {
        "committed": {"version": int},
        "fitted": {
            **FITTED,
            "views": Maybe((str,)),
            "training": Maybe(dict),
            "labels": Maybe((str,)),
            "notes": Maybe((str,)),
        },
    }
)
"""What the notes of a job have at least."""


@dataclass(frozen=True, slots=True)
class Job:
    """The state of a plan in the store. Get one from `open_job`."""

    store: Store
    table: Table
    folder: str
    plan: Mapping[str, Any]

    @property
    def token(self) -> str:
        """The name of files that belong to the plan."""
        return hashlib.sha256(_text(self.plan).encode()).hexdigest()[:12]

    def done(self) -> dict[int, Done]:
        """Return the staged shards, by number."""
        found = {}
        for name in self.store.children(f"{self.folder}/shards"):
            if name.startswith("."):  # a partial file, of a process that was killed
                continue
            values = self.store.read_json(f"{self.folder}/shards/{name}")
            self._check(f"shards/{name}", fault(values, SHARD))
            with reading(self._at(f"shards/{name}"), raised=StoreError, fix=self._fix()):
                totals = np.frombuffer(base64.b64decode(values["totals"]), np.float64)
                done = Done(Shard(**values["shard"]), tuple(values["staged"]), values["n_empty"], totals)
            found[done.shard.number] = done
        return found

    def record(self, done: Done) -> None:
        """Record a staged shard."""
        values = {
            "shard": asdict(done.shard),
            "staged": list(done.staged),
            "n_empty": done.n_empty,
            "totals": base64.b64encode(done.totals.astype(np.float64).tobytes()).decode(),
        }
        self.store.write_json(f"{self.folder}/shards/{done.shard.number:06d}.json", values)

    def note(self, name: str, values: Mapping[str, Any]) -> None:
        """Record a finished step."""
        self.store.write_json(f"{self.folder}/{name}.json", values)

    def noted(self, name: str) -> dict[str, Any] | None:
        """Return what was recorded of a step; None if it is not finished."""
        path = f"{self.folder}/{name}.json"
        if not self.store.has_file(path):
            return None
        values = self.store.read_json(path)
        self._check(f"{name}.json", fault(values, NOTES[name]) if name in NOTES else "")
        if name == "fitted":
            check_fitted(PurePosixPath(self.folder).parent.name, values, self._at(f"{name}.json"))
        return values

    def is_committed(self) -> bool:
        """Whether its rows are the newest version of the table, even if that is not published yet."""
        noted = self.noted("committed")
        return noted is not None and self.table.latest().version == noted["version"]

    def _at(self, name: str) -> str:
        return f"{self.store.uri}/{self.folder}/{name}"

    def _fix(self) -> str:
        return f"remove the folder {self.store.uri}/{self.folder}, and run again"

    def _check(self, name: str, found: str) -> None:
        if found:
            raise StoreError(f"{self._at(name)}: {found}", "a note that scvec wrote", self._fix())

    @contextmanager
    def carried_out(self) -> Iterator[None]:
        """Remove the job when the context ends well, and discard it if its input turns out invalid.

        Any other error keeps the job to be resumed; so does a `FileError`, as the file may be restored.
        """
        try:
            yield
        except FileError:
            raise
        except InputError:  # the same plan would fail again
            self.discard()
            raise
        self.end()

    def end(self) -> None:
        """Remove the job, which is finished."""
        self.store.remove(self.folder)

    def discard(self) -> None:
        """Remove the job, with what was staged or fitted for it but never committed."""
        if self.noted("committed") is None:
            for done in self.done().values():
                self.table.discard(done.staged)
            fitted = self.noted("fitted")
            if fitted is not None:
                self.store.remove(fitted["folder"])
        self.end()


def open_job(store: Store, table: Table, folder: str, plan: Mapping[str, Any]) -> Job:
    """Return the job of this plan: the existing one, if it has the same plan, else a new one."""
    job = Job(store, table, folder, plan)
    path = f"{folder}/plan.json"
    if store.has_file(path):
        there = store.read_json(path)
        if _text(there) == _text(plan):
            return job
        Job(store, table, folder, there).discard()
    store.write_json(path, plan)
    return job


def _text(plan: Mapping[str, Any]) -> str:
    return json.dumps(plan, sort_keys=True)
