"""Options of the verbs that read cells."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

AskedScale: TypeAlias = Literal["auto", "counts", "log1p"]
LayerOption = Annotated[str | None, typer.Option(help="Which matrix: X (the default), raw, or a layer's name.")]
ScaleOption = Annotated[
    AskedScale, typer.Option(help="What the matrix holds; auto looks, says, and refuses what is neither.")
]
GeneKeyOption = Annotated[
    str | None,
    typer.Option(help="Column of var that names the genes; default: var_names, or a usual column that covers more."),
]
