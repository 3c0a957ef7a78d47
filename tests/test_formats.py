"""What other programs write and people pass on: read with the same names and values, or refused with what to do."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from scvec.errors import DuplicateNameError, FileError, InputError
from scvec.ingest import open_cells
from scvec.ingest.cells import is_anndata_zarr, is_h5ad
from tests import other_sources, sources, toy


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    made = toy.cells(30)
    made.var["gene_symbols"] = [f"S{i // 2}" for i in range(made.n_vars)]  # two genes of one symbol each
    return made


def dense(cells: ad.AnnData) -> Any:
    return sp.csr_matrix(cells.X).toarray()


def read_all(path: Path, layer: str | None = None) -> Any:
    with open_cells(path) as file, file.matrix(layer) as matrix:
        return np.concatenate([batch.toarray() for _, batch in matrix.batches("reading")])


def refused(path: Path) -> str:
    with pytest.raises(FileError) as caught, open_cells(path) as file, file.matrix() as matrix:
        list(matrix.batches("reading"))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", other_sources.WRITERS)
def test_every_program_reads_the_same(cells: ad.AnnData, tmp_path: Path, kind: str) -> None:
    path = other_sources.WRITERS[kind](cells, tmp_path / "in")
    with open_cells(path) as file, file.matrix() as matrix:
        assert file.obs_names.tolist() == list(cells.obs_names)
        assert matrix.gene_names().tolist() == list(cells.var_names)
        if kind != "alevin":  # which writes one name of a gene
            found = matrix.gene_names("gene_symbols").tolist()
            assert found == list(cells.var_names if kind == "alevin" else cells.var["gene_symbols"])
        np.testing.assert_array_equal(matrix.take(np.array([1, 20])).toarray(), dense(cells)[[1, 20]])
        for key in set(file.obs_keys) & set(cells.obs):
            assert file.labels(key, "label_key").tolist() == list(cells.obs[key])
        assert ("cell_type" in file.obs_keys) == (kind in {"parse", "mudata", "spatialdata", "loom", "gzipped"})
        assert file.fingerprint() == file.fingerprint()
    np.testing.assert_array_equal(read_all(path), dense(cells))
    assert not is_h5ad(path)
    assert not is_anndata_zarr(path)


def test_what_was_chosen_is_said(cells: ad.AnnData, tmp_path: Path) -> None:
    def notes(path: Path) -> str:
        with open_cells(path) as file:
            return "; ".join(file.notes)

    run = other_sources.outs(cells, tmp_path / "run")
    assert notes(run) == ("outs/filtered_feature_bc_matrix.h5 in it is read, not outs/raw_feature_bc_matrix.h5")
    for name in ("raw_feature_bc_matrix", "raw_feature_bc_matrix.h5", "raw_feature_bc_matrix/matrix.mtx.gz"):
        assert "raw_feature_bc_matrix" in notes(run / "outs" / name)
        assert "unfiltered matrix" in notes(run / "outs" / name)
    assert not notes(run / "outs" / "filtered_feature_bc_matrix")
    solo = other_sources.starsolo(cells, tmp_path / "solo")
    assert "Solo.out/Gene/filtered/matrix.mtx in it is read, not Solo.out/Gene/raw/matrix.mtx" in notes(solo)
    assert "UniqueAndMult-EM.mtx" in notes(solo / "Solo.out" / "Gene" / "raw")
    assert notes(other_sources.mudata(cells, tmp_path / "a.h5mu")) == "rna of MuData is read, not prot"
    assert notes(other_sources.mudata(cells, tmp_path / "b.h5mu", ("RNA",))) == "RNA of MuData is read"


def test_several_of_a_kind_are_named(cells: ad.AnnData, tmp_path: Path) -> None:
    for sample in ("s1", "s2"):
        (tmp_path / "geo").mkdir(exist_ok=True)
        other_sources.prefixed(cells, tmp_path / "geo", f"GSM_{sample}_")
    said = refused(tmp_path / "geo")
    assert "several matrices: GSM_s1_matrix.mtx.gz, GSM_s2_matrix.mtx.gz" in said
    np.testing.assert_array_equal(read_all(tmp_path / "geo" / "GSM_s2_matrix.mtx.gz"), dense(cells))
    for sample in ("s1", "s2"):
        sources.write_market(cells, tmp_path / "multi" / sample / "outs" / "filtered_feature_bc_matrix")
    assert "s1/outs/filtered_feature_bc_matrix/matrix.mtx, s2/outs" in refused(tmp_path / "multi")
    for name in ("a.h5ad", "b.h5ad"):
        (tmp_path / "many").mkdir(exist_ok=True)
        cells.write_h5ad(tmp_path / "many" / name)
    assert "a.h5ad, b.h5ad" in refused(tmp_path / "many")
    two = other_sources.mudata(cells, tmp_path / "two.h5mu", ("prot", "atac"))
    assert "MuData of atac, prot" in refused(two)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_several_tables_of_spatialdata_are_named(cells: ad.AnnData, tmp_path: Path) -> None:
    path = other_sources.spatialdata(cells, tmp_path, ("a", "b"))
    assert "several tables: a, b" in refused(path)
    np.testing.assert_array_equal(read_all(path / "tables" / "b"), dense(cells))


def test_annotations_of_the_whole_of_mudata(cells: ad.AnnData, tmp_path: Path) -> None:
    with open_cells(other_sources.mudata(cells, tmp_path / "x.h5mu")) as file:
        assert file.obs_keys == ["cell_type", "cl_id", "donor", "sample"]
        assert file.labels("sample", "label_key").tolist() == [f"p{(i + 1) % 2}" for i in range(30)]


def test_loom_without_ids_or_names(cells: ad.AnnData, tmp_path: Path) -> None:
    path = other_sources.loom(cells, tmp_path)
    np.testing.assert_array_equal(read_all(path, "spliced"), 2 * dense(cells))
    with h5py.File(path, "r+") as file:
        del file["row_attrs/Accession"]
    with open_cells(path) as opened, opened.matrix() as matrix, pytest.raises(DuplicateNameError, match="'S0'"):
        matrix.gene_names()
    with h5py.File(path, "r+") as file:
        file.move("row_attrs/Gene", "row_attrs/odd")
    assert "row_attrs has odd" in refused(path)


# Variants of a matrix in text


def market(folder: Path, matrix: str, barcodes: str = "a\nb\n", features: str = "g0\tG0\ng1\tG1\ng2\tG2\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("matrix.mtx", matrix), ("barcodes.tsv", barcodes), ("features.tsv", features)):
        (folder / name).write_bytes(text.encode())
    return folder


HEAD = "%%MatrixMarket matrix coordinate integer general\n"
BODY = "3 2 3\n1 1 4\n3 1 5\n2 2 6\n"
EXPECTED = [[4, 0, 5], [0, 6, 0]]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + BODY,
        HEAD + "%\n% a comment\n\n" + BODY,
        HEAD.upper().replace("%%MATRIXMARKET", "%%MatrixMarket") + BODY,
        HEAD + BODY.replace(" ", "\t"),
        HEAD + BODY.replace(" ", "   "),
        HEAD + BODY.replace(" ", " \t "),
        HEAD + BODY.replace("\n", " \n"),
        HEAD + BODY.replace("\n", "\t\r\n"),
        HEAD + "".join(f"  {line}\n" for line in BODY.splitlines()),
        (HEAD + BODY).replace("\n", "\r\n"),
        HEAD + BODY.rstrip("\n"),
        HEAD + BODY + "\n\n",
        HEAD.replace("integer", "real") + BODY.replace("5\n", "5.000e+00\n"),
        HEAD + "2 3 3\n1 1 4\n1 3 5\n2 2 6\n",
        HEAD + "2\t3\t3\n2\t2\t6\n1\t3\t5\n1\t1\t4\n",
    ],
)
def test_every_spelling_of_a_matrix(tmp_path: Path, text: str) -> None:
    assert read_all(market(tmp_path, text)).tolist() == EXPECTED


@pytest.mark.parametrize(
    ("barcodes", "features"),
    [
        ("a\tsample1\nb\tsample1\n", "g0\ng1\ng2\n"),
        ("a\r\nb\r\n", "g0\tG0\r\ng1\tG1\r\ng2\tG2\r\n"),
        ("\ufeffa\nb\n\n", "g0\ng1\ng2"),
        ('"a"\n"b"\n', '"g0"\t"G0"\n"g1"\t"G1"\n"g2"\t"G2"\n'),
        ("barcode\na\nb\n", "gene_id\tgene_name\ng0\tG0\ng1\tG1\ng2\tG2\n"),
        ('"x"\n"1"\t"a"\n"2"\t"b"\n', "1\tg0\n2\tg1\n3\tg2\n"),
        (
            "cell\tdonor\na\td1\nb\td2\n",
            "g0\tG0\tGene Expression\tchr 1\ng1\tG1\tGene Expression\tchr 1\ng2\tG2\tGene Expression\t\n",
        ),
    ],
)
def test_every_spelling_of_names(tmp_path: Path, barcodes: str, features: str) -> None:
    folder = market(tmp_path, HEAD + BODY, barcodes, features)
    with open_cells(folder) as file, file.matrix() as matrix:
        assert file.obs_names.tolist() == ["a", "b"]
        assert matrix.gene_names().tolist() == ["g0", "g1", "g2"]
        assert file.obs_keys == (["donor"] if "donor" in barcodes else [])
    assert read_all(folder).tolist() == EXPECTED


@pytest.mark.parametrize("members", [("matrix.mtx",), ("barcodes.tsv", "features.tsv")])
def test_gzip_is_seen_by_its_bytes(cells: ad.AnnData, tmp_path: Path, members: tuple[str, ...]) -> None:
    plain = sources.write_market(cells, tmp_path / "plain")
    packed = sources.write_market(cells, tmp_path / "packed", "mtx.gz")
    for name in members:
        (plain / name).write_bytes(gzip.compress((plain / name).read_bytes()))
        (packed / f"{name}.gz").write_bytes(gzip.decompress((packed / f"{name}.gz").read_bytes()))
    for folder in (plain, packed):
        np.testing.assert_array_equal(read_all(folder), dense(cells))


def test_a_name_too_many_or_too_few_is_refused(tmp_path: Path) -> None:
    for i, (barcodes, features) in enumerate(
        [("a\nb\nc\n", "g0\ng1\ng2\n"), ("a\n", "g0\ng1\ng2\n"), ("a\nb\n", "g\nh\n")]
    ):
        assert "rows and 2 columns for" in refused(market(tmp_path / str(i), HEAD + BODY, barcodes, features))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BODY, "put this line before all others, if the values are counts: %%MatrixMarket"),
        ("%%MatrixMarket matrix array real general\n3 2\n1\n", "not coordinate.*scipy.io.mmread"),
        ("%%MatrixMarket matrix coordinate real symmetric\n3 3 1\n1 1 1\n", "symmetric.*scipy.io.mmwrite"),
        ("%%MatrixMarket matrix coordinate pattern general\n3 2 1\n1 1\n", "is a pattern"),
        ("%%MatrixMarket matrix coordinate complex general\n3 2 1\n1 1 1 1\n", "complex general, not coordinate"),
        ("<!DOCTYPE html><html><body>404</body></html>", "a web page.*download it again"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull --include matrix.mtx"),
        (HEAD + "3 2 4\n1 1 4\n3 1 5\n2 2 6\n", "3 entries, its header says 4"),
        (HEAD + "3 2 2\n1 1 4\n3 1 5\n2 2 6\n", "more than the 2 entries"),
        (HEAD + "3 2 1\n1 1\n", "Expected 3 columns"),
        (HEAD + "3 2 1\n1.5 1 1\n", "cannot be read"),
        (HEAD + "-3 2 1\n", "no line with its size"),
        (HEAD + "%" + "x" * 2**21 + "\n" + BODY, "no line with its size|comments are longer"),
    ],
)
def test_other_matrices_in_text_are_named(tmp_path: Path, text: str, message: str) -> None:
    import re

    said = refused(market(tmp_path, text))
    assert re.search(message, said), said


def test_alevin_fry_with_three_columns_a_gene(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "alevin"
    folder.mkdir(parents=True)
    (folder / "quants_mat.mtx").write_text(HEAD + "2 3 1\n1 1 1\n")
    other_sources.lines(folder / "quants_mat_rows.txt", ["a", "b"])
    other_sources.lines(folder / "quants_mat_cols.txt", ["g", "g-U", "g-A"])
    with pytest.raises(FileError, match=r"USA mode.*pyroe\.load_fry"), open_cells(tmp_path / "out"):
        pass
    for one in folder.iterdir():
        one.unlink()
    (folder / "quants_mat.gz").write_bytes(gzip.compress(b"\x01\x00\x02\xff\xfe"))
    assert "run salmon alevin again with --dumpMtx" in refused(folder)


# What is refused, with what to do


def table(cells: ad.AnnData, path: Path, sep: str) -> Path:
    cells[:5].to_df().T.astype(int).to_csv(path, sep=sep)
    return path


@pytest.mark.parametrize(
    ("name", "sep"),
    [
        ("t.csv", ","),
        ("t.csv.gz", ","),
        ("t.txt", "\t"),
        ("t.tsv.bz2", "\t"),
        ("t.csv.xz", ";"),
    ],
)
def test_a_table_of_counts_says_how_to_make_an_h5ad(
    cells: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sep: str
) -> None:
    path = table(cells, tmp_path / name, sep)
    if name.endswith((".gz", ".xz")):
        path = path.rename(tmp_path / "t.csv")  # the name does not say how it is compressed
    said = refused(path)
    if "compressed" in said and path.suffix == ".bz2" and "a table" not in said:
        assert "bunzip2 -k" in said  # a block of bzip2 is not seen into
        return
    fix = said.partition("in Python: ")[2].partition(", without .T")[0]
    monkeypatch.chdir(tmp_path)
    exec(fix, {})
    made = next(tmp_path.glob("*.h5ad"))
    np.testing.assert_array_equal(read_all(made), dense(cells)[:5])


def test_r_tables_and_lists_are_tables(tmp_path: Path, cells: ad.AnnData) -> None:
    (tmp_path / "r.txt").write_text('"c1" "c2"\n"G1" 1 2\n"G2" 0 3\n"G3" 0 3\n')
    assert "a table of text, with blanks" in refused(tmp_path / "r.txt")
    folder = sources.write_market(cells, tmp_path / "mtx")
    assert f"give the folder: {folder}" in refused(folder / "features.tsv")


FOREIGN: list[tuple[str, bytes, str]] = [
    ("a.rds", gzip.compress(b"X\n\x00\x00\x00\x03" + b"\x00" * 40), r"an R object.*zellkonverter::writeH5AD.*readRDS"),
    ("b.RData", gzip.compress(b"RDX3\nX\n\x00\x00"), r"a workspace of R.*load\("),
    ("c.pkl", b"\x80\x04\x95abc", "a pickle, which can run programs"),
    ("d.parquet", b"PAR1\x00\x00", r"a table \(Parquet\).*pandas.read_parquet"),
    ("e.npy", b"\x93NUMPY\x01\x00", "an array without names"),
    ("f.h5ad", b"", "an empty file.*download or write it again"),
    ("g.h5ad", b"<!DOCTYPE html>\n<html><head>", "a web page, saved in place of the file"),
    ("h.h5ad", b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "XML, as a server answers"),
    ("i.h5ad", b'{"message": "Not Found"}', "JSON, as a server answers"),
    ("j.h5ad", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "git lfs pull --include j.h5ad"),
    ("k.bam", gzip.compress(b"BAM\x01\x00\x00"), "aligned reads.*count them first"),
    ("l.fastq.gz", gzip.compress(b"@r1\nACGT\n+\nIIII\n"), "reads .FASTQ.*count them first"),
    ("m.h5ad.zst", b"\x28\xb5\x2f\xfd\x00\x00", r"compressed \(zstd\).*zstd -d"),
    ("n.h5ad", b"\x00\x01\x02" * 50, "of a format that scvec does not know"),
    ("o.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel.*pandas.read_excel"),
    ("p.h5ad", "Ünïcödé words".encode(), "text, but not a table"),
    ("q.gz", gzip.compress(b""), "an empty file"),
]


@pytest.mark.parametrize(("name", "content", "message"), FOREIGN, ids=[name for name, _, _ in FOREIGN])
def test_what_is_no_file_of_cells_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    import re

    (tmp_path / name).write_bytes(content)
    said = refused(tmp_path / name)
    assert re.search(message, said), said
    assert len(said.splitlines()) == 1


def test_archives_name_what_they_hold(tmp_path: Path, cells: ad.AnnData) -> None:
    cells.write_h5ad(tmp_path / "x.h5ad")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "x.h5ad", "in/x.h5ad")
    assert "a tar archive of in/x.h5ad" in refused(tmp_path / "x.tar.gz")
    assert f"tar -xf {tmp_path / 'x.tar.gz'}" in refused(tmp_path / "x.tar.gz")
    with tarfile.open(tmp_path / "GSE1_RAW.tar", "w") as archive:
        archive.add(tmp_path / "x.h5ad", "GSM1.h5ad")
    assert "a tar archive of GSM1.h5ad" in refused(tmp_path / "GSE1_RAW.tar")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.write(tmp_path / "x.h5ad", "x.h5ad")
    assert "a zip archive of x.h5ad" in refused(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w") as packed:
        packed.writestr("xl/workbook.xml", "")
    assert "an Excel workbook" in refused(tmp_path / "x.xlsx")


def test_other_hdf5_files_are_named(tmp_path: Path) -> None:
    def made(name: str, *members: str) -> Path:
        with h5py.File(tmp_path / name, "w") as file:
            for one in members:
                file[one] = np.zeros(2)
        return tmp_path / name

    assert "SeuratDisk::Convert" in refused(made("a.h5Seurat", "assays/RNA/counts", "cell.names"))
    assert "molecule_info" in refused(made("b.h5", "barcode_idx", "umi", "feature_idx", "barcodes"))
    assert "it has scores, weights" in refused(made("c.h5", "weights", "scores"))


def test_a_file_that_is_open_elsewhere(tmp_path: Path, cells: ad.AnnData) -> None:
    cells.write_h5ad(tmp_path / "x.h5ad")
    held = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import h5py; f = h5py.File({str(tmp_path / 'x.h5ad')!r}, 'r+'); print(1, flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert held.stdout is not None
        held.stdout.readline()
        assert "is open for writing in another program" in refused(tmp_path / "x.h5ad")
    finally:
        held.communicate(b"\n")
    np.testing.assert_array_equal(read_all(tmp_path / "x.h5ad"), dense(cells))


def test_compression_that_a_package_reads(tmp_path: Path, cells: ad.AnnData) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = tmp_path / "z.h5ad"
    cells.write_h5ad(path, compression=hdf5plugin.FILTERS["zstd"], compression_opts=hdf5plugin.Zstd(5).filter_options)
    code = (
        "import sys; {}from scvec.ingest import open_cells\n"
        f"with open_cells({str(path)!r}) as f, f.matrix() as m: print(sum(b.sum() for _, b in m.batches('x')))"
    )
    for first, found in (("", str(float(dense(cells).sum()))), ("sys.modules['hdf5plugin'] = None; ", "")):
        done = subprocess.run([sys.executable, "-c", code.format(first)], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == found, done.stderr
    assert "zstd" in done.stderr
    assert "pip install 'scvec[filters]'" in done.stderr
    assert "MissingDependencyError" in done.stderr


def test_what_unfolds_to_too_much(tmp_path: Path, cells: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCVEC_MAX_UNFOLDED", "5000")
    assert "SCVEC_MAX_UNFOLDED" in refused(other_sources.gzipped(cells, tmp_path / "a"))
    folder = market(tmp_path / "b", HEAD + BODY)
    (folder / "barcodes.tsv").write_bytes(gzip.compress(b"a\nb\n" + b"\n" * 10**6))
    with pytest.raises(FileError, match=r"barcodes\.tsv unfolds to more than 5,000 bytes"), open_cells(folder):
        pass


def test_places_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"), open_cells(tmp_path / "none.h5ad"):
        pass
    (tmp_path / "empty").mkdir()
    assert "it is empty" in refused(tmp_path / "empty")
    with pytest.raises(InputError):
        open_cells(3).__enter__()
