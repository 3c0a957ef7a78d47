"""What ``explain --contrast`` does: two groups of cells, their genes, pathways and what these are about."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from scvec.cli.app import Ui, open_store, table
from scvec.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from scvec.atlas import Atlas
    from scvec.explain import Contrast, Pathways, TextGroups
    from scvec.ingest.cells.options import ReadOptions

SHOWN_GENES = 5
"""Of a text group, for each side."""

FALSE = 0.05
"""The false discovery rate up to which a set is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrasting:
    """Options of a contrast."""

    contrast: Annotated[
        tuple[str, str] | None, typer.Option(help="Two groups of --group, or two labels called: what tells them apart.")
    ] = None
    gene_sets: Annotated[
        list[Path] | None, typer.Option(help="A GMT file whose sets are tested on a contrast's genes; repeatable.")
    ] = None
    gene_sets_version: Annotated[
        list[str] | None, typer.Option(help="The release of each such file, in their order; recorded with its hash.")
    ] = None
    gene_sets_taxon: Annotated[
        str | None, typer.Option(help="The species of the gene sets, where it is another than the atlas's.")
    ] = None
    top: Annotated[int, typer.Option(min=1, help="Genes of each side that are tested for over-representation.")] = 100
    set_size: Annotated[
        tuple[int, int], typer.Option(help="Measured genes that a set has, at least and at most.", metavar="MIN MAX")
    ] = (5, 500)
    permutations: Annotated[int, typer.Option(min=1, help="Of the ranked genes, for rank enrichment.")] = 1000
    text_groups: Annotated[
        int, typer.Option(min=0, help="Groups that a contrast's genes are parted into by their texts; 0 for none.")
    ] = 8


@dataclass(frozen=True, slots=True)
class _Found:
    contrast: Contrast
    pathways: Pathways | None
    groups: TextGroups | None

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return what is written, by what stands before the ending of the file."""
        made = {"": self.contrast.to_frame()}
        made |= {".pathways": self.pathways.to_frame()} if self.pathways else {}
        return made | ({".groups": self.groups.to_frame()} if self.groups else {})

    def about(self) -> dict[str, Any]:
        """Return what was compared and tested, as JSON types."""
        one = self.contrast
        made: dict[str, Any] = {"a": one.a, "b": one.b, "n_cells": list(one.n_cells), "distance": one.distance}
        made |= one.provenance
        made |= {"pathways": self.pathways.provenance} if self.pathways else {}
        groups = self.groups
        return made | ({"text_groups": {"encoder": groups.encoder, "silhouette": groups.silhouette}} if groups else {})


def contrasted(
    ui: Ui,
    query: str,
    atlas: str,
    asked: Contrasting,
    group: str | None,
    n_genes: int,
    out: Path | None,
    reading: ReadOptions,
    device: str,
    store: str,
) -> None:
    """Do what the verb does with ``--contrast``."""
    from scvec.annotation.query import annotate
    from scvec.atlas import open_atlas
    from scvec.explain import Enrichment, contrast, pathways, read_gene_sets, text_groups
    from scvec.explain.enrichment import require_gseapy

    # What is wrong with these is found before any work is done.
    files, versions = asked.gene_sets or [], asked.gene_sets_version or []
    if versions and len(versions) != len(files):
        raise InputError(f"{len(versions)} --gene-sets-version", f"one for each --gene-sets, {len(files)}", "name all")
    sets = [read_gene_sets(path, versions[i] if versions else "") for i, path in enumerate(files)]
    how = Enrichment(asked.top, *asked.set_size, permutations=asked.permutations)
    if sets:
        require_gseapy()
    a, b = asked.contrast or ("", "")
    reference = open_atlas(open_store(store), atlas, device=ui.device(device))
    calls = annotate(query, reference, **asdict(reading), progress=ui.progress) if group is None else None
    one = contrast(query, reference, a, b, group_key=group, calls=calls, reading=reading, progress=ui.progress)
    tested = pathways(one, reference, sets, how, taxon=asked.gene_sets_taxon, progress=ui.progress) if sets else None
    n_groups = _groups_of(asked.text_groups, one, reference, ui)
    found = _Found(one, tested, text_groups(one, reference, n_groups=n_groups) if n_groups else None)
    for note in (*one.notes, *(tested.notes if tested else ())):
        ui.note(note)
    said = "\n".join(_lines(found, n_genes))
    if out is not None:
        said += "\nwritten to " + ", ".join(str(path) for path in _write(found, out))
    ui.result(_values(found, n_genes), said)


def check_alone(asked: Contrasting, cell: list[str] | None, against: str | None) -> None:
    """Raise `InputError` for options that do not go with a contrast, or do not go without one."""
    if asked.contrast is None:
        for name in ("gene_sets", "gene_sets_version", "gene_sets_taxon"):
            if getattr(asked, name):
                raise InputError(f"--{name.replace('_', '-')} without --contrast", "both", "add --contrast A B")
    elif cell or against is not None:
        other = "--cell" if cell else "--against"
        raise InputError(f"--contrast and {other}", "one of the two", "leave one out")


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

    frame, one = found.contrast.to_frame(), found.contrast
    rows = {row["gene_id"]: row for row in frame.to_dicts()}
    genes = {
        one.name(side): {
            by: [rows[gene] for gene in one.gene_ids[one.top(by, side, n_genes)].tolist()] for by in get_args(By)
        }
        for side in get_args(Side)
    }
    made = found.about() | {"genes": genes}
    made |= {"tested": found.pathways.to_frame().to_dicts()} if found.pathways else {}
    return made | ({"groups": found.groups.to_frame().to_dicts()} if found.groups else {})


def _lines(found: _Found, n_genes: int) -> list[str]:
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
