"""Language models on calls: reranking chooses among the labels that retrieval found, a readout is trained on cells."""

from scvec.core.lazy import exporting
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

__getattr__ = exporting(__name__, {"RerankOptions": "reranking"}, renamed={"Asked": "RerankOptions"})
