"""What a language model says of calls, closed over the labels that retrieval found; readouts that are trained."""

from scvec.interpret.readout import Predicted, Readout, ReadoutSpec, open_readout, predict, second_opinion, train
from scvec.interpret.reranking import Asked, RerankBill, rerank, rerank_bill

__all__ = [
    "Asked",
    "Predicted",
    "Readout",
    "ReadoutSpec",
    "RerankBill",
    "open_readout",
    "predict",
    "rerank",
    "rerank_bill",
    "second_opinion",
    "train",
]
