"""Tables of annotations as R, Excel, pandas and portals write them, and names that differ by their barcodes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec.errors import DuplicateNameError, FileError, InputError
from scvec.ingest import open_cells
from scvec.ingest.cells.name_matching import match_names
from scvec.ingest.cells.selection import Selection
from scvec.ingest.cells.tables import read_table
from tests import toy

N = 12
LABELS = [f"type {i % 3}" for i in range(N)]
NAMES = [f"s0c{i}" for i in range(N)]


def read(path: Path, key: str = "label", names: list[str] | None = None) -> list[str]:
    """Return a column of a table for cells of these names, in another order than the table's."""
    asked = np.array((NAMES if names is None else names)[::-1], object)
    joined = read_table(path).joined(asked, "cells.h5ad")
    found: list[str] = joined.column(key).labels()[0].tolist()
    return found[::-1]


def rows(separator: str, quote: str = "") -> list[str]:
    return [
        separator.join(f"{quote}{one}{quote}" for one in (name, label, "1,5" if separator != "," else "1.5"))
        for name, label in zip(NAMES, LABELS, strict=True)
    ]


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "txt"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_what_separates_is_seen(tmp_path: Path, separator: str, ending: str, end: str, quote: str) -> None:
    path = tmp_path / f"obs.{ending}"
    head = separator.join(f"{quote}{one}{quote}" for one in ("cell", "label", "x"))
    path.write_bytes(end.join([head, *rows(separator, quote), ""]).encode())
    assert read(path) == LABELS
    assert read(path, "x") == ["1,5" if separator != "," else "1.5"] * N
    # As R's write.table: no name over the row names.
    head = separator.join(f"{quote}{one}{quote}" for one in ("label", "x"))
    path.write_bytes(end.join([head, *rows(separator, quote), ""]).encode())
    assert read(path) == LABELS
    assert read_table(path).frame.columns == ["", "label", "x"]


def test_r_without_any_option(tmp_path: Path) -> None:
    """Blanks between quoted fields, and NA unquoted."""
    path = tmp_path / "meta.txt"
    path.write_text("\n".join(['"label" "x"', *(f'"{a}" "{b}" NA' for a, b in zip(NAMES, LABELS, strict=True)), ""]))
    assert read(path) == LABELS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_encodings_and_gzip_by_what_is_in_the_file(tmp_path: Path, encoding: str, ending: str, *, zipped: bool) -> None:
    labels = ["β cell", *LABELS[1:]]
    text = "\n".join(["cell\tlabel", *(f"{a}\t{b}" for a, b in zip(NAMES, labels, strict=True))])
    content = text.encode(encoding)
    (tmp_path / f"obs.{ending}").write_bytes(gzip.compress(content) if zipped else content)
    assert read(tmp_path / f"obs.{ending}") == labels


def test_separators_too_many_and_fields_with_separators(tmp_path: Path) -> None:
    path = tmp_path / "obs.csv"
    path.write_text("cell,label\n" + "".join(f"{a},{b},\n" for a, b in zip(NAMES, LABELS, strict=True)))
    assert read(path) == LABELS
    labels = [f"a, b; {one}" for one in LABELS]
    path.write_text("cell,label\n" + "".join(f'{a},"{b}"\n' for a, b in zip(NAMES, labels, strict=True)))
    assert read(path) == labels
    path.write_text("\ncell;label;share\n" + "".join(f"{a};{b};0,5\n" for a, b in zip(NAMES, LABELS, strict=True)))
    assert (read(path), read(path, "share")) == (LABELS, ["0,5"] * N)
    path.write_text("sep=;\n" + path.read_text().lstrip())
    assert (read(path), read(path, "share")) == (LABELS, ["0,5"] * N)


def test_names_in_another_column_are_found_and_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": LABELS, "barcode": NAMES})
    frame.to_csv(tmp_path / "obs.csv")  # the first column is numbers
    frame.to_csv(tmp_path / "bare.csv", index=False)
    for name in ("obs.csv", "bare.csv"):
        joined = read_table(tmp_path / name).joined(np.array(NAMES, object), "cells.h5ad")
        assert joined.column("label").labels()[0].tolist() == LABELS
        assert joined.notes[0].endswith("the cells' names are in column 'barcode'")
        assert "barcode" not in joined.keys


@pytest.mark.parametrize("name", [None, "cell"])
def test_parquet_with_an_index_of_pandas(tmp_path: Path, name: str | None) -> None:
    frame = pd.DataFrame({"label": LABELS, "other": NAMES[::-1]}, index=pd.Index(NAMES, name=name))
    frame.to_parquet(tmp_path / "obs.parquet")
    joined = read_table(tmp_path / "obs.parquet").joined(np.array(NAMES, object), "cells.h5ad")
    assert joined.column("label").labels()[0].tolist() == LABELS
    assert joined.notes == ()


def test_rows_that_are_equal_count_once_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "obs.csv"
    lines = [f"{a},{b}" for a, b in zip(NAMES, LABELS, strict=True)]
    path.write_text("\n".join(["cell,label", *lines, *lines[:3]]))
    assert read(path) == LABELS
    path.write_text("\n".join(["cell,label", *lines, f"{NAMES[0]},other"]))
    with pytest.raises(DuplicateNameError, match="'s0c0' occurs 2 times"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("obs.csv", b"PK\x03\x04 and so on", "a workbook of Excel"),
        ("obs.csv", "cell,label\ns0c0,Müller\n".encode("latin-1"), "cannot be read as UTF-8"),
        ("obs.csv", b"cell\0\0\0,label\n", "is not a text"),
        ("obs.csv", b"", "it is empty"),
        ("obs.parquet", b"cell,label\n", "is not a Parquet file"),
        ("obs.csv.gz", gzip.compress(b"cell,label\n" * 99, mtime=0)[:40], "is cut short or damaged"),
        ("obs.csv", b"cell,label\na,b\nc,d,e,f\n", "cannot be read"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=said):
        read_table(tmp_path / name)


# Names of the cells and of the rows.


def barcodes(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return sorted({"".join(rng.choice(list("ACGT"), 16)) for _ in range(n)})


FORMS: dict[str, Any] = {
    "bare": lambda one: one,
    "-1": lambda one: f"{one}-1",
    ".1": lambda one: f"{one}.1",
    "prefix": lambda one: f"s1_{one}-1",
    "hash": lambda one: f"GSM12#{one}-1",
    "suffix": lambda one: f"{one}-s1",
    "concat": lambda one: f"{one}-1-0",
    "x": lambda one: f"{one}x",
}


@given(here=st.sampled_from(list(FORMS)), there=st.sampled_from(list(FORMS)), seed=st.integers(0, 99))
def test_barcodes_match_one_to_one(here: str, there: str, seed: int) -> None:
    codes = barcodes(20, seed)
    order = np.random.default_rng(seed).permutation(len(codes))
    names = np.array([FORMS[here](one) for one in codes], object)
    rows = np.array([FORMS[there](codes[i]) for i in order], object)
    found = match_names(names, rows)
    if "x" in (here, there) and here != there:  # a letter that belongs to nothing known
        assert found.n == 0
        return
    assert order[found.rows].tolist() == list(range(len(codes)))
    assert (found.example is None) == (here == there)


def test_names_that_are_no_barcodes(tmp_path: Path) -> None:
    names = [f"human3 lib{i}.final/cell" for i in range(N)]
    assert match_names(np.array(names, object), np.array([f"{one}-1" for one in names], object)).n == N
    made = [one.replace(" ", ".").replace("/", ".") for one in names]  # R's make.names
    assert match_names(np.array(names, object), np.array(made, object)).n == N
    assert match_names(np.array(NAMES, object), np.array([f"t{one}" for one in NAMES], object)).n == 0


def test_samples_are_never_mixed_up() -> None:
    codes = barcodes(20)
    two = np.array([f"{one}-1" for one in codes] + [f"{one}-2" for one in codes], object)
    names = np.array(codes, object)
    assert match_names(names, two).n == 0  # of which sample?
    assert match_names(two, names).n == 0
    swapped = np.array([f"b_{one}" for one in codes] + [f"a_{one}" for one in codes], object)
    assert match_names(two, swapped).n == 0
    other = np.array([f"s2_{one}" for one in [*codes[:3], *barcodes(40, 9)]], object)
    assert match_names(names, other).n == 0  # three barcodes in common by chance
    more = np.array([f"s1_{one}-1" for one in [*codes, *barcodes(100, 9)]], object)
    assert match_names(names, more).rows.tolist() == list(range(len(codes)))


def test_a_refusal_shows_the_names_of_both_sides(tmp_path: Path) -> None:
    (tmp_path / "obs.csv").write_text("cell,label\n" + "".join(f"other{i},x\n" for i in range(9)))
    with (
        pytest.raises(FileError, match=r"lacks 12 of the 12 cells .*s0c0, s0c1, s0c2.*other0, other1") as raised,
        open_cells(toy.cells(N), tmp_path / "obs.csv") as file,
    ):
        file.labels("label", "label_key")
    assert "only_annotated" not in str(raised.value)


def test_only_the_cells_that_the_table_has(tmp_path: Path) -> None:
    cells = toy.cells(N)
    (tmp_path / "obs.csv").write_text("cell,label\n" + "".join(f"{one},x\n" for one in NAMES[3:9]))
    with (
        pytest.raises(FileError, match=r"lacks 6 of the 12 cells.*`only_annotated`"),
        open_cells(cells, tmp_path / "obs.csv") as file,
    ):
        file.labels("label", "label_key")
    asked = Selection(only_annotated=True)
    with open_cells(cells, tmp_path / "obs.csv", asked) as file, file.matrix() as matrix:
        assert file.obs_names.tolist() == NAMES[3:9]
        assert file.labels("label", "label_key").tolist() == ["x"] * 6
        assert file.left_out == {"n_cells_in_file": 12, "not_annotated": 6}
        (note,) = file.notes
        assert "6 of 12 cells left out" in note
        ((_, batch),) = matrix.batches("reading")
        np.testing.assert_array_equal(batch.toarray(), cells.X.toarray()[3:9])
    with pytest.raises(InputError, match="`only_annotated` without `obs`"), open_cells(cells, None, asked):
        pass
    both = Selection(only="label = 'x' AND donor <> 'd0'", only_annotated=True)
    with open_cells(cells, tmp_path / "obs.csv", both) as file:
        assert file.obs_names.tolist() == [NAMES[i] for i in range(3, 9) if i % 3]
