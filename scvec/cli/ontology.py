"""Verbs on the Cell Ontology: ``ontology pull``, ``ontology import``, ``ontology list``, ``ontology match``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table
from scvec.cli.options.cells import CellsArgument, ObsOption
from scvec.errors import InputError

if TYPE_CHECKING:
    from scvec.ontology import LabelMatch, Ontology

ontology_app = typer.Typer(
    help="The Cell Ontology: from its authors or from a file, what is there, which labels are its terms.",
    no_args_is_help=True,
)
app.add_typer(ontology_app, name="ontology")

NewReleaseOption = Annotated[
    str | None, typer.Option(help="The release's tag; default: the version the file gives itself, or its date.")
]


@ontology_app.command(epilog="Example: scvec ontology pull")
def pull(
    # The errors of fetching name --base-url, as that is what it is called where there are several files.
    url: Annotated[
        str | None,
        typer.Option("--url", "--base-url", envvar="SCVEC_CL", help="Another file or mirror; default: its authors'."),
    ] = None,
    release: NewReleaseOption = None,
    keep: Annotated[
        Path | None, typer.Option(help="Where to keep the file; default: ontology in $SCVEC_CACHE or the user's cache.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch the Cell Ontology and import it; a file that did not change is not fetched again."""
    from scvec import ontology
    from scvec.ontology.download import URL

    ui = Ui(json, quiet)
    pulled = ontology.pull(open_store(store), url=url or URL, release=release, folder=keep, progress=ui.progress)
    ui.note(f"the file is {'new' if pulled.fetched.changed else 'as it was'}: {pulled.fetched.path}")
    _imported(ui, pulled.ontology)


@ontology_app.command("import", epilog="Example: scvec ontology import cl-basic.obo")
def import_(
    file: Annotated[Path, typer.Argument(help="cl.obo, cl.json, or of cellxgene-ontology-guide; plain, .gz or .zst.")],
    release: NewReleaseOption = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Import the Cell Ontology from a file, as one release."""
    from scvec import ontology

    _imported(Ui(json, quiet), ontology.import_ontology(open_store(store), file, release))


@ontology_app.command("list", epilog="Example: scvec ontology list")
def list_(store: StoreOption = DEFAULT_STORE, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the releases of the Cell Ontology in the store."""
    from scvec import ontology

    ui = Ui(json, quiet)
    found = ontology.list_ontologies(open_store(store))
    if not found:
        ui.note("no Cell Ontology yet: scvec ontology pull --help")
    keys = ("release", "n_terms", "n_obsolete")
    rows = [(*(one[key] for key in keys), ", ".join(file["file"] for file in one["files"])) for one in found]
    ui.result(list(found), table(("release", "terms", "obsolete", "from"), rows))


@ontology_app.command(epilog="Example: scvec ontology match cells.h5ad --label-key cell_type --out map.csv")
def match(
    cells: CellsArgument,
    label_key: Annotated[str, typer.Option(help="Column of obs with the author's labels.")],
    own: Annotated[
        Path | None,
        typer.Option(
            "--map", help="Your own ids, before all others: CSV or TSV with the columns label and id, or a JSON object."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write label, id and name as CSV: to be mended, and given as --map.")
    ] = None,
    release: Annotated[str | None, typer.Option(help="Which Cell Ontology; default: the one imported last.")] = None,
    obs: ObsOption = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say which terms an author's labels are; none is guessed."""
    from collections import Counter

    from scvec import ontology
    from scvec.ingest import open_cells
    from scvec.ontology.matching import NO_MAP

    ui = Ui(json, quiet)
    if out is not None and out.suffix != ".csv":
        raise InputError(f"--out {out}", "a name that ends in .csv", "name another file")
    opened = ontology.open_ontology(open_store(store), release)
    given = ontology.read_map(own) if own is not None else NO_MAP
    with open_cells(cells, obs) as file:
        counts = Counter(file.labels(label_key, "--label-key").tolist())
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
