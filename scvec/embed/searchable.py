"""What a table of gene vectors tells LanceDB: the encoder that made them, with which its search encodes words."""

from __future__ import annotations

import json
from collections.abc import Mapping

from scvec.embed.encoders import Encoder, Partial
from scvec.store import FUNCTIONS

NAME = "scvec"
"""The name under which `scvec.lancedb` registers its function."""

STORE = "scvec_store"
"""LanceDB's variable for the store, of which encoders need the texts that are fitted on them."""


def functions_of(model: Encoder) -> Mapping[bytes, bytes]:
    """Return the schema metadata of an encoder's vectors, in LanceDB's own form; none for one that reads no words."""
    if isinstance(model, Partial):
        return {}
    made_by = {
        "encoder": model.name,
        "revision": model.revision,
        "dimension": model.dimension,
        "store": f"$var:{STORE}:",
    }
    function = {"name": NAME, "model": made_by, "source_column": "text", "vector_column": "vector"}
    return {FUNCTIONS: json.dumps([function], sort_keys=True).encode()}
