"""Options of the verbs that ask an LLM about calls."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scvec.cli.app import renaming
from scvec.cli.options.cells import How
from scvec.errors import InputError

if TYPE_CHECKING:
    from scvec.interpret import RerankOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """Who is asked to rerank unsure calls, and how: the options that ``query`` and ``evaluate`` share."""

    rerank: Annotated[
        str | None,
        typer.Option(
            help="An LLM that reorders the labels found for unsure calls: openai:MODEL, by OPENAI_BASE_URL, or "
            "hf:MODEL, a folder, a .gguf file or a name on the hub.",
            metavar="MODEL",
        ),
    ] = None
    rerank_by: Annotated[
        Literal["cluster", "cell"],
        typer.Option(help="What it is asked about; clusters are made by leiden where none are asked for."),
    ] = "cluster"
    rerank_error: Annotated[
        float, typer.Option(help="Share of the calls that may be wrong where nothing is asked; the lower, the more is.")
    ] = 0.05
    tissue: Annotated[str | None, typer.Option(help="Where the cells are from, for the LLM to know.")] = None
    max_cost: Annotated[
        float | None, typer.Option(help="USD that may be spent; what would cost more stays unasked.")
    ] = None
    price: Annotated[
        str | None,
        typer.Option(
            help="USD for a million tokens in and out, as 0.15,0.60; default: OpenAI's list price.", metavar="IN,OUT"
        ),
    ] = None
    concurrency: Annotated[int, typer.Option(help="Cases that a server is asked at once.")] = 4
    download: Annotated[
        bool,
        typer.Option("--download", help="Fetch the LLM of --rerank or of --readout if it is not here."),
    ] = False

    def cluster(self, how: How) -> str | None:
        """Return the clustering to be made: what was asked for, or leiden where clusters are to be reranked."""
        wants = self.rerank is not None and self.rerank_by == "cluster" and how.cluster_key is None
        return "leiden" if wants and how.cluster is None else how.cluster

    def asked(self, how: How, device: str) -> RerankOptions | None:
        """Return what is asked for, None for nothing; raise `InputError`, before any work, if it is of no use."""
        if self.rerank is None:
            given = [one.name for one in fields(self) if getattr(self, one.name) != one.default]
            given = [name for name in given if name != "download" or how.readout is None]
            if given:
                options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
                raise InputError(f"{options} without --rerank", "a model to ask", "--rerank MODEL, or leave it out")
            return None
        from scvec.interpret import RerankOptions

        asked = RerankOptions(
            model=self.rerank,
            by=self.rerank_by,
            error=self.rerank_error,
            tissue=self.tissue,
            max_cost=self.max_cost,
            price=_price(self.price),
            concurrency=self.concurrency,
            download=self.download,
            device=device,
        )
        with renaming(model="rerank", error="rerank_error", by="rerank_by"):
            asked.judge()
        return asked


def _price(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        price_in, price_out = (float(one) for one in text.split(","))
    except ValueError:
        raise InputError(f"--price {text}", "USD for a million tokens in, and out", "--price 0.15,0.60") from None
    return price_in, price_out
