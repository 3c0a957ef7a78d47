"""Verbs on gene vectors: ``embed`` and ``models``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from scvec.cli.app import PREPARE, app, open_store, table
from scvec.cli.genes import ReleaseOption, TaxonOption
from scvec.cli.options.common import CommonFlags, OutputFlags, spreads

if TYPE_CHECKING:
    from scvec.index.engines.survey import Survey


@app.command(epilog="Example: scvec embed --taxon human --encoder minilm", rich_help_panel=PREPARE)
@spreads
def embed(
    taxon: TaxonOption,
    encoder: Annotated[
        str, typer.Option(help="Encoder: minilm, tfidf, bert:MODEL, file:PATH, ...; scvec models lists them.")
    ],
    release: ReleaseOption = None,
    terms: Annotated[
        bool,
        typer.Option("--terms", help="Also encode the terms of the Cell Ontology, by which scvec name finds names."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many texts and tokens there are, and the cost.")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Download the encoder's weights from a model hub if they are missing.")
    ] = False,
    *,
    common: CommonFlags,
) -> None:
    """Encode gene texts that have no vector yet; resumes if interrupted."""
    from scvec.embed import bill, genes
    from scvec.ingest import open_texts
    from scvec.naming.text_reader import encode_terms
    from scvec.ontology import open_ontology

    ui = common.ui
    opened = open_store(common.store)
    texts = open_texts(opened, taxon, release)
    ontology = open_ontology(opened) if terms else None
    if dry_run:
        made = bill(opened, texts, encoder=encoder, download=download)
        cost = "unknown: no list price" if made.usd is None else f"about ${made.usd:.4f} at list price"
        if made.usd == 0:
            cost = "none"
        counted = f"{made.n_left:,} of {made.n_texts:,} texts to encode, about {made.tokens:,} tokens"
        ui.result({**asdict(made), "release": texts.release}, f"{made.encoder}: {counted}; cost: {cost}")
        return
    vectors = genes(opened, texts, encoder=encoder, download=download, progress=ui.progress)
    n_terms = None if ontology is None else encode_terms(opened, ontology, vectors, ui.progress)
    values = {
        "encoder": vectors.encoder,
        "revision": vectors.revision,
        "dimension": vectors.dimension,
        "release": texts.release,
        "n_genes": len(texts),
        "n_genes_with_vector": len(vectors.gene_ids),
        "n_texts": vectors.n_texts,
        "n_encoded": vectors.n_encoded,
        **({} if n_terms is None else {"n_terms_encoded": n_terms}),
    }
    said = [
        f"{vectors.encoder}, {vectors.dimension} dimensions: {vectors.n_encoded:,} of {vectors.n_texts:,} texts encoded"
        + (", the others were there" if vectors.n_encoded < vectors.n_texts else "")
    ]
    if len(vectors.gene_ids) < len(texts):
        said.append(f"{len(texts) - len(vectors.gene_ids):,} of {len(texts):,} genes have no vector")
    if n_terms is not None:
        said.append(f"{n_terms:,} texts of the {ontology} encoded")
    ui.result(values, "\n".join(said))


@app.command(epilog="Example: scvec models --devices", rich_help_panel=PREPARE)
@spreads
def models(
    devices: Annotated[
        bool, typer.Option("--devices", help="List GPUs and search engines instead, and what each index would run by.")
    ] = False,
    *,
    common: OutputFlags,
) -> None:
    """List the encoders of gene texts, and whether they can be used now; with --devices, the search engines."""
    if devices:
        from scvec.index.engines.survey import survey

        here = survey()
        common.ui.result(here.to_dict(), _devices(here))
        return
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
    common.ui.result(values, table(("encoder", "dimension", "tokens", "here", "weights"), rows))


def _devices(here: Survey) -> str:
    """Return what there is to search with, as three tables."""
    parts = [
        ("GPU", ", ".join(f"{one.name}, {one.memory / 2**30:,.0f} GB" for one in here.gpus) or _no_gpu(here)),
        ("torch", "none" if here.torch is None else f"{here.torch}, for " + _cuda(here)),
        ("FAISS", ", ".join(f"{name} {version}" for name, version in here.faiss.items()) or "none"),
        ("cuVS", ", ".join(f"{name} {version}" for name, version in here.cuvs.items()) or "none"),
    ]
    engines = [
        (one.name, "yes" if one.installed else "no", "yes" if one.runs else "no", one.why, one.fix)
        for one in here.engines
    ]
    indexes = [(one.index, one.here, one.with_gpu) for one in here.indexes]
    tables = [
        table(("part", "here"), parts),
        table(("search engine", "installed", "runs here", "lacks", "to install it"), engines),
        table(("index", "auto takes here", "with a GPU"), indexes),
    ]
    return "\n\n".join([*tables, *here.notes])


def _no_gpu(here: Survey) -> str:
    return "none that torch can use, though there is a driver" if here.driver else "none"


def _cuda(here: Survey) -> str:
    return "the CPU" if here.torch_cuda is None else f"CUDA {here.torch_cuda}"
