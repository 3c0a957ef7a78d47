"""Options of the verbs that ask an LLM about calls."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

from scvec.cli.app import renaming
from scvec.cli.options.common import keywords, panel
from scvec.cli.options.query import QueryFlags
from scvec.errors import InputError, must_be

if TYPE_CHECKING:
    from scvec.interpret import RerankOptions

LlmOption = panel("Second opinion: LLM")


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankFlags:
    """Which LLM reranks uncertain calls, and how: the options that ``query``, ``report`` and ``evaluate`` share."""

    rerank: Annotated[
        str | None,
        LlmOption(
            help="LLM that reorders the labels of uncertain calls: openai:MODEL, or hf:MODEL "
            "(a folder, a .gguf file or a name on the hub).",
            metavar="MODEL",
        ),
    ] = None
    by: Annotated[
        Literal["cluster", "cell"],
        LlmOption("--rerank-by", help="Ask about clusters (made by Leiden if none are given) or about cells."),
    ] = "cluster"
    error: Annotated[
        float,
        LlmOption("--rerank-error", help="Accepted share of errors among calls that are not asked about."),
    ] = 0.05
    tissue: Annotated[str | None, LlmOption(help="Tissue of the cells, for the LLM and for --suggest-names.")] = None
    max_cost: Annotated[float | None, LlmOption(help="Spend at most this, in USD; the rest is not asked.")] = None
    price: Annotated[
        str | None,
        LlmOption(
            help="USD per million tokens in and out, such as 0.15,0.60 (default: OpenAI's list price).",
            metavar="IN,OUT",
        ),
    ] = None
    concurrency: Annotated[int, LlmOption(help="Requests to the server at the same time.")] = 4
    download: Annotated[
        bool, LlmOption("--download", help="Download the model of --rerank or --readout if it is missing.")
    ] = False

    def cluster(self, flags: QueryFlags) -> str | None:
        """Return the clustering to make: the one given, or leiden where clusters are to be reranked."""
        wants = self.rerank is not None and self.by == "cluster" and flags.cluster_key is None
        return "leiden" if wants and flags.cluster is None else flags.cluster

    def asked(self, flags: QueryFlags, device: str, *, names: bool = False) -> RerankOptions | None:
        """Return the library's value, None without --rerank; raise `InputError`, before any work, if it is invalid.

        `names` is whether unknown cells get names, which `tissue` is for, too.
        """
        if self.rerank is None:
            given = [one.name for one in fields(self) if getattr(self, one.name) != one.default]
            others = {"download": flags.readout is not None, "tissue": names}
            given = [name for name in given if not others.get(name, False)]
            if given:
                options = ", ".join(f"`{name}`" for name in given)
                wanted = "--rerank MODEL, or --suggest-names" if given == ["tissue"] else "--rerank MODEL"
                raise InputError(f"{options} without --rerank has no effect", fix=f"add {wanted}, or leave it out")
            return None
        from scvec.interpret import RerankOptions

        given_values = keywords(self, RerankOptions) | {"price": parse_price(self.price)}
        asked = RerankOptions(model=self.rerank, device=device, **given_values)
        with renaming(model="rerank"):
            asked.judge()
        return asked


def parse_price(text: str | None) -> tuple[float, float] | None:
    """Return the price that an option says."""
    if text is None:
        return None
    try:
        price_in, price_out = (float(one) for one in text.split(","))
    except ValueError:
        raise must_be("price", "USD per million tokens in and out, such as 0.15,0.60", text) from None
    return price_in, price_out
