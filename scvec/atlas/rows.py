"""The rows of an atlas's table: what is kept of each reference cell in addition to its vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from scvec.core.arrow import vectors_to_arrow
from scvec.core.types import Floats, Strings
from scvec.errors import InputError, LabelError
from scvec.ingest.cells import CellFile

COLUMNS = {
    "row": "the cell's id in this atlas, from 0; it stays when other cells are removed",
    "cell_id": "the cell's name in its file",
    "dataset": "the file that it came from, by the file's name without ending",
    "batch": "its donor or batch; empty if the atlas was built without",
    "label": "its label",
    "label_id": "the id of its label, such as one of the Cell Ontology; empty if none was given",
    "empty": "whether it expresses none of the atlas's genes; its vector is then zero, and no search finds it",
    "vector": "its vector, of length 1; two cells are compared by cosine",
}
"""The columns of every atlas's table; those of `Keys.obs` stand after `label_id`, as strings."""

FIXED_COLUMNS = tuple(COLUMNS)
OBS_COLUMNS = FIXED_COLUMNS[1:-1]


@dataclass(frozen=True, slots=True)
class Keys:
    """Columns of ``obs`` that an atlas keeps.

    Attributes
    ----------
    label, batch, label_id
        The label of each cell; its donor or batch; its label's id. The last two may be None.
    obs
        Further columns, kept as strings under their own names.
    """

    label: str
    batch: str | None = None
    label_id: str | None = None
    obs: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self) | {"obs": list(self.obs)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Keys:
        """Return what `to_dict` gave."""
        return cls(values["label"], values["batch"], values["label_id"], tuple(values["obs"]))


def obs_columns(file: CellFile, keys: Keys) -> dict[str, Strings]:
    """Return (n,) label, batch and label_id of each cell, "" without a key, and its values in the columns ``keys.obs``.

    The file has only cells with a label: see `scvec.ingest.cells.selection.Selection`. Those that are called
    `scvec.UNKNOWN` have none.

    Raises
    ------
    InputError
        If a column is missing or lacks values, if one of ``keys.obs`` is not a valid name for a column of the table,
        or if a label has two ids.
    """
    _check_names(file, keys.obs)
    none = np.full(len(file.obs_names), "", object)
    columns = {
        "label": file.labels(keys.label, "label_key"),
        "batch": file.labels(keys.batch, "batch_key") if keys.batch else none,
        "label_id": file.labels(keys.label_id, "label_id_key") if keys.label_id else none,
    }
    ids_of(columns["label"], columns["label_id"], str(file.path))
    return columns | {key: file.labels(key, "obs_keys") for key in keys.obs}


def ids_of(labels: Iterable[str], ids: Iterable[str], where: str) -> dict[str, str]:
    """Return the id of each label; raise `LabelError` if one has two."""
    found: dict[str, str] = {}
    for label, label_id in dict.fromkeys(zip(labels, ids, strict=True)):
        if found.setdefault(label, label_id) != label_id:
            raise LabelError(
                f"{where}: label {label!r} has ids {found[label]!r} and {label_id!r}", "one id per label", "correct obs"
            )
    return found


def _check_names(file: CellFile, obs_keys: Sequence[str]) -> None:
    """Raise `InputError` for a name that a filter could confuse with another, or that a table cannot have."""
    taken = set(FIXED_COLUMNS)
    for key in obs_keys:
        # Filters ignore the case of names, unless these are in backticks.
        if key.casefold() in taken or not key or key.startswith("_row") or {".", "`"} & set(key):
            raise InputError(
                f"{file.path}: obs[{key!r}] cannot be kept under that name",
                f"names that are unique, not {', '.join(FIXED_COLUMNS)}, without '.' and '`', not starting with _row",
                "rename the column in obs, or leave it out",
            )
        taken.add(key.casefold())


def table_schema(keys: Keys, dimension: int, dtype: str) -> pa.Schema:
    """Return the columns of an atlas's table."""
    number = {"float32": pa.float32(), "float16": pa.float16()}[dtype]
    types = {
        "row": pa.int64(),
        **dict.fromkeys((*OBS_COLUMNS, *keys.obs), pa.string()),
        "empty": pa.bool_(),
        "vector": pa.list_(number, dimension),
    }
    return pa.schema(list(types.items()))


def record_batch(schema: pa.Schema, columns: Mapping[str, np.ndarray[Any, Any]], vectors: Floats) -> pa.RecordBatch:
    """Return rows of the table, made of all other columns and the vectors."""
    arrays = [
        vectors_to_arrow(vectors, field.type.value_type)
        if field.name == "vector"
        else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
