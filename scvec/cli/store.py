"""Verbs on the store as a database: ``store info``, ``store register``, ``store optimize``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from scvec.cli.app import PREPARE, app, open_store, table
from scvec.cli.options.common import CommonFlags, spreads

store_app = typer.Typer(
    help="The store as a LanceDB database: list its tables, register them, keep it small.",
    no_args_is_help=True,
)
app.add_typer(store_app, name="store", rich_help_panel=PREPARE)


@store_app.command(epilog="Example: scvec store info --json")
@spreads
def info(common: CommonFlags) -> None:
    """List the tables of the store: rows, versions, tags, sizes and columns."""
    from scvec.store import describe

    store = open_store(common.store)
    found = describe(store)
    rows = [
        (one.path, one.n_rows, one.version, _tags(one.tags), one.n_files, _size(one.n_bytes), _columns(one.columns))
        for one in found
    ]
    if not rows:
        common.ui.note(f"no tables yet in {store.uri}: scvec atlas build --help")
    if any(not one.in_lancedb for one in found):
        common.ui.note("LanceDB does not list all of these tables: scvec store register")
    shown = table(("table", "rows", "version", "tags", "files", "size", "columns"), rows)
    values = {"store": store.uri, "format": store.format, "tables": [one.to_dict() for one in found]}
    common.ui.result(values, f"{store.uri}, format {store.format}\n\n{shown}")


@store_app.command(epilog="Example: scvec store register")
@spreads
def register(common: CommonFlags) -> None:
    """Make LanceDB list every table of the store; only needed for a store that was copied, or made before 0.8.2."""
    found = open_store(common.store).register()
    values = {"tables": list(found.tables), "added": list(found.added), "dropped": list(found.dropped)}
    lines = [f"added: {', '.join(found.added)}"] * bool(found.added)
    lines += [f"dropped, as they are gone: {', '.join(found.dropped)}"] * bool(found.dropped)
    common.ui.result(values, "\n".join([f"tables that LanceDB lists: {len(found.tables):,}", *lines]))


@store_app.command(epilog="Example: scvec store optimize --dry-run")
@spreads
def optimize(
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove older versions of atlases too; checkout cannot bring them back.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would be done.")] = False,
    *,
    common: CommonFlags,
) -> None:
    """Merge small files, make missing indexes, and remove versions that no tag and no atlas needs."""
    from scvec import atlas

    store = open_store(common.store)
    done = atlas.optimize(store, forget=forget, dry_run=dry_run, progress=common.ui.progress)
    before, after = (sum(getattr(one, f"bytes_{when}") for one in done) for when in ("before", "after"))
    rows = [
        (one.path, "; ".join(one.steps) or "nothing to do", _size(one.bytes_before), _size(one.bytes_after))
        for one in done
    ]
    shown = table(("table", "would be done" if dry_run else "done", "before", "after"), rows)
    values = {
        "dry_run": dry_run,
        "bytes_before": before,
        "bytes_after": after,
        "tables": [one.to_dict() for one in done],
    }
    unwritten = ", without what would be written" if dry_run else ""
    common.ui.result(values, f"{shown}\n\n{_size(before)} before, {_size(after)} after{unwritten}")


def _tags(tags: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {version}" for name, version in tags.items())


def _columns(columns: Mapping[str, str]) -> str:
    return ", ".join(columns)


def _size(n_bytes: int) -> str:
    """Return a size in the unit that fits."""
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes} bytes"
