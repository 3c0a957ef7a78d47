"""What the README says, done."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scvec.embed.recipe import Recipe
from tests import toy, toy_ontology
from tests.chat_server import ChatServer
from tests.server import Server
from tests.toy_llm import toy_llm

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRAST = (ROOT / "docs" / "contrast.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path, files: Path) -> Path:
    """The folder of a user who followed the README so far: toy files, under the names it gives."""
    mouse = toy.cells(20, seed=1)
    mouse.var_names = [toy.symbol_of(i, toy.MOUSE) for i in range(toy.N_GENES)]
    mouse.write_h5ad(tmp_path / "mouse.h5ad")
    reference = toy.cells(120, seed=0)
    reference.obs["tissue"] = ["pancreas", "spleen"] * 60
    reference.write_h5ad(tmp_path / "reference.h5ad")
    shutil.copy(files / "query.h5ad", tmp_path)
    themes = {label: [toy.symbol_of(i) for i in range(toy.N_GENES) if toy.theme_of(i) == label] for label in toy.LABELS}
    sets = [f"{label} genes\tof the toy world\t" + "\t".join(names) for label, names in themes.items()]
    (tmp_path / "sets.gmt").write_text("\n".join(sets) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mirror of NCBI's gene files, of the toy world."""
    root = tmp_path_factory.mktemp("mirror")
    place = root / "GENE_INFO" / "Mammalia"
    place.mkdir(parents=True)
    summaries: list[str] = []
    for taxon, name in ((toy.HUMAN, "Homo_sapiens"), (toy.MOUSE, "Mus_musculus")):
        info, summary = toy.write_ncbi(place, taxon)
        info.rename(place / f"{name}.gene_info.gz")
        summaries += gzip.decompress(summary.read_bytes()).decode().splitlines()[bool(summaries) :]
        summary.unlink()
    toy.write_lines(root / "gene_summary.gz", summaries)
    toy.write_orthologs(root / "gene_orthologs.gz")
    (root / "cl-basic.obo").write_text(toy_ontology.as_obo(toy_ontology.TOY), encoding="utf-8")
    with Server(root) as server:
        yield server.url


@pytest.mark.slow
def test_the_walk_through(folder: Path, mirror: str) -> None:
    """Every bash block in one shell, then the Python block, as they stand, with NCBI's files from a mirror."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {"SCVEC_NCBI": mirror, "SCVEC_CACHE": str(folder / "cache"), "NO_PROXY": "127.0.0.1"}
    environment |= {"SCVEC_CL": f"{mirror}/cl-basic.obo"}
    shutil.copytree(toy_llm(), folder / "llm")
    script = "set -euo pipefail\n" + "\n".join(blocks("bash") + blocks("bash", CONTRAST))
    with ChatServer() as server:
        environment |= {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "a-key"}
        done = run(["bash", "-c", script], folder, environment)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in folder.iterdir()}
    assert {
        "my-store",
        "calls.h5ad",
        "calls.parquet",
        "report",
        "page.html",
        "genes.csv",
        "contrast.csv",
        "contrast.pathways.csv",
        "contrast.parquet",
        "trusted.csv",
        "map.csv",
        "terms.csv",
        "mouse.csv",
        "asked.parquet",
        "second.h5ad",
        "curve.png",
        "read.csv",
    } <= made
    python = "\n".join(blocks("python") + blocks("python", CONTRAST))
    done = run([sys.executable, "-c", python], folder, environment)
    assert done.returncode == 0, done.stderr
    assert "obs_name" in done.stdout


def test_the_recipe_file() -> None:
    (text,) = blocks("toml")
    assert Recipe.from_dict(tomllib.loads(text)).centre


def test_make_targets_and_extras_exist() -> None:
    shell = "\n".join(blocks("sh"))
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", shell, flags=re.MULTILINE)
    assert targets[:2] == ["demo", "test"]
    assert all(re.search(rf"^{one}:", makefile, flags=re.MULTILINE) for one in targets)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {one for group in re.findall(r"scvec\[([\w,]+)\]", README) for one in group.split(",")}
    assert named == {"text", "report", "pathways", "openai", "llm", "cluster", "gpu", "ray", "remote"}
    assert named <= extras.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target[1:] in anchors if target.startswith("#") else (document.parent / target).exists(), target


def test_every_module_is_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for path in (ROOT / "scvec").iterdir():
        if path.suffix == ".py" and not path.name.startswith("__"):
            assert f"`{path.stem}`" in text, path.name
        if (path / "__init__.py").is_file():
            assert f"`{path.name}/`" in text, path.name


def test_the_architecture_names_files_that_are_there() -> None:
    """Paths with a folder; a name behind a module's is the module's own: `embed/recipe.RECIPES`."""
    named = re.findall(r"`((?:\w+/)+\w+)(?:\.\w+)*", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    known = {path.with_suffix("") for folder in ("scvec", "tests", "docs") for path in (ROOT / folder).rglob("*")}
    assert not [one for one in named if not {ROOT / "scvec" / one, ROOT / one} & known]


def test_one_version() -> None:
    from importlib import metadata

    import scvec

    version = scvec.__version__
    assert metadata.version("scvec") == version
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_public_face() -> None:
    """All names are there, and importing the package alone imports next to nothing."""
    code = (
        "import sys, scvec; assert not {'numpy', 'pyarrow', 'polars'} & set(sys.modules); "
        "[getattr(scvec, one) for one in scvec.__all__]; print(len(dir(scvec)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    import scvec

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scvec.nothing
