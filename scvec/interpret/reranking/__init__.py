"""An LLM reorders the candidate labels of unsure calls: cases, evidence, prompt, judge, budget, cache, verdict."""

from scvec.interpret.reranking.options import RerankOptions
from scvec.interpret.reranking.run import RerankBill, rerank, rerank_bill

__all__ = ["RerankBill", "RerankOptions", "rerank", "rerank_bill"]
