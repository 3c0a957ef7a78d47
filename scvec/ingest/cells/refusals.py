"""What to do with a file that is recognised and not read: the command that makes a file of cells of it."""

from __future__ import annotations

import shlex
import tarfile
from collections.abc import Callable
from itertools import islice
from pathlib import PurePosixPath

from scvec.errors import FileError
from scvec.ingest.cells.contents import COMPRESSED, Content, content_of, head_of, members_of, separator
from scvec.ingest.cells.locations import Place, Uri

WANTED = "an h5ad, a zarr store of AnnData, h5mu, loom, 10x's .h5, or a folder with a matrix.mtx"
READ: tuple[Content, ...] = ("hdf5", "market")
N_NAMES = 3

DECOMPRESS: dict[Content, str] = {
    "gzip": "gunzip -k",
    "bzip2": "bunzip2 -k",
    "xz": "xz -dk",
    "zstd": "zstd -d",
    "7z": "7z x",
    "rar": "unrar x",
}

AGAIN = "download it again from the address of the file itself, and look into it first: head -c 300"
COUNT_FIRST = "count them first, with Cell Ranger, STARsolo or alevin-fry, and give the folder of the counted matrix"
NAMELESS = "in Python: anndata.AnnData(X, obs=names_of_cells, var=names_of_genes).write_h5ad({out})"
PLAIN: dict[Content, tuple[str, str]] = {
    "empty": ("an empty file", "download or write it again"),
    "html": ("a web page, saved in place of the file", AGAIN),
    "xml": ("XML, as a server answers when it has no such file", AGAIN),
    "json": ("JSON, as a server answers when it has no such file", AGAIN),
    "lfs": ("a pointer of Git LFS, not the file itself", "git lfs pull --include {name}"),
    "annex": ("a pointer of git-annex, not the file itself", "git annex get {name}"),
    "rds": (
        "an R object (.rds)",
        "in R: zellkonverter::writeH5AD(Seurat::as.SingleCellExperiment(readRDS({path})), {out}); leave out "
        "Seurat::as.SingleCellExperiment where it is a SingleCellExperiment",
    ),
    "rdata": (
        "a workspace of R (.RData)",
        "in R: name <- load({path}); zellkonverter::writeH5AD(Seurat::as.SingleCellExperiment(get(name)), {out}); "
        "leave out Seurat::as.SingleCellExperiment where it is a SingleCellExperiment",
    ),
    "parquet": ("a table (Parquet)", "pandas.read_parquet({path})"),
    "arrow": ("a table (Arrow, feather)", "pandas.read_feather({path})"),
    "xls": ("an old Excel workbook", "pandas.read_excel({path}, index_col=0)"),
    "pickle": (
        "a pickle, which can run programs as it is read",
        "if you trust its source, in Python: import pickle; pickle.load(open({path}, 'rb')).write_h5ad({out})",
    ),
    "npy": ("an array without names of cells and genes (.npy)", f"{NAMELESS} with X = numpy.load({{path}})"),
    "bam": ("aligned reads (BAM)", COUNT_FIRST),
    "cram": ("aligned reads (CRAM)", COUNT_FIRST),
    "fastq": ("reads (FASTQ)", COUNT_FIRST),
    "fasta": ("sequences (FASTA)", COUNT_FIRST),
    "sqlite": ("an SQLite database", "export an h5ad of it"),
    "pdf": ("a PDF", "give the file of the cells"),
}
"""What a file is, and what to do; ``{path}``, ``{name}`` and ``{out}`` are filled in, the first and last in quotes."""

TABLE = "anndata.AnnData({frame}.T.astype('float32')).write_h5ad({out}), without .T where each row is a cell"


def refusal(where: Place) -> FileError:
    """Return the error for a file that is neither HDF5 nor a matrix nor an archive of zarr.

    Raises
    ------
    FileError
        If it cannot be read.
    """
    content, inner = content_of(where)
    packed = f", compressed ({content})" if inner else ""
    kind = inner or content
    made = SPECIAL.get(kind)
    if made is not None:
        seen, fix = made(where, content)
    elif kind in PLAIN:
        seen, fix = (part if i == 0 else _filled(part, where) for i, part in enumerate(PLAIN[kind]))
        if fix.startswith("pandas."):
            fix = _of_frame(fix, where)
    elif kind in DECOMPRESS or kind in READ:
        packer = content if content in DECOMPRESS else "gzip"
        seen, packed = f"compressed ({packer})", ""
        fix = f"{DECOMPRESS[packer]} {shlex.quote(str(where))}, and give what comes out"
    else:
        seen = "text, but not a table" if kind == "text" else "of a format that scvec does not know"
        fix = "check that it is the file of the cells; what the AnnData can be made of, write with adata.write_h5ad"
    return FileError(f"{where} is {seen}{packed}", WANTED, fix)


def quoted_out(where: Place) -> str:
    """Return the name of the h5ad to make of a file, in quotes."""
    stem = where.name.split("?")[0]
    for suffix in (".gz", ".bz2", ".xz", ".zst"):
        stem = stem.removesuffix(suffix)
    return repr(f"{PurePosixPath(stem).stem}.h5ad")


def _filled(text: str, where: Place) -> str:
    return text.format(path=repr(str(where)), name=shlex.quote(where.name), out=quoted_out(where))


def _of_frame(frame: str, where: Place) -> str:
    made = TABLE.format(frame=frame, out=quoted_out(where))
    return f"if it is a table of counts, in Python: import anndata, pandas; {made}"


def _table(where: Place, content: Content) -> tuple[str, str]:
    given = _given_folder(where)
    mark = separator(head_of(where))
    sep = {",": "", "\t": ", sep='\\t'", " ": ", sep=' '"}.get(mark, f", sep={mark!r}")
    packed: dict[Content, str] = {"gzip": "gzip", "bzip2": "bz2", "xz": "xz"}
    unpack = f", compression={packed[content]!r}" if content in COMPRESSED else ""
    frame = f"pandas.read_csv({str(where)!r}{sep}, index_col=0{unpack})"
    word = {",": "commas", "\t": "tabs", ";": "semicolons", " ": "blanks"}[mark]
    return f"a table of text, with {word} between its columns", given or _of_frame(frame, where)


def _given_folder(where: Place) -> str:
    """Return the advice to give the folder, if a file is beside a matrix; else ""."""
    beside = [] if isinstance(where, Uri) else [one.name for one in where.parent.iterdir() if ".mtx" in one.name]
    return f"give the folder: {where.parent}" if beside else ""


def _zip(where: Place, _: Content) -> tuple[str, str]:
    names = [name for name in members_of(where) if not name.endswith("/")]
    if "xl/workbook.xml" in names:
        return "an Excel workbook", _of_frame(f"pandas.read_excel({str(where)!r}, index_col=0)", where)
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of arrays without names (.npz)", _filled(NAMELESS, where)
    what = f"unzip {shlex.quote(str(where))}, and give the file or folder of the cells"
    return f"a zip archive of {_shown(names)}", what


def _tar(where: Place, _: Content) -> tuple[str, str]:
    names: list[str] = []
    try:
        with where.open("rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            names = [one.name for one in islice(archive, 50) if one.isfile()]
    except (tarfile.TarError, OSError, EOFError):  # what there is to say does not depend on it
        pass
    unpack = f"tar -xf {shlex.quote(str(where))}, and give the file or folder of the cells"
    return f"a tar archive of {_shown(names)}", unpack


def _shown(names: list[str]) -> str:
    more = ", ..." if len(names) > N_NAMES else ""
    return (", ".join(names[:N_NAMES]) or "nothing that can be listed") + more


SPECIAL: dict[Content, Callable[[Place, Content], tuple[str, str]]] = {"table": _table, "zip": _zip, "tar": _tar}
