"""What the README and the pages of docs/ say, done."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from scvec.embed.recipe import Recipe
from tests import docs_world
from tests.chat_server import ChatServer
from tests.conftest import DATA
from tests.server import Server
from tests.toy_llm import toy_llm
from tests.workers import alone_with_ray

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted(ROOT.glob("docs/*.md"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(language: str, page: Path) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


EXECUTED = [page for page in PAGES if blocks("bash", page) or blocks("python", page)]


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of NCBI's gene files and of the Cell Ontology."""
    root = tmp_path_factory.mktemp("mirror")
    docs_world.write_mirror(root)
    with Server(root) as server:
        yield server.url


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a user who has cells, and no store. Not to be written to."""
    folder = tmp_path_factory.mktemp("started")
    docs_world.write_files(folder)
    return folder


@pytest.fixture(scope="session")
def prepared(started: Path, mirror: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a user who has a store too, with all that the pages suppose. Not to be written to."""
    folder = tmp_path_factory.mktemp("prepared") / "user"
    shutil.copytree(started, folder)
    docs_world.bash(docs_world.PREPARED, folder, docs_world.environment(mirror, folder / "cache"))
    return folder


@pytest.fixture
def chat(mirror: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user, with an OpenAI-compatible server."""
    with ChatServer() as server:
        yield docs_world.environment(mirror, tmp_path / "cache", OPENAI_BASE_URL=server.url, OPENAI_API_KEY="a-key")


def follow(page: Path, folder: Path, variables: dict[str, str]) -> str:
    """Do what a page says, first in one shell, then in one Python, and return what these printed."""
    for recipe in blocks("toml", page):
        (folder / f"{tomllib.loads(recipe)['name']}.toml").write_text(recipe, encoding="utf-8")
    shell, code = "\n".join(blocks("bash", page)), "\n".join(blocks("python", page))
    said = docs_world.bash(shell, folder, variables) + docs_world.python(code, folder, variables)
    named = re.findall(r"--(?:out|report|plot) ([\w.-]+)", shell) + re.findall(
        r"write\w*\([^()]*\"([\w-]+\.\w+)\"", code
    )
    assert not [one for one in named if not (folder / one).exists()]
    return said


@pytest.mark.slow
def test_the_readme(started: Path, tmp_path: Path, chat: dict[str, str]) -> None:
    """In a folder with two files of cells, without a store and without gene texts."""
    folder = tmp_path / "user"
    shutil.copytree(started, folder)
    said = follow(README, folder, chat)
    assert "Annotation: 41 cells, 4 labels" in said
    assert not (folder / "cache").exists()  # nothing was downloaded


@pytest.mark.slow
@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.stem)
def test_a_page(page: Path, prepared: Path, tmp_path: Path, chat: dict[str, str]) -> None:
    """Each page by itself, in a folder with a store that has gene texts, the Cell Ontology and atlases."""
    real = "SCVEC_DATA" in text_of(page)
    if real and not (DATA / "README.md").is_file():
        pytest.skip(f"the real data is not at {DATA}; set SCVEC_DATA to where it is")
    variables = chat | ({"SCVEC_DATA": str(DATA.resolve())} if real else {})
    folder = tmp_path / "user"
    shutil.copytree(prepared, folder)
    if "./llm" in text_of(page):
        shutil.copytree(toy_llm(), folder / "llm")
    with alone_with_ray() if "--engine ray" in text_of(page) else nullcontext():
        said = follow(page, folder, variables)
    if page.stem == "retina":
        assert "calls.csv 52 {'regression': 0" in said
        assert "rgc_types: 45 sets of 57 genes" in said


def test_the_recipe_files() -> None:
    recipes = [Recipe.from_dict(tomllib.loads(text)) for page in DOCUMENTS for text in blocks("toml", page)]
    assert {one.name for one in recipes} == {"triplet", "centred", "ranked"}


def test_make_targets_and_extras_exist() -> None:
    shell = "\n".join(blocks("sh", README))
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", shell, flags=re.MULTILINE)
    assert targets[:2] == ["demo", "test"]
    assert all(re.search(rf"^{one}:", makefile, flags=re.MULTILINE) for one in targets)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert named_extras(ROOT / "docs" / "install.md") == extras.keys() - {"demo", "dev"}
    assert set.union(*map(named_extras, [README, *PAGES])) <= extras.keys()


def named_extras(page: Path) -> set[str]:
    return {one for group in re.findall(r"scvec\[([\w,]+)\]", text_of(page)) for one in group.split(",")}


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(document)):
        name, _, anchor = target.partition("#")
        page = document.parent / name if name else document
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), target


def test_every_page_is_linked_from_the_readme() -> None:
    linked = re.findall(r"\]\(docs/([\w-]+)\.\w+", text_of(README))
    assert {page.stem for page in PAGES} <= set(linked)


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 150


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
