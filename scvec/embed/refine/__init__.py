"""Contrastive refinement: a head trained on a reference's labels, on top of the text projection of its genes."""

from scvec.embed.refine.fit import Trained, fit_head
from scvec.embed.refine.head import Head

__all__ = ["Head", "Trained", "fit_head"]
