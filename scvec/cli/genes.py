"""Verbs on genes: ``genes import``, ``genes list``, ``embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table

genes_app = typer.Typer(help="Gene texts: import NCBI's files, list what is there.", no_args_is_help=True)
app.add_typer(genes_app, name="genes")

TaxonOption = Annotated[str, typer.Option(help="human, mouse or an NCBI taxon id.")]


@genes_app.command(
    "import",
    epilog="Example: scvec genes import --taxon human "
    "--gene-info Homo_sapiens.gene_info.gz --gene-summary gene_summary.gz",
)
def import_(
    taxon: TaxonOption,
    gene_info: Annotated[Path, typer.Option(help="NCBI's gene_info file, plain or .gz.")],
    gene_summary: Annotated[Path, typer.Option(help="NCBI's gene_summary file, plain or .gz.")],
    release: Annotated[
        str | None, typer.Option(help="The release's tag; default: the newest modification date.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Import NCBI's gene texts of one taxon as one release."""
    from scvec import ingest

    ui = Ui(json, quiet)
    texts = ingest.texts(
        open_store(store), taxon=taxon, gene_info=gene_info, gene_summary=gene_summary, release=release
    )
    sources = ", ".join(f"{n:,} from {source}" for source, n in texts.manifest["n_by_source"].items())
    ui.result(texts.manifest, f"{taxon} release {texts.release}: {len(texts):,} genes, texts: {sources}")


@genes_app.command("list", epilog="Example: scvec genes list")
def list_(store: StoreOption = DEFAULT_STORE, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the releases of gene texts in the store."""
    from scvec import ingest
    from scvec.ingest.gene_texts import taxon_name

    ui = Ui(json, quiet)
    found = ingest.list_texts(open_store(store))
    rows = [(taxon_name(one.taxon_id), one.release, len(one), one.manifest["origin"]) for one in found]
    if not rows:
        ui.note("no gene texts yet: scvec genes import --help")
    ui.result([one.manifest for one in found], table(("taxon", "release", "genes", "origin"), rows))


@app.command(epilog="Example: scvec embed --taxon human --encoder minilm")
def embed(
    taxon: TaxonOption,
    encoder: Annotated[str, typer.Option(help="minilm, tfidf, hash (for tests) or random (a control).")],
    release: Annotated[str | None, typer.Option(help="Which gene texts; default: those imported last.")] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Let the encoder fetch its weights from a model hub.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Encode gene texts that have no vector yet; a run that was stopped goes on where it was."""
    from scvec.embed import genes
    from scvec.ingest import open_texts

    ui = Ui(json, quiet)
    opened = open_store(store)
    texts = open_texts(opened, taxon, release)
    vectors = genes(opened, texts, encoder=encoder, download=download, progress=ui.progress)
    values = {
        "encoder": encoder,
        "revision": vectors.revision,
        "dimension": vectors.dimension,
        "release": texts.release,
        "n_genes": len(texts),
        "n_encoded": vectors.n_encoded,
    }
    ui.result(
        values,
        f"{encoder}, {vectors.dimension} dimensions: {vectors.n_encoded:,} texts encoded, "
        f"the others of {len(texts):,} genes were there",
    )
