"""Options of an index, chosen before the cells are known."""

from __future__ import annotations

from dataclasses import dataclass

from scvec.errors import must_be


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """How the cells of an atlas are searched.

    Attributes
    ----------
    factory
        ``"auto"``: chosen by the number of cells and `memory`; ``"exact"``; a FAISS factory string: ``"Flat"``,
        ``"HNSW32"``, ``"IVF1024,SQ8"``; or an index that Lance keeps in the table: ``"lance:IVF_FLAT"``,
        ``"lance:IVF_PQ"``, ``"lance:IVF_HNSW_SQ"``.
    k
        Number of neighbours at which recall against exact search is measured.
    recall
        The share of the true neighbours to find, 0 to 1; the search is made as thorough as that takes.
    memory
        Bytes that the index (codes and graph) may take; the vectors are memory-mapped and do not count.
    random_state
        Seed of the samples for training and tuning.
    """

    factory: str = "auto"
    k: int = 15
    recall: float = 0.99
    memory: int = 2 * 2**30
    random_state: int = 0

    def __post_init__(self) -> None:
        for name, good, wanted in (
            ("k", self.k > 0, "a whole number above 0"),
            ("recall", 0 < self.recall <= 1, "a share above 0, up to 1"),
            ("memory", self.memory > 0, "a number of bytes above 0"),
            ("random_state", self.random_state >= 0, "a whole number from 0"),
        ):
            if not good:
                raise must_be(name, wanted, getattr(self, name))
