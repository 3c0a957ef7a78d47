"""Options of the verbs that read cells."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_type_hints

import typer

from scvec.knn.options import DEFAULT, Weights

if TYPE_CHECKING:
    from scvec.ingest.cells.options import ReadOptions

CELLS = "an h5ad, a zarr store of AnnData, 10x's .h5 or folder with matrix.mtx, or the URI of one"
"""What is read, for help texts."""

CellsArgument = Annotated[str, typer.Argument(help=f"Cells, which are not changed: {CELLS}.", metavar="CELLS")]
OBS_HELP = "CSV, TSV or Parquet of annotations, the cells' names in the first column; 10x's files have none."
ObsOption = Annotated[str | None, typer.Option(help=OBS_HELP)]

AskedScale: TypeAlias = Literal["auto", "counts", "log1p"]
LayerOption = Annotated[str | None, typer.Option(help="Which matrix: X (the default), raw, or a layer's name.")]
ScaleOption = Annotated[
    AskedScale, typer.Option(help="What the matrix holds; auto looks, says, and refuses what is neither.")
]
GeneKeyOption = Annotated[
    str | None,
    typer.Option(help="Column of var that names the genes; default: var_names, or a usual column that covers more."),
]

DeviceOption = Annotated[str, typer.Option(help="auto: a GPU if there is one; cpu; cuda, or one of several as cuda:1.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """How a query is read: the options of all verbs that take one."""

    obs: ObsOption = None
    layer: LayerOption = None
    scale: ScaleOption = "auto"
    gene_key: GeneKeyOption = None
    taxon: Annotated[
        str | None,
        typer.Option(
            help="The query's species, where it is another than the atlas's: human, mouse, rat or a taxon id."
        ),
    ] = None

    def reading(self) -> ReadOptions:
        """Return the same as a library's value."""
        from scvec.ingest.cells.options import ReadOptions

        return ReadOptions(self.obs, self.layer, self.scale, self.gene_key, self.taxon)


@dataclass(frozen=True, slots=True, kw_only=True)
class How(Read):
    """How a query is called: the options that ``query`` and ``evaluate`` share."""

    k: Annotated[int, typer.Option(help="Neighbours that vote.")] = DEFAULT.k
    weights: Annotated[
        Weights, typer.Option(help="A vote's weight: 1 / (distance + 0.001), or exp(-distance / temperature).")
    ] = DEFAULT.weights
    temperature: Annotated[float, typer.Option(help="Of softmax weights: the lower, the more the nearest decide.")] = (
        DEFAULT.temperature
    )
    frequency: Annotated[
        float, typer.Option(help="0 to 1: how far a label's number of cells is taken from its votes.")
    ] = DEFAULT.frequency
    allow: Annotated[
        list[str] | None, typer.Option(help="A label that may be called, and no other may; repeatable.")
    ] = None
    block: Annotated[list[str] | None, typer.Option(help="A label that may not be called; repeatable.")] = None
    where: Annotated[
        str | None,
        typer.Option(help="Which cells of the atlas are searched, in SQL: \"tissue = 'pancreas' AND sex != 'male'\"."),
    ] = None
    cluster_key: Annotated[
        str | None, typer.Option(help="Column of the query's obs; each cluster is called too, beside its cells.")
    ] = None
    cluster: Annotated[
        str | None, typer.Option(help="The same for clusters made here: leiden, or leiden:RESOLUTION.")
    ] = None
    max_error: Annotated[
        float | None,
        typer.Option(help="Share of the calls that may be wrong, as 0.05; those not trusted that far are unknown."),
    ] = None
    sets: Annotated[bool, typer.Option("--sets", help="Name all labels that may be right, beside the call.")] = False
    roll_up: Annotated[
        float | None,
        typer.Option(help="Share of the votes that a Cell Ontology term is to have, as 0.8; more general if need be."),
    ] = None
    readout: Annotated[
        str | None, typer.Option(help="A trained readout whose labels stand beside the calls; see scvec interpret.")
    ] = None
    readout_model: Annotated[
        str | None, typer.Option(help="Where that readout's language model is now; default: where it was.")
    ] = None
    device: DeviceOption = "cpu"
    recipe: Annotated[str | None, typer.Option(help="Refuse an atlas that was not built with this recipe.")] = None
    encoder: Annotated[str | None, typer.Option(help="Refuse an atlas that was not built with this encoder.")] = None


def spreads(**kinds: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a verb's parameters of these names be asked for as the options that their dataclasses are made of."""

    def spread(verb: Callable[..., None]) -> Callable[..., None]:
        options = {name: _options(kind) for name, kind in kinds.items()}

        @functools.wraps(verb)
        def asking(**given: Any) -> None:
            made = {
                name: kind(**{one.name: given.pop(one.name) for one in options[name]}) for name, kind in kinds.items()
            }
            verb(**made, **given)

        parameters: list[inspect.Parameter] = []
        for one in inspect.signature(verb, eval_str=True).parameters.values():
            parameters += options.get(one.name, [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)])
        asking.__dict__["__signature__"] = inspect.Signature(parameters)
        return asking

    return spread


def _options(kind: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(kind)
    ]
