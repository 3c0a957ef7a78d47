"""What a user asks for: which judge, about what, for how much."""

from __future__ import annotations

from dataclasses import dataclass

from scvec.errors import InputError
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
        Whether clusters are asked about, or cells.
    error
        Share of the calls that may be wrong where nothing is asked.
    tissue
        Where the cells are from, in the user's words; None: nothing is said of it.
    max_cost
        What may be spent, in USD; None: any sum.
    price
        USD for a million tokens in, and out; None: the list price, where it is known.
    concurrency
        Cases that a server is asked at once.
    random_state
        Seed of the judge.
    download, device
        Of a judge that runs here: whether its weights may be fetched, and where it computes.
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
        """Return the judge and the money it may cost; raise `InputError` if something asked for is of no use."""
        if not 0 < self.error < 1:
            raise InputError(f"error = {self.error!r}", "a share between 0 and 1", "--rerank-error 0.05")
        if self.concurrency < 1:
            raise InputError(f"concurrency = {self.concurrency}", "a whole number above 0", "--concurrency 4")
        if self.tissue is not None and not "".join(self.tissue.split()).isprintable():
            raise InputError(f"tissue = {self.tissue!r}", "a few words of plain text", "give another --tissue")
        judge = make_judge(self.model, random_state=self.random_state, download=self.download, device=self.device)
        return judge, Budget(price_of(judge, self.price, self.max_cost), self.max_cost)
