"""Options of reranking: which judge, about what, at what cost."""

from __future__ import annotations

from dataclasses import dataclass

from scvec.errors import must_be
from scvec.interpret.reranking.budget import Budget, Price, price_of
from scvec.interpret.reranking.cases import By
from scvec.interpret.reranking.judge import Judge
from scvec.interpret.reranking.judges import make_judge


@dataclass(frozen=True, slots=True)
class RerankOptions:
    """How calls are reranked.

    Attributes
    ----------
    model
        Address of the judge: see `scvec.interpret.reranking.judges.make_judge`.
    by
        What the judge is asked about: ``"cluster"`` or ``"cell"``.
    error
        Share of the calls that may be wrong among those that the judge is not asked about.
    tissue
        Where the cells are from, in free text; None to leave it out.
    max_cost
        Most USD to spend; None for no limit.
    price
        USD per million tokens, in and out; None for the list price, if it is known.
    concurrency
        Number of cases that a server is asked at once.
    random_state
        Random seed of the judge.
    download, device
        For a local judge: whether its weights may be downloaded, and where it computes.
    """

    model: str
    by: By = "cluster"
    error: float = 0.05
    tissue: str | None = None
    max_cost: float | None = None
    price: Price | None = None
    concurrency: int = 4
    random_state: int = 0
    download: bool = False
    device: str = "cpu"

    def judge(self) -> tuple[Judge, Budget]:
        """Return the judge and its budget; raise `InputError` if an option is invalid."""
        if not 0 < self.error < 1:
            raise must_be("error", "between 0 and 1", self.error)
        if self.concurrency < 1:
            raise must_be("concurrency", "at least 1", self.concurrency)
        if self.tissue is not None and not "".join(self.tissue.split()).isprintable():
            raise must_be("tissue", "a few words of plain text", self.tissue)
        judge = make_judge(self.model, random_state=self.random_state, download=self.download, device=self.device)
        return judge, Budget(price_of(judge, self.price, self.max_cost), self.max_cost)
