"""Checkpoints of a training in the store: what was learnt survives the end of the process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.files import save_arrays
from scvec.core.limits import bounded_json
from scvec.store import Store

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One file, written completely or not at all: tensors, and in its metadata, as JSON, how far training got.

    Attributes
    ----------
    store, path
        Where the file is.
    plan
        A hash of everything that training depends on: a checkpoint of another plan is not resumed.
    """

    store: Store
    path: str
    plan: str

    def save(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        """Replace the checkpoint."""
        about = json.dumps({"plan": self.plan, **values})
        self.store.put_file(self.path, lambda local: save_arrays(local, arrays, {"state": about}))

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return what was saved; None if there is no checkpoint, or one of another plan, which is then deleted."""
        from safetensors import safe_open

        if not self.store.has_file(self.path):
            return None
        with self.store.local_file(self.path) as local, safe_open(local, framework="numpy") as file:
            values = bounded_json(file.metadata()["state"])
            if values.pop("plan") == self.plan:
                return {name: np.array(file.get_tensor(name)) for name in file.keys()}, values  # noqa: SIM118
        self.store.remove_file(self.path)
        return None
