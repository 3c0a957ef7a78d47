"""Verbs on genes: ``genes pull``, ``import``, ``import-orthologs``, ``list``, ``diff``, ``check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scvec.cli.app import PREPARE, app, open_store, table
from scvec.cli.options.cells import CellsArgument, MatrixFlags
from scvec.cli.options.common import CommonFlags, keywords, spreads

if TYPE_CHECKING:
    from scvec.ingest import GeneTexts

genes_app = typer.Typer(
    help="Gene texts: fetch, import, list, compare; check the genes of a file.",
    no_args_is_help=True,
)
app.add_typer(genes_app, name="genes", rich_help_panel=PREPARE)

TaxonOption = Annotated[str, typer.Option(help="Species: human, mouse, rat or an NCBI taxon id.")]
ReleaseOption = Annotated[str | None, typer.Option(help="Release of the gene texts (default: the last import).")]
N_SHOWN = 20


@genes_app.command(epilog="Example: scvec genes pull --taxon human")
@spreads
def pull(
    taxon: TaxonOption,
    base_url: Annotated[
        str | None, typer.Option(envvar="SCVEC_NCBI", help="Mirror of NCBI's gene/DATA (default: NCBI).")
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="Name of the release (default: the date of the server's newest file).")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for NCBI's files (default: ncbi in $SCVEC_CACHE or the user's cache).")
    ] = None,
    *,
    common: CommonFlags,
) -> None:
    """Fetch NCBI's gene files and import the gene texts of one species; unchanged files are not fetched again."""
    from scvec import ingest
    from scvec.ingest.genes.gene_texts import taxon_id
    from scvec.ingest.genes.pull import BASE_URL, default_folder

    ui = common.ui
    opened = open_store(common.store)
    folder = keep or default_folder()
    files = ingest.pull(taxon_id(taxon), folder, base_url=base_url or BASE_URL, release=release, progress=ui.progress)
    ui.note(f"NCBI's files are {'new' if files.changed else 'unchanged'}, in {folder}")
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
@spreads
def import_(
    taxon: TaxonOption,
    gene_info: Annotated[Path, typer.Option(help="NCBI's gene_info file, plain or .gz.")],
    gene_summary: Annotated[Path, typer.Option(help="NCBI's gene_summary file, plain or .gz.")],
    gene_orthologs: Annotated[
        Path | None, typer.Option(help="NCBI's gene_orthologs file, to borrow summaries and to link species.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="Name of the release (default: the newest date in gene_info).")
    ] = None,
    *,
    common: CommonFlags,
) -> None:
    """Import NCBI's gene texts of one species from files, as one release."""
    from scvec import ingest

    texts = ingest.texts(
        open_store(common.store),
        taxon=taxon,
        gene_info=gene_info,
        gene_summary=gene_summary,
        gene_orthologs=gene_orthologs,
        release=release,
    )
    common.ui.result(texts.manifest, _imported(texts))


@genes_app.command(
    "import-orthologs",
    epilog="Example: scvec genes import-orthologs human_mouse_hcop_fifteen_column.txt.gz --taxon mouse",
)
@spreads
def import_orthologs(
    file: Annotated[Path, typer.Argument(help="HCOP's fifteen-column file of human and the species, plain or .gz.")],
    taxon: TaxonOption,
    release: Annotated[
        str | None, typer.Option(help="Name of the release (default: hcop- and a hash of the pairs).")
    ] = None,
    *,
    common: CommonFlags,
) -> None:
    """Import orthologs one to many from HCOP's file of HGNC; queries of another species then go by them."""
    from scvec import ingest

    found = ingest.orthologs(open_store(common.store), file, taxon=taxon, release=release)
    about = found.manifest
    common.ui.result(
        about,
        f"{found}: {about['n_pairs']:,} pairs of {about['n_genes']:,} genes and {about['n_human_genes']:,} human genes",
    )


@genes_app.command("list", epilog="Example: scvec genes list")
@spreads
def list_(common: CommonFlags) -> None:
    """List the releases of gene texts in the store, and of orthologs one to many."""
    from scvec import ingest
    from scvec.ingest.genes.gene_texts import taxon_name
    from scvec.ingest.genes.packaged import all_packaged

    ui = common.ui
    opened = open_store(common.store)
    found = ingest.list_texts(opened)
    rows = [(taxon_name(one.taxon_id), one.release, len(one), one.manifest["origin"]) for one in found]
    if not rows:
        ui.note("no gene texts yet: scvec genes pull --help")
    for one in all_packaged():
        ui.note(f"packaged: {one}, {len(one):,} genes without texts, used where the store has no texts")
    pairs = ingest.list_orthologs(opened)
    for release in pairs:
        ui.note(f"orthologs, one to many: {release}, {len(release):,} pairs")
    ui.result(
        [one.manifest for one in found] + [one.manifest for one in pairs],
        table(("taxon", "release", "genes", "origin"), rows),
    )


@genes_app.command(epilog="Example: scvec genes diff 2026-10-01 2026-11-21 --taxon human")
@spreads
def diff(
    before: Annotated[str, typer.Argument(help="The earlier release.", metavar="A")],
    after: Annotated[str, typer.Argument(help="The later release.", metavar="B")],
    taxon: TaxonOption,
    *,
    common: CommonFlags,
) -> None:
    """Compare two releases: genes added, removed or renamed, and texts changed."""
    from scvec import ingest

    opened = open_store(common.store)
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
    common.ui.result(values, "\n\n".join([f"{taxon}, {before} to {after}: {said}", *shown]))


@genes_app.command(epilog="Example: scvec genes check query.h5ad --taxon human")
@spreads
def check(
    cells: CellsArgument,
    taxon: Annotated[
        str | None, typer.Option(help="Species of the cells (default: the one in the store that fits best).")
    ] = None,
    release: ReleaseOption = None,
    *,
    read: MatrixFlags,
    common: CommonFlags,
) -> None:
    """Show which genes of a file are known, by which route, and what their texts are made of."""
    from scvec import ingest

    ui = common.ui
    found = ingest.coverage(
        open_store(common.store),
        cells,
        taxon=taxon,
        release=release,
        **keywords(read, ingest.coverage),
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
