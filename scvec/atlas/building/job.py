"""A build or an extension under way, as it stands in the store: what is done stays done when the process ends.

The folder ``atlases/<name>/job`` has the plan and a file for every shard that was staged. It is there from the first
shard to the last step; whoever makes the same plan again goes on from it, and whoever makes another throws it away.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scvec.atlas.building.shards import Done, Shard
from scvec.store import Store, Table


@dataclass(frozen=True, slots=True)
class Job:
    """The state of a plan in the store. Get one from `open_job`."""

    store: Store
    table: Table
    folder: str
    plan: Mapping[str, Any]

    @property
    def token(self) -> str:
        """What files are called that belong to the plan."""
        return hashlib.sha256(_text(self.plan).encode()).hexdigest()[:12]

    def done(self) -> dict[int, Done]:
        """Return the shards that were staged, by their number."""
        found = {}
        for name in self.store.children(f"{self.folder}/shards"):
            if name.startswith("."):  # half a file, of a process that was killed
                continue
            values = self.store.read_json(f"{self.folder}/shards/{name}")
            totals = np.frombuffer(base64.b64decode(values["totals"]), np.float64)
            done = Done(Shard(**values["shard"]), tuple(values["staged"]), values["n_empty"], totals)
            found[done.shard.number] = done
        return found

    def record(self, done: Done) -> None:
        """Remember a staged shard."""
        values = {
            "shard": asdict(done.shard),
            "staged": list(done.staged),
            "n_empty": done.n_empty,
            "totals": base64.b64encode(done.totals.astype(np.float64).tobytes()).decode(),
        }
        self.store.write_json(f"{self.folder}/shards/{done.shard.number:06d}.json", values)

    def note(self, name: str, values: Mapping[str, Any]) -> None:
        """Remember a step that is done."""
        self.store.write_json(f"{self.folder}/{name}.json", values)

    def noted(self, name: str) -> dict[str, Any] | None:
        """Return what was remembered of a step; None if it is not done."""
        path = f"{self.folder}/{name}.json"
        return self.store.read_json(path) if self.store.has_file(path) else None

    def is_committed(self) -> bool:
        """Whether its rows are the newest version of the table, which nobody may see as yet."""
        noted = self.noted("committed")
        return noted is not None and self.table.latest().version == noted["version"]

    def end(self) -> None:
        """Forget the plan: it was carried out."""
        self.store.remove(self.folder)

    def discard(self) -> None:
        """Forget the plan, and remove the rows that were staged for it and never committed."""
        if self.noted("committed") is None:
            for done in self.done().values():
                self.table.discard(done.staged)
            fitted = self.noted("fitted")
            if fitted is not None:
                self.store.remove(fitted["folder"])
        self.end()


def open_job(store: Store, table: Table, folder: str, plan: Mapping[str, Any]) -> Job:
    """Return the job of this plan: the one that is there, if it is of the same plan, else a new one."""
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
