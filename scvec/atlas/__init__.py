"""Reference atlases: built from a labelled h5ad, read at one version, searched."""

from scvec.atlas.builder import build
from scvec.atlas.reference import Atlas, list_atlases, open_atlas

__all__ = ["Atlas", "build", "list_atlases", "open_atlas"]
