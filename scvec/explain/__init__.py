"""Why a call is what it is: the genes that make it."""

from scvec.explain.attribution import Attribution, attributions

__all__ = ["Attribution", "attributions"]
