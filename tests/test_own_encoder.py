"""An encoder in a package of its own, as the page about it says: built, installed, and used by the command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import scvec as sv
from tests import toy

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "own-encoder.md"


SUITE = """
name = "models"
encoders = ["hash"]
controls = ["random"]

[[tasks]]
name = "markers"
kind = "same set"
sets = "sets.gmt"
across_families = false
"""


def files_of(page: Path) -> dict[str, str]:
    """Return the files that a page shows, by their names."""
    found = re.findall(r"^```\w+ ([\w.]+)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return dict(found)


def commands_of(page: Path) -> list[str]:
    shell = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [line for block in shell for line in block.splitlines()]


def pip(*arguments: str) -> None:
    """Run pip without a network."""
    command = [sys.executable, "-m", "pip", *arguments, "--no-index", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page's package is installed, from a wheel."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "scvec-letters"
    source.mkdir()
    for name, text in files_of(PAGE).items():
        (source / name).write_text(text, encoding="utf-8")
    pip("wheel", str(source), "--wheel-dir", str(folder), "--no-build-isolation")
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == "scvec_letters-1.0-py3-none-any.whl"
    pip("install", str(wheel), "--target", str(folder / "site"))
    return folder / "site"


def scvec(installed: Path, folder: Path, arguments: list[str]) -> str:
    paths = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", str(ROOT))])
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, "-m", "scvec", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_page(installed: Path, store: sv.Store, files: Path, tmp_path: Path) -> None:
    shutil.copy(files / "reference.h5ad", tmp_path)
    shutil.copytree(store.uri, tmp_path / "scvec-store")
    of_theme = {one: [name for i, name in enumerate(toy.SYMBOLS) if toy.theme_of(i) == one] for one in toy.LABELS}
    sets = ["\t".join([f"{theme} genes", "toy", *names]) for theme, names in of_theme.items()]
    (tmp_path / "sets.gmt").write_text("\n".join(sets), encoding="utf-8")
    (tmp_path / "models.toml").write_text(SUITE, encoding="utf-8")
    said = {}
    for line in commands_of(PAGE):
        program, *arguments = line.split()
        if program == "scvec":
            said[line] = scvec(installed, tmp_path, arguments)
    listing, embedding, *_, row = said.values()
    assert re.search(r"^letters +512 +yes +none: the letters of a text", listing, flags=re.MULTILINE)
    assert "letters, 512 dimensions: 240 of 240 texts encoded" in embedding
    assert re.search(r"^letters ", row, flags=re.MULTILINE)
    made = sv.Store(tmp_path / "scvec-store")
    for name, weights in (("by-letters", "text"), ("as-texts", "sentence")):
        recipe = sv.atlas.open_atlas(made, name).recipe
        assert (recipe.encoder, recipe.encoder_revision, recipe.weights) == ("letters", "1", weights)
    query = ["query", str(files / "query.h5ad"), "--atlas", "as-texts", "--out", "calls.csv"]
    assert "41 cells" in scvec(installed, tmp_path, query)


def test_without_the_package_the_encoder_is_unknown(store: sv.Store) -> None:
    command = [sys.executable, "-m", "scvec", "embed", "--taxon", "human", "--encoder", "letters", "--store", store.uri]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("scvec: no encoder 'letters'")
    assert done.stderr.count("\n") == 1
