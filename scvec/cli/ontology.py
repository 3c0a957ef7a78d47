"""Verbs on the Cell Ontology: ``ontology pull``, ``ontology import``, ``ontology list``, ``ontology match``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scvec.cli.app import PREPARE, Ui, app, open_store, renaming, table
from scvec.cli.options.cells import CellsArgument, ObsOption
from scvec.cli.options.common import CommonFlags, spreads
from scvec.cli.options.query import LABEL_KEY
from scvec.errors import must_be

if TYPE_CHECKING:
    from scvec.ontology import LabelMatch, Ontology

ontology_app = typer.Typer(
    help="The Cell Ontology: fetch, import, list; match labels to its terms.",
    no_args_is_help=True,
)
app.add_typer(ontology_app, name="ontology", rich_help_panel=PREPARE)

NewReleaseOption = Annotated[
    str | None, typer.Option(help="Name of the release (default: the version that the file states, or its date).")
]


@ontology_app.command(epilog="Example: scvec ontology pull")
@spreads
def pull(
    url: Annotated[
        str | None,
        typer.Option("--url", "--base-url", envvar="SCVEC_CL", help="Another file or mirror (default: its authors')."),
    ] = None,
    release: NewReleaseOption = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for the file (default: ontology in $SCVEC_CACHE or the user's cache).")
    ] = None,
    *,
    common: CommonFlags,
) -> None:
    """Fetch the Cell Ontology and import it; an unchanged file is not fetched again."""
    from scvec import ontology
    from scvec.ontology.download import URL

    ui = common.ui
    # A download's errors name `base_url`, which is where gene files come from.
    with renaming(base_url="url"):
        pulled = ontology.pull(
            open_store(common.store), url=url or URL, release=release, folder=keep, progress=ui.progress
        )
    ui.note(f"the file is {'new' if pulled.fetched.changed else 'unchanged'}: {pulled.fetched.path}")
    _imported(ui, pulled.ontology)


@ontology_app.command("import", epilog="Example: scvec ontology import cl-basic.obo")
@spreads
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="cl.obo, cl.json, or cellxgene-ontology-guide's JSON; plain, .gz or .zst.", metavar="FILE"),
    ],
    release: NewReleaseOption = None,
    *,
    common: CommonFlags,
) -> None:
    """Import the Cell Ontology from a file, as one release."""
    from scvec import ontology

    _imported(common.ui, ontology.import_ontology(open_store(common.store), file, release))


@ontology_app.command("list", epilog="Example: scvec ontology list")
@spreads
def list_(common: CommonFlags) -> None:
    """List the releases of the Cell Ontology in the store."""
    from scvec import ontology

    ui = common.ui
    found = ontology.list_ontologies(open_store(common.store))
    if not found:
        ui.note("no Cell Ontology yet: scvec ontology pull --help")
    keys = ("release", "n_terms", "n_obsolete")
    rows = [(*(one[key] for key in keys), ", ".join(file["file"] for file in one["files"])) for one in found]
    ui.result(list(found), table(("release", "terms", "obsolete", "from"), rows))


@ontology_app.command(epilog="Example: scvec ontology match cells.h5ad --label-key cell_type --out map.csv")
@spreads
def match(
    cells: CellsArgument,
    label_key: Annotated[str, typer.Option(help=LABEL_KEY)],
    own: Annotated[
        Path | None,
        typer.Option("--map", help="Your own ids, used first: JSON, or CSV with columns label and id."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output file (.csv) of labels, ids and names, to correct and give as --map.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="Release of the Cell Ontology (default: the last import).")
    ] = None,
    obs: ObsOption = None,
    *,
    common: CommonFlags,
) -> None:
    """Match an author's labels to Cell Ontology terms; nothing is guessed."""
    from collections import Counter

    from scvec import ontology
    from scvec.ingest import open_cells
    from scvec.ontology.matching import NO_MAP

    ui = common.ui
    if out is not None and out.suffix != ".csv":
        raise must_be("out", "a file name that ends in .csv", str(out))
    opened = ontology.open_ontology(open_store(common.store), release)
    given = ontology.read_map(own) if own is not None else NO_MAP
    with open_cells(cells, obs) as file:
        counts = Counter(one for one in file.labels_where_any(label_key, "--label-key").tolist() if one)
    found = ontology.match_labels(opened, sorted(counts), given)
    if out is not None:
        _write(found, out)
    for note in found.notes():
        ui.note(note)
    rows = [(one.label, counts[one.label], one.id, one.name, one.route) for one in found.matches]
    written = "" if out is None else f"\n\n{len(found.matches):,} labels written to {out}"
    ui.result(found.to_dict(), table(("label", "cells", "id", "name", "route"), rows) + written)


def _write(found: LabelMatch, out: Path) -> None:
    import csv

    from scvec.core.files import placing

    with placing(out) as part, part.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(("label", "id", "name"))
        rows.writerows((one.label, one.id, one.name) for one in found.matches)


def _imported(ui: Ui, ontology: Ontology) -> None:
    values = {"release": ontology.release, "n_terms": len(ontology), "n_obsolete": len(ontology.obsolete)}
    ui.result(values, f"{ontology}: {len(ontology):,} terms, {len(ontology.obsolete):,} obsolete ids")
