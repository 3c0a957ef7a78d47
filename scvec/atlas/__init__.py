"""Reference atlases: built from labelled cells, maintained, read at one version, searched."""

from scvec.atlas.building.builder import build
from scvec.atlas.building.extension import extend
from scvec.atlas.distributed_search import search_parts
from scvec.atlas.maintenance import checkout, compact, rebuild, remove
from scvec.atlas.opening import list_atlases, open_atlas, versions
from scvec.atlas.opening import open_atlas as open  # noqa: A004 - sv.atlas.open(...) reads as it should
from scvec.atlas.reference import Atlas
from scvec.atlas.refitting import refit
from scvec.atlas.upkeep import optimize
from scvec.atlas.verifying import Fault, repair, verify

__all__ = [
    "Atlas",
    "Fault",
    "build",
    "checkout",
    "compact",
    "extend",
    "list_atlases",
    "open",
    "open_atlas",
    "optimize",
    "rebuild",
    "refit",
    "remove",
    "repair",
    "search_parts",
    "verify",
    "versions",
]
