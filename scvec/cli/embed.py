"""Verbs on gene vectors: ``embed`` and ``models``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table
from scvec.cli.genes import ReleaseOption, TaxonOption


@app.command(epilog="Example: scvec embed --taxon human --encoder minilm")
def embed(
    taxon: TaxonOption,
    encoder: Annotated[str, typer.Option(help="minilm, tfidf, bert:MODEL, file:PATH, ...: see scvec models.")],
    release: ReleaseOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say texts, tokens and cost, and encode nothing.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Let the encoder fetch its weights from a model hub.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Encode gene texts that have no vector yet; a run that was stopped goes on where it was."""
    from scvec.embed import bill, genes
    from scvec.ingest import open_texts

    ui = Ui(json, quiet)
    opened = open_store(store)
    texts = open_texts(opened, taxon, release)
    if dry_run:
        made = bill(opened, texts, encoder=encoder, download=download)
        cost = "unknown: no list price" if made.usd is None else f"about ${made.usd:.4f} at list price"
        if made.usd == 0:
            cost = "none"
        counted = f"{made.n_left:,} of {made.n_texts:,} texts to encode, about {made.tokens:,} tokens"
        ui.result({**asdict(made), "release": texts.release}, f"{made.encoder}: {counted}; cost: {cost}")
        return
    vectors = genes(opened, texts, encoder=encoder, download=download, progress=ui.progress)
    values = {
        "encoder": vectors.encoder,
        "revision": vectors.revision,
        "dimension": vectors.dimension,
        "release": texts.release,
        "n_genes": len(texts),
        "n_genes_with_vector": len(vectors.gene_ids),
        "n_texts": vectors.n_texts,
        "n_encoded": vectors.n_encoded,
    }
    said = [
        f"{vectors.encoder}, {vectors.dimension} dimensions: {vectors.n_encoded:,} of {vectors.n_texts:,} texts encoded"
        + (", the others were there" if vectors.n_encoded < vectors.n_texts else "")
    ]
    if len(vectors.gene_ids) < len(texts):
        said.append(f"{len(texts) - len(vectors.gene_ids):,} of {len(texts):,} genes have no vector")
    ui.result(values, "\n".join(said))


@app.command(epilog="Example: scvec models")
def models(json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the encoders of gene texts, and whether they could be used now."""
    from scvec.embed import encoders

    found = [(model, model.is_here()) for model in encoders.models().values()]
    values = [
        {
            "encoder": f"{model.name}:{model.argument}" if model.argument else model.name,
            "dimension": model.dimension,
            "max_tokens": model.max_tokens,
            "weights": model.weights,
            "here": here,
        }
        for model, here in found
    ]
    rows = [
        (
            one["encoder"],
            one["dimension"] or "its own",
            one["max_tokens"] or "",
            "yes" if one["here"] else "no",
            one["weights"],
        )
        for one in values
    ]
    Ui(json, quiet).result(values, table(("encoder", "dimension", "tokens", "here", "weights"), rows))
