"""Gene sets, read from GMT files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from scvec.core.files import sha256
from scvec.core.limits import read_file
from scvec.core.reading import reading
from scvec.errors import FileError

GMT = "lines with a name, a description and genes, separated by tabs"


@dataclass(frozen=True, slots=True)
class GeneSets:
    """The sets of one file.

    Attributes
    ----------
    name
        The file's name, without its ending.
    version
        The release, as the user gave it; "" if not given.
    sha256
        Hash of the file's bytes, which identifies the sets for certain.
    sets
        The names of the genes in each set, in the order of the file, without repeats.
    """

    name: str
    version: str
    sha256: str
    sets: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sets", MappingProxyType(dict(self.sets)))

    def __len__(self) -> int:
        return len(self.sets)

    def to_dict(self) -> dict[str, Any]:
        """Return what provenance records, as JSON types."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256, "n_sets": len(self)}


def read_gene_sets(path: str | Path, version: str = "") -> GeneSets:
    """Read a GMT file: MSigDB's, Reactome's, Enrichr's or one's own.

    Empty fields are skipped, and so is the weight of Enrichr's ``GENE,1.0``.

    Parameters
    ----------
    path
        The file.
    version
        The release of the sets, which is recorded: files rarely say.

    Raises
    ------
    FileError
        If it is missing or not a GMT file, has no set, or has two sets of one name.
    """
    path = Path(path)
    with reading(f"gene sets {path}", f"a GMT file: {GMT}", "name another file"):
        text = read_file(path).decode("utf-8-sig")
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = tuple(dict.fromkeys(filter(None, (field.split(",")[0].strip() for field in rest[1:]))))
        if not name or not genes or name in sets:
            wrong = "the name of an earlier set" if name in sets else "no gene" if name else "no name"
            raise FileError(f"gene sets {path}: line {number} has {wrong}", GMT, "fix that line")
        sets[name] = genes
    if not sets:
        raise FileError(f"gene sets {path}: no set", GMT, "name another file")
    return GeneSets(path.stem, version, sha256(path), sets)
