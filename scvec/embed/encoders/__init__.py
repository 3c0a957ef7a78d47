"""Encoders of gene texts, in one registry that other packages can add to."""

from scvec.embed.encoders.base import Address, Encoder, Model, Partial, Priced, Request
from scvec.embed.encoders.registry import find, make, models

__all__ = ["Address", "Encoder", "Model", "Partial", "Priced", "Request", "find", "make", "models"]
