"""Verbs on gene texts: ``genes pull``, ``genes import``, ``genes list``, ``genes diff``, ``genes check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table
from scvec.cli.options.cells import CellsArgument, GeneKeyOption, LayerOption, ScaleOption

if TYPE_CHECKING:
    from scvec.ingest import GeneTexts

genes_app = typer.Typer(
    help="Gene texts: from NCBI or from files, what is there, what changed, what a file's genes are.",
    no_args_is_help=True,
)
app.add_typer(genes_app, name="genes")

TaxonOption = Annotated[str, typer.Option(help="human, mouse, rat or an NCBI taxon id.")]
ReleaseOption = Annotated[str | None, typer.Option(help="Which gene texts; default: those imported last.")]
N_SHOWN = 20


@genes_app.command(epilog="Example: scvec genes pull --taxon human")
def pull(
    taxon: TaxonOption,
    base_url: Annotated[
        str | None, typer.Option(envvar="SCVEC_NCBI", help="A mirror of NCBI's gene/DATA; default: NCBI's own.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="The release's tag; default: the day the server's newest file was changed.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Where to keep NCBI's files; default: ncbi in $SCVEC_CACHE or the user's cache.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch NCBI's gene files and import the texts of one taxon; files that did not change are not fetched again."""
    from scvec import ingest
    from scvec.ingest.genes.gene_texts import taxon_id
    from scvec.ingest.genes.pull import BASE_URL, default_folder

    ui = Ui(json, quiet)
    opened = open_store(store)
    folder = keep or default_folder()
    files = ingest.pull(taxon_id(taxon), folder, base_url=base_url or BASE_URL, release=release, progress=ui.progress)
    ui.note(f"NCBI's files are {'new' if files.changed else 'as they were'}, in {folder}")
    texts = ingest.texts(
        opened,
        taxon=taxon,
        gene_info=files.gene_info,
        gene_summary=files.gene_summary,
        gene_orthologs=files.gene_orthologs,
        release=release,
        date=files.release,
    )
    ui.result(texts.manifest, _imported(texts))


@genes_app.command(
    "import",
    epilog="Example: scvec genes import --taxon human --gene-info Homo_sapiens.gene_info.gz "
    "--gene-summary gene_summary.gz --gene-orthologs gene_orthologs.gz",
)
def import_(
    taxon: TaxonOption,
    gene_info: Annotated[Path, typer.Option(help="NCBI's gene_info file, plain or .gz.")],
    gene_summary: Annotated[Path, typer.Option(help="NCBI's gene_summary file, plain or .gz.")],
    gene_orthologs: Annotated[
        Path | None, typer.Option(help="NCBI's gene_orthologs file: lends summaries, and links species.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="The release's tag; default: the newest modification date in gene_info.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Import NCBI's gene texts of one taxon, from files, as one release."""
    from scvec import ingest

    texts = ingest.texts(
        open_store(store),
        taxon=taxon,
        gene_info=gene_info,
        gene_summary=gene_summary,
        gene_orthologs=gene_orthologs,
        release=release,
    )
    Ui(json, quiet).result(texts.manifest, _imported(texts))


@genes_app.command("list", epilog="Example: scvec genes list")
def list_(store: StoreOption = DEFAULT_STORE, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the releases of gene texts in the store."""
    from scvec import ingest
    from scvec.ingest.genes.gene_texts import taxon_name

    ui = Ui(json, quiet)
    found = ingest.list_texts(open_store(store))
    rows = [(taxon_name(one.taxon_id), one.release, len(one), one.manifest["origin"]) for one in found]
    if not rows:
        ui.note("no gene texts yet: scvec genes pull --help")
    ui.result([one.manifest for one in found], table(("taxon", "release", "genes", "origin"), rows))


@genes_app.command(epilog="Example: scvec genes diff 2026-10-01 2026-11-21 --taxon human")
def diff(
    before: Annotated[str, typer.Argument(help="The earlier release.", metavar="A")],
    after: Annotated[str, typer.Argument(help="The later release.", metavar="B")],
    taxon: TaxonOption,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what changed between two releases: genes added, removed or renamed, and texts."""
    from scvec import ingest

    opened = open_store(store)
    changes = ingest.diff(ingest.open_texts(opened, taxon, before), ingest.open_texts(opened, taxon, after))
    counts = dict(changes.group_by("change").len().sort("change").iter_rows())
    rows = [
        (row["change"], str(row["gene_id"]), row["symbol"], _short(row["before"]), _short(row["after"]))
        for row in changes.head(N_SHOWN).to_dicts()
    ]
    said = ", ".join(f"{n:,} {kind}" for kind, n in counts.items()) or "nothing changed"
    shown = [table(("change", "gene", "symbol", before, after), rows)] if rows else []
    if len(changes) > N_SHOWN:
        shown.append(f"... and {len(changes) - N_SHOWN:,} more: --json has them all")
    values = {"taxon": taxon, "before": before, "after": after, "counts": counts, "changes": changes.to_dicts()}
    Ui(json, quiet).result(values, "\n\n".join([f"{taxon}, {before} to {after}: {said}", *shown]))


@genes_app.command(epilog="Example: scvec genes check query.h5ad --taxon human")
def check(
    cells: CellsArgument,
    taxon: Annotated[str | None, typer.Option(help="Its species; default: the one in the store that fits.")] = None,
    release: ReleaseOption = None,
    gene_key: GeneKeyOption = None,
    layer: LayerOption = None,
    scale: ScaleOption = "auto",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say which of a file's genes are known, by which route, and what is known of them."""
    from scvec import ingest

    ui = Ui(json, quiet)
    found = ingest.coverage(
        open_store(store),
        cells,
        taxon=taxon,
        release=release,
        layer=layer,
        scale=scale,
        gene_key=gene_key,
        progress=ui.progress,
    )
    parts = [("genes by", found.routes), ("texts made of", found.texts)]
    tables = [
        table((what, "genes", "of the expression"), [(name, one.n_genes, one.share) for name, one in by.items()])
        for what, by in parts
    ]
    most = ", ".join(f"{name} {share:.2%}" for name, share in found.unmatched)
    left = f"{found.n_unmatched:,} names left out" + (f"; most expressed: {most}" if most else "")
    ui.result(found.to_dict(), "\n\n".join(["\n".join(found.notes()), *tables, left]))


def _imported(texts: GeneTexts) -> str:
    sources = "\n".join(f"  {n:,} from {source}" for source, n in texts.manifest["n_by_source"].items())
    return f"{texts}: {len(texts):,} genes; their texts:\n{sources}"


def _short(text: str | None) -> str:
    return "" if text is None else text if len(text) <= 40 else text[:37] + "..."
