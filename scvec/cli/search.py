"""The verb that finds what is meant: ``search``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scvec.cli.app import LABEL, app, open_store, table
from scvec.cli.options.common import CommonFlags, OutputOption, panel, spreads

if TYPE_CHECKING:
    import polars as pl

    from scvec.atlas import Atlas
    from scvec.search import Found
    from scvec.store import Store

N_LABELS, N_GENES, N_CELLS, N_NEAREST = 5, 20, 15, 10
LONGEST = 60
GENE_COLUMNS = ("gene_id", "symbol", "name", "score", "found_by")
CELL_COLUMNS = ("cell_id", "label", "similarity")


CellsOption = panel("Cells and labels of an atlas")
GenesOption = panel("Genes")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFlags:
    """What is searched, for what, and how much of it is shown."""

    atlas: Annotated[str | None, typer.Option(help="Reference atlas to search.")] = None
    like: Annotated[
        str | None,
        typer.Option(help="Search for cells like this cell of the atlas, not by words.", metavar="CELL_ID"),
    ] = None
    genes: Annotated[
        bool, typer.Option("--genes", help="Search for genes: the atlas's, or those of --taxon without an atlas.")
    ] = False
    encoder: Annotated[str | None, typer.Option(help="Encoder for the query text (default: the atlas's).")] = None
    by: Annotated[
        Literal["both", "meaning", "keywords"] | None,
        typer.Option(
            help="Compare gene texts with the words by meaning, by keywords and names (no encoder is needed), or by "
            "both (default, where there is an encoder).",
            show_default=False,
        ),
    ] = None
    out: Annotated[Path | None, OutputOption(help="Output file (.parquet or .csv).")] = None
    k: Annotated[
        int | None,
        OutputOption("--k", "-n", min=1, help="Number of labels (5), genes (20) or cells (15).", show_default=False),
    ] = None
    n_exemplars: Annotated[int, OutputOption("--exemplars", min=1, help="Number of cells to show of each label.")] = 3
    where: Annotated[
        str | None,
        CellsOption(help="Search only these reference cells, in SQL: \"tissue = 'pancreas'\"."),
    ] = None
    dataset: Annotated[str | None, CellsOption(help="Dataset of the --like cell, if its name is not unique.")] = None
    taxon: Annotated[str | None, GenesOption(help="Species of the genes, without an atlas.")] = None
    release: Annotated[str | None, GenesOption(help="Release of the gene texts (default: the last import).")] = None


@app.command(
    epilog='Example: scvec search "cytotoxic lymphocytes that release granzyme" --atlas pbmc', rich_help_panel=LABEL
)
@spreads
def search(
    words: Annotated[str | None, typer.Argument(help="Description to search for.", metavar="WORDS")] = None,
    *,
    flags: SearchFlags,
    common: CommonFlags,
) -> None:
    """Search an atlas's labels, cells or genes by a description, or its cells by a cell."""
    from scvec.annotation import writing
    from scvec.atlas import open_atlas

    _check(words, flags)
    out = flags.out
    if out is not None:
        writing.check_name(out)
    opened = open_store(common.store)
    reference = None if flags.atlas is None else open_atlas(opened, flags.atlas)
    frame, values, text = None, None, ""
    if flags.genes or reference is None:
        if reference is None and flags.encoder is None and flags.by is None:
            common.ui.note("by keywords and names; --encoder NAME adds what texts mean")
        frame = _genes(opened, reference, words or "", flags)
        if frame.is_empty():
            common.ui.note("no gene is called so, and no text has one of these words")
        text = _shown(frame, GENE_COLUMNS)
    elif flags.like is not None:
        from scvec.search import like as like_cell

        frame = like_cell(reference, flags.like, k=flags.k or N_CELLS, where=flags.where, dataset=flags.dataset)
        text = _shown(frame, _told(frame))
    else:
        from scvec.search import words as by_words

        wanted = flags.k or N_LABELS
        found = by_words(
            reference,
            words or "",
            encoder=flags.encoder,
            by=flags.by,
            where=flags.where,
            n_labels=wanted,
            n_exemplars=flags.n_exemplars,
        )
        for note in found.notes:
            common.ui.note(note)
        frame, values, text = found.to_polars(), found.to_dict(), _found_text(found, wanted)
    if out is not None:
        writing.write_frame(frame, out)
    common.ui.result(values or frame.to_dicts(), text + (f"\nwritten to {out}" if out else ""))


def _check(words: str | None, flags: SearchFlags) -> None:
    """Raise `InputError` where it is not clear what is to be found, or an option would have no effect."""
    from scvec.errors import InputError

    atlas, like, genes = flags.atlas, flags.like, flags.genes
    options = ("where", "dataset", "encoder", "by", "taxon", "release")
    given = {f"--{name}" for name in options if getattr(flags, name) is not None}
    example = 'scvec search "lymphocytes that release granzyme" --atlas NAME'
    if (words is None) == (like is None):
        seen = "neither words nor --like" if words is None else "words and --like"
        raise InputError(seen, "one of the two", example)
    if genes and like is not None:
        raise InputError("--genes and --like exclude each other", fix=f"{example} --genes")
    if atlas is None and not genes:
        raise InputError("no --atlas to search", fix=f"{example}, or --genes --taxon human")
    if atlas is None and "--taxon" not in given:
        raise InputError("--genes without --atlas needs --taxon", fix="--taxon human")
    if atlas is None and flags.by in ("both", "meaning") and flags.encoder is None:
        raise InputError(f"--by {flags.by} needs an encoder", fix="--encoder minilm")
    if flags.by == "keywords" and flags.encoder is not None:
        raise InputError("--encoder with --by keywords: no effect", fix="leave it out")
    allowed = {"--encoder", "--by"}
    if not genes:
        allowed = {"--where", "--dataset"} if like is not None else {"--where", *allowed}
    allowed |= {"--taxon", "--release"} if atlas is None else set()
    idle = sorted(given - allowed)
    if idle:
        what = "--genes" if genes else "--like" if like is not None else "words"
        seen = f"{', '.join(idle)} with {what}{' and --atlas' if atlas else ''}"
        raise InputError(f"{seen}: no effect", fix="leave it out")


def _genes(store: Store, atlas: Atlas | None, words: str, flags: SearchFlags) -> pl.DataFrame:
    """Return the genes of an atlas, or else of a release."""
    from scvec.embed import open_genes
    from scvec.ingest import open_texts
    from scvec.search import Keywords, Reader, reader_of
    from scvec.search import genes as by_words

    reader: Reader | Keywords
    if atlas is not None:
        keywords = flags.by == "keywords"
        reader = Keywords(atlas.texts, atlas.profiles.gene_ids) if keywords else reader_of(atlas, flags.encoder)
    else:
        texts = open_texts(store, flags.taxon or "", flags.release)
        reader = Keywords(texts, texts.genes["gene_id"].to_numpy())
        if flags.encoder is not None:
            vectors = open_genes(store, texts, encoder=flags.encoder)
            reader = Reader(vectors, vectors.gene_ids)
    return by_words(reader, words, flags.k or N_GENES, by=flags.by)


def _told(frame: pl.DataFrame) -> list[str]:
    """Return the columns of cells that say anything: those which are not the same, or empty, for all of them."""
    same = {name for name in frame.columns if name not in CELL_COLUMNS and frame[name].n_unique() < 2}
    return [name for name in frame.columns if name not in same and name != "label_id"]


def _shown(frame: pl.DataFrame, columns: Sequence[str]) -> str:
    """Return a table of some columns."""
    import polars as pl

    # An id is shown without thousands separators.
    texts = frame.select(columns).with_columns(pl.col("^gene_id$").cast(pl.String))
    rows = [[_short(one) for one in row] for row in texts.iter_rows()]
    return table(columns, rows)


def _short(value: Any) -> Any:
    """Return what is shown of a value."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(value)
    return value if not isinstance(value, str) or len(value) <= LONGEST else value[: LONGEST - 3] + "..."


def _found_text(found: Found, n_labels: int) -> str:
    """Return the labels, the genes nearest to the words, and the exemplars."""
    labels = found.to_polars().head(n_labels)
    nearest = ", ".join(found.genes["symbol"].to_list()[:N_NEAREST]) or "none"
    parts = [
        _shown(labels, ["label", "n_cells", "score", "genes"]),
        f"genes nearest to the words: {nearest}",
        _shown(found.cells, _told(found.cells)),
    ]
    return "\n\n".join(parts)
