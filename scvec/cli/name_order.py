"""A language model's order of the names of clusters: of those that texts gave, and no others."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated

from scvec.cli.app import Ui, renaming
from scvec.cli.options.common import panel
from scvec.cli.options.rerank import parse_price
from scvec.core.text import counted
from scvec.errors import InputError, must_be

if TYPE_CHECKING:
    from scvec.interpret import RerankOptions
    from scvec.naming import Names, Suggestion
    from scvec.ontology import Ontology
    from scvec.store import Store

MAX_NAMES = 20
"""Names of a cluster that a model orders."""

MAX_GENES = 30
"""Genes of a cluster that it is shown."""

LlmOption = panel("Second opinion: LLM")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFlags:
    """Which LLM orders the names, and at what cost."""

    rerank: Annotated[
        str | None,
        LlmOption(
            help="LLM that orders the names of each cluster, and can add none: openai:MODEL, or hf:MODEL.",
            metavar="MODEL",
        ),
    ] = None
    max_cost: Annotated[float | None, LlmOption(help="Spend at most this, in USD; the rest is not asked.")] = None
    price: Annotated[
        str | None,
        LlmOption(help="USD per million tokens in and out (default: OpenAI's list price).", metavar="IN,OUT"),
    ] = None
    download: Annotated[bool, LlmOption("--download", help="Download the model of --rerank if it is missing.")] = False

    def asked(self, n: int, tissue: str | None, device: str) -> RerankOptions | None:
        """Return the library's value, None without --rerank; raise `InputError`, before any work, if it is invalid."""
        if self.rerank is None:
            given = [f"`{one.name}`" for one in fields(self) if getattr(self, one.name) != one.default]
            if given:
                raise InputError(
                    f"{', '.join(given)} without --rerank has no effect", fix="add --rerank MODEL, or leave it out"
                )
            return None
        from scvec.interpret import RerankOptions

        if not 2 <= n <= MAX_NAMES:
            raise must_be("n", f"from 2 to {MAX_NAMES} with --rerank", n)
        asked = RerankOptions(
            model=self.rerank,
            tissue=tissue,
            max_cost=self.max_cost,
            price=parse_price(self.price),
            download=self.download,
            device=device,
        )
        with renaming(model="rerank"):
            asked.judge()
        return asked


def ordered(names: Names, asked: RerankOptions, store: Store, ui: Ui) -> Names:
    """Return names with the ranks that a language model gives them, beside the order by texts.

    It is shown the names' definitions and the genes behind them. Its answers are kept in the store.
    """
    from scvec.interpret.reranking.rows import Rows, ranked_searches
    from scvec.ontology import open_ontology

    judge, budget = asked.judge()
    ontology = open_ontology(store)
    shown = [
        Rows(_words(found, asked.tissue), [one.name for one in found], [_text(one, ontology) for one in found])
        for found in names.suggestions
    ]
    orders = ranked_searches(
        shown, judge=judge, budget=budget, store=store, concurrency=asked.concurrency, progress=ui.progress
    )
    n_asked = sum(len(one.names) > 1 for one in shown)
    n_ordered = sum(order is not None for order in orders)
    note = (
        f"{judge.name} ordered the names of {n_ordered:,} of {counted(n_asked, 'cluster')}; scores stay those of texts"
    )
    return replace(
        names,
        llm_ranks=tuple(_ranks(order) for order in orders),
        notes=(*names.notes, note),
        provenance={**names.provenance, "rerank": {"model": judge.name, "asked": n_asked, "ordered": n_ordered}},
    )


def _words(found: tuple[Suggestion, ...], tissue: str | None) -> str:
    """Return what is looked for: a type of cells with these genes."""
    genes = list(dict.fromkeys(gene for one in found for gene in one.genes))[:MAX_GENES]
    where = f" of {tissue}" if tissue else ""
    return f"the type of cells{where} that express more than other cells of their sample: {', '.join(genes)}"


def _text(one: Suggestion, ontology: Ontology) -> str:
    """Return a term's definition, and the genes whose texts fit it."""
    return f"Genes whose texts fit: {', '.join(one.genes)}. {ontology.terms[one.term_id].description}".strip()


def _ranks(order: list[int] | None) -> tuple[int, ...]:
    """Return the rank of each position in an order, from 1; () for no order."""
    rank = {at: i for i, at in enumerate(order or (), 1)}
    return tuple(rank[at] for at in range(len(rank)))
