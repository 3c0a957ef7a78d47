"""The verb that says why: ``explain``, of single calls, and with ``--contrast`` of two groups of cells."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from scvec.cli.app import LABEL, Ui, app, renaming, table
from scvec.cli.options.cells import ReadFlags
from scvec.cli.options.common import NeighborFlags, OutputOption, panel, spreads
from scvec.cli.options.query import AtlasOption, QueryArgument
from scvec.errors import InputError, must_be

if TYPE_CHECKING:
    import polars as pl

    from scvec.annotation.result import Annotation
    from scvec.atlas import Atlas
    from scvec.atlas.query_cells import QueryCells
    from scvec.explain import Attribution, Contrast, Pathways, TextGroups
    from scvec.ingest.cells.options import ReadOptions

ContrastOption = panel("Two groups of cells")
GeneSetsOption = panel("Gene sets")

SHOWN_GENES = 5
"""Of a text group, for each side."""

FALSE = 0.05
"""The false discovery rate up to which a set is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainFlags:
    """What is explained, and how much of it is shown."""

    out: Annotated[Path | None, OutputOption(help="Output file (.parquet or .csv).")] = None
    genes: Annotated[int, OutputOption(min=1, help="Number of genes for each call, and as many against it.")] = 10
    cells: Annotated[list[str] | None, typer.Option("--cell", help="Name of a cell to explain; repeatable.")] = None
    group_key: Annotated[
        str | None,
        typer.Option("--group", help="Column of obs with groups to explain (default: the called labels)."),
    ] = None
    against: Annotated[str | None, typer.Option(help="Label to compare with (default: the runner-up).")] = None
    view: Annotated[
        str, typer.Option(help="View of the cells to explain: neighbors, or one of the atlas's, rank or corrected.")
    ] = "neighbors"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastFlags:
    """What two groups of cells are compared by."""

    contrast: Annotated[
        tuple[str, str] | None,
        ContrastOption(help="Two groups of --group, or two called labels, to compare.", metavar="A B"),
    ] = None
    text_groups: Annotated[
        int, ContrastOption(min=0, help="Groups to cluster the genes into by their texts; 0 for none.")
    ] = 8
    gene_sets: Annotated[list[Path] | None, GeneSetsOption(help="GMT file of gene sets to test; repeatable.")] = None
    gene_sets_version: Annotated[
        list[str] | None, GeneSetsOption(help="Release of each --gene-sets file, in their order; recorded.")
    ] = None
    gene_sets_taxon: Annotated[str | None, GeneSetsOption(help="Species of the gene sets, if not the atlas's.")] = None
    n_top: Annotated[int, GeneSetsOption("--top", min=1, help="Top genes of a group, for over-representation.")] = 100
    set_size: Annotated[
        tuple[int, int], GeneSetsOption(help="Fewest and most measured genes of a set.", metavar="MIN MAX")
    ] = (5, 500)
    permutations: Annotated[int, GeneSetsOption(min=1, help="Gene permutations, for rank enrichment.")] = 1000


@app.command(
    epilog="Example: scvec explain query.h5ad --atlas pancreas --against beta --out genes.csv", rich_help_panel=LABEL
)
@spreads
def explain(
    query: QueryArgument,
    atlas: AtlasOption,
    *,
    how: ExplainFlags,
    contrast: ContrastFlags,
    read: ReadFlags,
    common: NeighborFlags,
) -> None:
    """List the genes behind the calls, against the runner-up; with --contrast, what differs between two groups.

    Cells are called as scvec query does by default.
    """
    from scvec.annotation import writing
    from scvec.annotation.options import QueryOptions
    from scvec.annotation.query import annotate
    from scvec.explain.attribution import attributions, check_asked

    ui, cells = common.ui, how.cells or ()
    if how.out is not None:
        writing.check_target(how.out, query, writing.TABLES)
    _check_alone(contrast, how)
    reading = read.reading()
    if contrast.contrast is not None:
        _contrasted(query, atlas, contrast, how, reading, common)
        return
    reference = common.atlas(atlas)
    check_asked(query, reference, cells, how.group_key, how.against, reading, how.view)
    calls = annotate(query, reference, QueryOptions(**asdict(reading)), progress=ui.progress)
    for note in calls.notes:
        ui.note(note)
    found = attributions(
        calls,
        cells=cells,
        group_key=how.group_key,
        against=how.against,
        view=how.view,
        progress=ui.progress,
    )
    frame, n_genes = found.to_polars(how.genes), how.genes
    if how.out is not None:
        writing.write_frame(frame, how.out)
    written = f"\nwritten to {how.out}" if how.out else ""
    ui.result(found.to_dict(n_genes), "\n".join(_lines(found, n_genes)) + written)


def _lines(found: Attribution, n_genes: int) -> list[str]:
    """Return what is shown of each group: how similar it is to both labels, and the genes for and against."""
    frame, lines = found.to_polars(n_genes), []
    for i, name in enumerate(found.groups.tolist()):
        rows = [
            (symbol or str(gene_id), round(float(value), 4), where)
            for symbol, gene_id, value, where in frame.filter(group=name)
            .select("symbol", "gene_id", "contribution", "expressed")
            .iter_rows()
        ]
        n_cells = int(found.n_cells[i])
        said = f"{n_cells:,} cells, called {found.label[i]}" if n_cells > 1 else f"called {found.label[i]}"
        similarity = f"{found.similarity[i]:.3f} like it, {found.similarity_against[i]:.3f} like {found.against[i]}"
        if found.view != "neighbors":
            apart = found.similarity[i] - found.similarity_against[i]
            similarity = f"{found.view} puts it ahead of {found.against[i]} by {apart:.2f} (logarithm of shares)"
        lines += [f"{name}: {said}; {similarity}", *_decided(found, i), table(("gene", "adds", "expressed"), rows), ""]
    return lines[:-1]


def _decided(found: Attribution, i: int) -> list[str]:
    """Return a line on the views behind the calls of a group, the one that decided first."""
    leads = sorted(((float(one[i]), name) for name, one in found.decided.items()), reverse=True)
    return [f"decided by {', '.join(f'{name} ({lead:+.2f})' for lead, name in leads)}"] if leads else []


@dataclass(frozen=True, slots=True)
class _Found:
    contrast: Contrast
    pathways: Pathways | None
    groups: TextGroups | None

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return what is written, by what stands before the ending of the file."""
        made = {"": self.contrast.to_polars()}
        made |= {".pathways": self.pathways.to_polars()} if self.pathways else {}
        return made | ({".groups": self.groups.to_polars()} if self.groups else {})

    def about(self) -> dict[str, Any]:
        """Return what was compared and tested, as JSON types."""
        one = self.contrast
        made: dict[str, Any] = {"a": one.a, "b": one.b, "n_cells": list(one.n_cells), "distance": one.distance}
        made |= one.provenance
        made |= {"pathways": self.pathways.provenance} if self.pathways else {}
        groups = self.groups
        return made | ({"text_groups": {"encoder": groups.encoder, "silhouette": groups.silhouette}} if groups else {})


def _contrasted(
    query: str,
    atlas: str,
    asked: ContrastFlags,
    how: ExplainFlags,
    reading: ReadOptions,
    common: NeighborFlags,
) -> None:
    """Do what the verb does with ``--contrast``."""
    from scvec.annotation.options import QueryOptions
    from scvec.annotation.query import annotate
    from scvec.atlas.query_cells import query_cells
    from scvec.explain import Enrichment, contrast, pathways, read_gene_sets, text_groups
    from scvec.explain.enrichment import require_gseapy

    # What is wrong with these is found before any work is done.
    ui = common.ui
    files, versions = asked.gene_sets or [], asked.gene_sets_version or []
    if versions and len(versions) != len(files):
        seen = f"--gene-sets-version is given {len(versions)} times"
        raise InputError(seen, f"one for each --gene-sets ({len(files)})", "give all of them, or none")
    sets = [read_gene_sets(path, versions[i] if versions else "") for i, path in enumerate(files)]
    if asked.set_size[0] > asked.set_size[1]:
        raise must_be("set_size", "the fewest and the most genes", asked.set_size)
    with renaming(min_size="set_size"):
        enrichment = Enrichment(asked.n_top, *asked.set_size, permutations=asked.permutations)
    if sets:
        require_gseapy()
    a, b = asked.contrast or ("", "")
    reference = common.atlas(atlas)
    if how.group_key is None:
        cells: Annotation | QueryCells = annotate(
            query, reference, QueryOptions(**asdict(reading)), progress=ui.progress
        )
    else:
        cells = query_cells(query, reference, reading)
    one = contrast(cells, a, b, group_key=how.group_key, progress=ui.progress)
    tested = None
    if sets:
        with renaming(taxon="gene_sets_taxon"):
            taxon = asked.gene_sets_taxon
            tested = pathways(one, reference, sets, enrichment, taxon=taxon, progress=ui.progress)
    n_groups = _groups_of(asked.text_groups, one, reference, ui)
    found = _Found(one, tested, text_groups(one, reference, n_groups=n_groups) if n_groups else None)
    for note in (*one.notes, *(tested.notes if tested else ())):
        ui.note(note)
    said = "\n".join(_contrast_lines(found, how.genes))
    if how.out is not None:
        said += "\nwritten to " + ", ".join(str(path) for path in _write(found, how.out))
    ui.result(_values(found, how.genes), said)


def _check_alone(asked: ContrastFlags, how: ExplainFlags) -> None:
    """Raise `InputError` for options that do not go with a contrast, or do not go without one."""
    if asked.contrast is None:
        for name in ("gene_sets", "gene_sets_version", "gene_sets_taxon"):
            if getattr(asked, name):
                raise InputError(f"`{name}` without --contrast has no effect", fix="add --contrast A B")
    elif how.cells or how.against is not None:
        other = "--cell" if how.cells else "--against"
        raise InputError(f"--contrast and {other} exclude each other", fix="leave one out")


def _groups_of(asked: int, one: Contrast, atlas: Atlas, ui: Ui) -> int:
    """Return how many text groups can be made: none of an atlas without texts, and no more than there are genes."""
    from scvec.explain.contrasts import Side

    if asked and not atlas.recipe.reads_text:
        ui.note(f"atlas {atlas.name} was made without gene texts: genes are not grouped by them")
        return 0
    return min(asked, sum(len(one.top("attribution", side, asked)) for side in get_args(Side)))


def _write(found: _Found, out: Path) -> list[Path]:
    """Write all files, or none."""
    from scvec.annotation.writing import write_frame
    from scvec.core.files import placing

    paths = {out.with_name(f"{out.stem}{what}{out.suffix}"): frame for what, frame in found.frames().items()}
    about = out.with_name(f"{out.stem}.about.json")
    with ExitStack() as placed:
        for path, frame in paths.items():
            part = placed.enter_context(placing(path))
            named = part.with_name(f"{part.name}{path.suffix}")
            write_frame(frame, named)
            named.replace(part)
        text = json.dumps(found.about(), indent=1) + "\n"
        placed.enter_context(placing(about)).write_text(text, encoding="utf-8")
    return [*paths, about]


def _values(found: _Found, n_genes: int) -> dict[str, Any]:
    from scvec.explain.contrasts import By, Side

    frame, one = found.contrast.to_polars(), found.contrast
    rows = {row["gene_id"]: row for row in frame.to_dicts()}
    genes = {
        one.name(side): {
            by: [rows[gene] for gene in one.gene_ids[one.top(by, side, n_genes)].tolist()] for by in get_args(By)
        }
        for side in get_args(Side)
    }
    made = found.about() | {"genes": genes}
    made |= {"tested": found.pathways.to_polars().to_dicts()} if found.pathways else {}
    return made | ({"groups": found.groups.to_polars().to_dicts()} if found.groups else {})


def _contrast_lines(found: _Found, n_genes: int) -> list[str]:
    one = found.contrast
    sizes = f"{one.n_cells[0]:,} and {one.n_cells[1]:,} cells"
    lines = [f"{one.a} against {one.b}: {sizes}, {one.distance:.3f} apart in the atlas", ""]
    for side in ("a", "b"):
        tops = [one.top(by, side, n_genes) for by in ("attribution", "expression")]
        shown = [
            [(_symbol(one, i), float(values[i])) for i in top]
            for top, values in zip(tops, (one.contribution, one.t), strict=True)
        ]
        rows = [
            (*(shown[0][i] if i < len(shown[0]) else ("", "")), *(shown[1][i] if i < len(shown[1]) else ("", "")))
            for i in range(max(len(top) for top in shown))
        ]
        header = (f"{one.name(side)} by attribution", "adds", "by expression", "t")
        lines += [table(header, [(gene, _short(adds), other, _short(t)) for gene, adds, other, t in rows]), ""]
    if found.pathways is not None:
        lines += [*_pathway_lines(found.pathways, n_genes), ""]
    if found.groups is not None:
        rows_of_texts = [
            (
                ", ".join(group.words),
                len(group.genes_a),
                ", ".join(group.genes_a[:SHOWN_GENES]),
                len(group.genes_b),
                ", ".join(group.genes_b[:SHOWN_GENES]),
            )
            for group in found.groups.groups
        ]
        lines += [table(("words of their texts", "n", f"{one.a}'s genes", "n", f"{one.b}'s genes"), rows_of_texts), ""]
    return lines[:-1]


def _pathway_lines(found: Pathways, n_rows: int) -> list[str]:
    lines, least = [], f"<{1 / found.provenance['how']['permutations']:.2g}"
    for test in ("over-representation", "rank"):
        for by in ("attribution", "expression"):
            own = [row for row in found.rows if (row.test, row.by) == (test, by) and row.fdr <= FALSE]
            own = sorted(own, key=lambda row: (row.fdr, row.p_value, -abs(row.statistic)))[:n_rows]
            rows = [
                (row.set, row.side, f"{row.n_found} of {row.n_genes}", f"{row.fdr:.2g}" if row.fdr else least)
                for row in own
            ]
            said = table((f"{test} by {by}", "side", "genes", "FDR"), rows) if rows else ""
            lines += [said or f"{test} by {by}: no set with a false discovery rate up to {FALSE}", ""]
    return lines[:-1]


def _symbol(one: Contrast, i: int) -> str:
    return str(one.symbols[i] or one.gene_ids[i])


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
