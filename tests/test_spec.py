from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec.errors import FileError, InputError, KeyNotFoundError
from scvec.spec import RECIPES, Recipe, recipe

COUNTS = st.integers(1, 10**6)
TEXT = st.builds(
    Recipe,
    name=st.text(st.characters(codec="utf-8"), max_size=20),
    encoder=st.text("abcdefgh-1", min_size=1, max_size=9),
    top_n=st.none() | COUNTS,
    target_sum=st.floats(1, 1e8),
    centre=st.booleans(),
    fit_cells=COUNTS,
    random_state=st.integers(0, 2**31),
    release=st.none() | st.text("2026-", min_size=1, max_size=9),
)
SVD = st.builds(Recipe, name=st.just("svd"), weights=st.just("svd"), dimension=COUNTS, centre=st.booleans())


@given(TEXT | SVD)
def test_toml_round_trip(tmp_path_factory: pytest.TempPathFactory, spec: Recipe) -> None:
    path = tmp_path_factory.mktemp("toml") / "recipe.toml"
    path.write_text(spec.to_toml(), encoding="utf-8")
    again = Recipe.from_toml(path)
    assert again == spec
    assert again.sha256() == spec.sha256()
    assert hash(again) == hash(spec)


def test_every_field_counts_for_the_identity() -> None:
    base = Recipe(name="a", encoder="hash")
    others = [
        Recipe(name="b", encoder="hash"),
        Recipe(name="a", encoder="tfidf"),
        Recipe(name="a", encoder="hash", top_n=3),
        Recipe(name="a", encoder="hash", centre=True),
        base.bind("2026", None),
        base.bind("2026", "1"),
    ]
    assert len({one.sha256() for one in [base, *others]}) == 7


@pytest.mark.parametrize(
    "values",
    [
        {"name": "x", "encoder": "hash", "topn": 3},
        {"encoder": "hash"},
        {"name": "x"},
        {"name": "x", "encoder": "hash", "top_n": 0},
        {"name": "x", "encoder": "hash", "top_n": True},
        {"name": "x", "encoder": "hash", "centre": "yes"},
        {"name": "x", "encoder": "hash", "target_sum": "many"},
        {"name": "x", "encoder": "hash", "dimension": 5},
        {"name": "x", "weights": "svd"},
        {"name": "x", "weights": "svd", "dimension": 5, "encoder": "hash"},
        {"name": "x", "weights": "magic", "encoder": "hash"},
        {"name": "x", "encoder": "hash", "random_state": -1},
    ],
)
def test_wrong_recipes_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Recipe.from_dict(values)


def test_recipe_by_name_or_file(tmp_path: Path) -> None:
    assert recipe("genept-w") is RECIPES["genept-w"]
    with pytest.raises(KeyNotFoundError, match="genept-w, topn, expression, random"):
        recipe("gene-pt")
    with pytest.raises(FileError, match="no-such"):
        recipe(str(tmp_path / "no-such.toml"))
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(FileError, match=r"bad\.toml"):
        recipe(str(tmp_path / "bad.toml"))


def test_controls_take_no_encoder() -> None:
    assert RECIPES["genept-w"].with_encoder("hash").encoder == "hash"
    assert RECIPES["random"].with_encoder(None) is RECIPES["random"]
    for control in ("expression", "random"):
        with pytest.raises(InputError, match="reads no text"):
            RECIPES[control].with_encoder("tfidf")
