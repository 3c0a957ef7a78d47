"""Language models on calls: reranking chooses among the labels that retrieval found, a readout is trained on cells."""

import warnings
from typing import Any

from scvec.interpret.readout import Predicted, Readout, ReadoutSpec, open_readout, predict, second_opinion, train
from scvec.interpret.reranking import RerankBill, RerankOptions, rerank, rerank_bill

__all__ = [
    "Predicted",
    "Readout",
    "ReadoutSpec",
    "RerankBill",
    "RerankOptions",
    "open_readout",
    "predict",
    "rerank",
    "rerank_bill",
    "second_opinion",
    "train",
]


def __getattr__(name: str) -> Any:
    if name != "Asked":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("scvec.interpret.Asked is now RerankOptions", DeprecationWarning, stacklevel=2)
    return RerankOptions
