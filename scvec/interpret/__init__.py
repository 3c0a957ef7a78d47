"""Language models on calls: reranking chooses among the labels that retrieval found, a readout is trained on cells."""

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
