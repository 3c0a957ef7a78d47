"""Encoders of gene texts, in a registry that other packages can extend."""

from scvec.embed.encoders.base import Address, Encoder, Model, Partial, Priced, Request, Truncates
from scvec.embed.encoders.registry import find, make, models

__all__ = ["Address", "Encoder", "Model", "Partial", "Priced", "Request", "Truncates", "find", "make", "models"]
