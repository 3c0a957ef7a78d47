"""What a small input may unfold to."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest

from scvec.bench.suite import Suite
from scvec.core import limits
from scvec.core.files import read_pairs
from scvec.core.reading import reading
from scvec.core.toml import read_toml
from scvec.embed.recipe import Recipe
from scvec.errors import DiskFullError, FileError, InputError, StoreError
from scvec.ingest.genes.gene_sets import read_gene_sets
from scvec.ingest.genes.ncbi import read_info
from scvec.ontology.read import read_ontology


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "100_000")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_bomb_is_refused_with_the_way_to_raise_the_limit(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb"
    with pa.CompressedOutputStream(str(path), kind) as stream:
        stream.write(b"a\n" * 2**20)
    with pytest.raises(FileError, match=r"unfolds to more than 100,000 bytes.* export SCVEC_MAX_UNFOLDED=BYTES"):
        limits.read_file(path)
    with limits.unfolded(path) as plain, pytest.raises(FileError, match="unfolds to more than 100,000"):
        list(limits.bounded_lines(plain, "names"))


@pytest.mark.parametrize("kind", ["gzip", "zstd", None])
def test_what_is_within_the_limit_is_read_whole(tmp_path: Path, kind: str | None) -> None:
    path, text = tmp_path / "fine", b"one\ntwo\nlast"
    if kind is None:
        path.write_bytes(text)
    else:
        with pa.CompressedOutputStream(str(path), kind) as stream:
            stream.write(text)
    assert limits.read_file(path) == text
    with limits.unfolded(path) as plain:
        assert list(limits.bounded_lines(plain, "names")) == [b"one\n", b"two\n", b"last"]


def test_exactly_the_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "3")
    assert limits.read_bounded(io.BytesIO(b"abc"), "x") == b"abc"
    with pytest.raises(FileError, match=r"x unfolds to more than 3 bytes"):
        limits.read_bounded(io.BytesIO(b"abcd"), "x")
    with pytest.raises(FileError, match=r"a line of x unfolds"):
        list(limits.bounded_lines(io.BytesIO(b"abcd"), "x"))


@pytest.mark.parametrize("value", ["many", "0", "-1", "9" * 30])
def test_limit_must_be_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(limits.VARIABLE, value)
    with pytest.raises(InputError, match="SCVEC_MAX_UNFOLDED is"):
        limits.limit_of("text")


@pytest.mark.parametrize("n", [250, 900, 200_000])
@pytest.mark.parametrize("opened", ['{"a":', "["])
def test_deep_json_is_one_error(opened: str, n: int) -> None:
    text = opened * n + "1" + ("}" if opened != "[" else "]") * n
    with pytest.raises(ValueError, match="levels deep"):
        limits.bounded_json(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 60_000, "a = " + "[" * 300 + "]" * 300, ".".join("a" * 300) + " = 1"])
def test_deep_toml_is_one_error(text: str) -> None:
    with pytest.raises(ValueError, match="levels deep"):
        limits.bounded_toml(text)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        limits.bounded_json('{"\\ud800": 1}')
    assert limits.bounded_json('{"\\ud83d\\ude00": ["ä"]}') == {"😀": ["ä"]}


@pytest.mark.parametrize(
    "error", [RecursionError(), MemoryError(), SystemError("x"), KeyError("k"), TypeError("t"), gzip.BadGzipFile("z")]
)
def test_anything_that_a_reader_raises_is_one_error(error: Exception) -> None:
    with (
        pytest.raises(
            FileError,
            match=r"^cells\.h5ad (cannot be read|is cut short .*) \(.+\): expected a complete file\. Fix: get it\.$",
        ),
        reading("cells.h5ad", fix="get it"),
    ):
        raise error


def test_reading_lets_scvec_and_the_user_through() -> None:
    with pytest.raises(KeyboardInterrupt), reading("x"):
        raise KeyboardInterrupt
    with pytest.raises(StoreError, match="theirs"), reading("x"):
        raise StoreError("theirs")
    with pytest.raises(DiskFullError), reading("x"):
        raise RuntimeError("No space left on device (os error 28)")


def test_deep_files_of_people_are_one_error(tmp_path: Path) -> None:
    suite, recipe, terms, labels = (tmp_path / name for name in ("s.toml", "r.toml", "cl.json", "map.json"))
    suite.write_text("a = " + "[" * 60_000)
    recipe.write_text("a = " + "[" * 300 + "]" * 300)
    terms.write_text('{"a":' + "[" * 200_000)
    labels.write_text('{"a":' * 200_000)
    for read, file in (
        (Suite.read, suite),
        (Recipe.from_toml, recipe),
        (read_ontology, terms),
        (lambda path: read_pairs(path, "label", "id", "labels"), labels),
    ):
        with pytest.raises(FileError, match="levels deep"):
            read(file)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_bombs_of_every_kind_of_text_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb.json"
    with pa.CompressedOutputStream(str(path), kind) as stream:
        stream.write(b"#tax_id\tGeneID\n" + b"9606\t1\tx\ty\n" * 2**17)
    for read in (
        read_ontology,
        read_gene_sets,
        lambda one: read_info(one, 9606),
        lambda one: read_pairs(one, "label", "id", "labels"),
        lambda one: read_toml(one, "a suite", "x"),
    ):
        with pytest.raises(FileError, match="unfolds to more than 100,000 bytes"):
            read(path)


def test_a_suite_does_not_vary_without_end(tmp_path: Path) -> None:
    values = ", ".join(f"n{i} = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for i in range(9))
    (tmp_path / "s.toml").write_text(
        f'[[tasks]]\nname = "t"\nreference = "r"\nlabel_key = "l"\nvary = {{ {values} }}\n'
    )
    with pytest.raises(InputError, match="vary makes 1,000,000,000 tasks"):
        Suite.read(tmp_path / "s.toml")
