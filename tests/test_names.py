"""Names from files that a terminal would obey, or a spreadsheet would run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import scvec as sv
from scvec import cli
from scvec.annotation.writing import write_frame
from scvec.cli.app import table
from scvec.core.files import read_pairs
from scvec.core.spreadsheets import guarded, unguarded
from scvec.errors import printable
from tests import toy

HOSTILE = (
    *("\x1b[31mred", "\x9b31m", "\x07bell", "\u202edecoy", "\u2066x\u2069"),
    *("two\nlines", "a\rb", "\x7f", "\x00"),
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_control_character_reaches_a_terminal(name: str) -> None:
    said = table(["label", name], [[name, 1], ["beta", 2]])
    assert all(one.isprintable() for one in said.replace("\n", ""))
    assert len(said.splitlines()) == 4
    said.encode()


def test_printable_names_stay(tmp_path: Path) -> None:
    del tmp_path
    for name in ("β cell", "Zellen, größer", "CD4⁺ T", "细胞", "no\u00a0break", "x y"):
        assert printable(name) == name
    assert printable("a\x1b[0m\n\u202eb") == "a\\x1b[0m\n\\u202eb"


def test_labels_of_a_file_are_escaped_on_all_ways_out(
    store: sv.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = toy.cells(60)
    cells.obs["cell_type"] = cells.obs["cell_type"].astype(str).replace("beta", "\x1b[31mbeta")
    cells.obs_names = [f"\x1b]0;owned\x07{i}" for i in range(60)]
    cells.write_h5ad(tmp_path / "r.h5ad")
    for words in (
        ["atlas", "build", "r", str(tmp_path / "r.h5ad"), "--label-key", "cell_type", "--recipe", "expression"],
        ["atlas", "info", "r"],
        ["query", str(tmp_path / "r.h5ad"), "--atlas", "r", "--out", str(tmp_path / "calls.parquet")],
        ["query", str(tmp_path / "r.h5ad"), "--atlas", "r", "--block", "\x1b[31mbet"],
        ["evaluate", str(tmp_path / "r.h5ad"), "--atlas", "r", "--label-key", "\x1b[31m"],
        ["search", "--like", "\x1b]0;owned\x073", "--atlas", "r"],
    ):
        cli.main([*words, "--store", store.uri])
        out, err = capsys.readouterr()
        assert (out + err).strip()
        assert not {"\x1b", "\x07"} & set(out + err), words
    assert pl.read_parquet(tmp_path / "calls.parquet").to_series(0)[0] == "\x1b]0;owned\x070"


COMMANDS = ("=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "'=1", "''+x", "=1\n2")
PLAIN = ("-", "+", "-1.5", "+2e10", "beta", "'quoted'", "'", "a=b", "", "-.5")


def test_a_spreadsheet_runs_no_name(tmp_path: Path) -> None:
    frame = pl.DataFrame({"cell_id": [*COMMANDS, *PLAIN], "=x": 1.0, "value": -1.0})
    write_frame(frame, tmp_path / "calls.csv")
    there = pl.read_csv(tmp_path / "calls.csv", infer_schema=False)
    assert there.columns == ["cell_id", "'=x", "value"]
    assert there["cell_id"].to_list() == [*(f"'{one}" for one in COMMANDS), *PLAIN]
    assert set(there["value"]) == {"-1.0"}
    write_frame(frame, tmp_path / "calls.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "calls.parquet"), frame)


@given(st.lists(st.text(st.sampled_from("'=+-@\t\r1.ea")), min_size=1))
def test_what_is_guarded_is_read_back(texts: list[str]) -> None:
    frame = pl.DataFrame({"name": texts, "n": range(len(texts))})
    assert_frame_equal(unguarded(guarded(frame)), frame)


def test_scvec_reads_its_own_csv(store: sv.Store, tmp_path: Path) -> None:
    cells = toy.cells(12)
    cells.obs_names = [f"=cell{i}" for i in range(12)]
    cells.obs["cell_type"] = "-beta-like"
    frame = pl.DataFrame({"cell": cells.obs_names.tolist(), "kind": cells.obs["cell_type"].tolist()})
    cells.write_h5ad(tmp_path / "c.h5ad")
    write_frame(frame, tmp_path / "obs.csv")
    with sv.ingest.open_cells(tmp_path / "c.h5ad", obs=tmp_path / "obs.csv") as file:
        assert set(file.labels("kind", "label_key").tolist()) == {"-beta-like"}
    write_frame(pl.DataFrame({"query": ["=a", "-b c"], "atlas": ["@x", "beta"]}), tmp_path / "map.csv")
    assert read_pairs(tmp_path / "map.csv", "query", "atlas", "map") == {"=a": "@x", "-b c": "beta"}
    assert store.exists
