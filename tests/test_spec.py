from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from scvec.embed.recipe import RECIPES, Recipe, Refinement, recipe
from scvec.errors import FileError, InputError, KeyNotFoundError

COUNTS = st.integers(1, 10**6)
WEIGHT = st.floats(0, 1e3)
SHARE = st.floats(0, 1, exclude_max=True)


@st.composite
def refinements(draw: st.DrawFn) -> Refinement:
    loss: Any = draw(st.sampled_from(["supcon", "triplet"]))
    scale = draw(st.none() | st.floats(1e-3, 10))
    own: Any = {"temperature" if loss == "supcon" else "margin": scale}
    return Refinement(
        loss=loss,
        dimension=draw(COUNTS),
        proxy=draw(WEIGHT),
        probe=draw(WEIGHT),
        gene_dropout=draw(SHARE),
        thinning=draw(SHARE),
        text_weight=draw(WEIGHT),
        decay=draw(WEIGHT),
        learning_rate=draw(st.floats(1e-6, 10)),
        steps=draw(COUNTS),
        batch_cells=draw(COUNTS),
        folds=draw(st.integers(2, 9)),
        **own,
    )


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
DRAWN = st.builds(Recipe, name=st.just("r"), weights=st.just("random"), dimension=COUNTS, random_state=COUNTS)
HEADS = st.builds(
    Recipe,
    name=st.just("h"),
    weights=st.sampled_from(["text", "shuffled"]),
    encoder=st.just("hash"),
    fit_cells=COUNTS,
    refine=st.none() | refinements(),
)
UNREAD = st.builds(Recipe, name=st.just("u"), weights=st.sampled_from(["free", "auto"]), refine=refinements())


@given(TEXT | SVD | DRAWN | HEADS | UNREAD)
def test_toml_round_trip(tmp_path_factory: pytest.TempPathFactory, spec: Recipe) -> None:
    path = tmp_path_factory.mktemp("toml") / "recipe.toml"
    path.write_text(tomli_w.dumps(spec.to_dict()), encoding="utf-8")
    again = Recipe.from_toml(path)
    assert again == spec
    assert again.sha256() == spec.sha256()
    assert hash(again) == hash(spec)
    assert Recipe.from_dict(spec.to_dict()) == spec


def test_an_encoder_decides_what_is_left_open() -> None:
    refined = RECIPES["refined"]
    text = Recipe(name="refined", encoder="hash", refine=Refinement(), views=refined.views)
    assert (refined.weights, refined.reads_text) == ("auto", False)
    assert refined.with_encoder("hash") == text
    assert replace(refined, encoder="hash") == text
    assert refined.with_encoder(None) == refined
    assert (refined.without_text().weights, text.without_text()) == ("free", refined.without_text())


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
    shuffled = [replace(base, weights="shuffled"), replace(base, weights="shuffled", random_state=1)]
    assert len({one.sha256() for one in [base, *others, *shuffled]}) == 9


def test_every_field_of_the_refinement_counts_for_the_identity() -> None:
    """But how a number is written does not."""
    base = Recipe(name="a", encoder="hash", refine=Refinement())
    triplet = Refinement(loss="triplet")
    changes: dict[str, Any] = {
        "dimension": 31,
        "temperature": 0.3,
        "proxy": 0.5,
        "probe": 0.0,
        "gene_dropout": 0.11,
        "thinning": 0.1,
        "text_weight": 0.77,
        "decay": 0.0,
        "learning_rate": 0.13,
        "steps": 7,
        "batch_cells": 16,
        "folds": 2,
    }
    heads = [replace(Refinement(), **{key: value}) for key, value in changes.items()]
    heads += [triplet, replace(triplet, margin=0.3)]
    assert changes.keys() | {"loss", "margin"} == {one.name for one in fields(Refinement)}
    every = [base, replace(base, refine=None), *(replace(base, refine=head) for head in heads)]
    assert len({one.sha256() for one in every}) == len(every)
    same = Recipe.from_dict({"name": "a", "encoder": "hash", "refine": {"proxy": 1, "temperature": 0.2}})
    assert (same, same.sha256()) == (base, base.sha256())


def test_only_the_loss_s_own_scale_is_there() -> None:
    assert (Refinement().temperature, Refinement().margin) == (0.2, None)
    assert (Refinement(loss="triplet").temperature, Refinement(loss="triplet").margin) == (None, 0.2)


@pytest.mark.parametrize(
    "values",
    [
        {"loss": "arcface"},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"margin": 0.2},
        {"loss": "triplet", "temperature": 0.2},
        {"loss": "triplet", "margin": -1},
        {"learning_rate": 0},
        {"learning_rate": float("inf")},
        {"proxy": -1},
        {"probe": -0.1},
        {"probe": "yes"},
        {"text_weight": float("nan")},
        {"decay": -1e-9},
        {"gene_dropout": 1},
        {"gene_dropout": -0.1},
        {"thinning": 1.0},
        {"dimension": 0},
        {"dimension": 2.5},
        {"steps": 0},
        {"steps": True},
        {"batch_cells": 0},
        {"folds": 1},
        {"stepps": 10},
    ],
    ids=str,
)
def test_wrong_refinements_are_refused(values: dict[str, Any]) -> None:
    """In one line that names the field."""
    with pytest.raises(InputError) as caught:
        Recipe.from_dict({"name": "x", "encoder": "hash", "refine": values})
    assert "\n" not in str(caught.value)
    if values != {"probe": "yes"}:
        assert list(values)[-1] in str(caught.value)


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
        {"name": "x", "weights": "free"},
        {"name": "x", "weights": "auto"},
        {"name": "x", "weights": "free", "encoder": "hash", "refine": {}},
        {"name": "x", "weights": "free", "dimension": 5, "refine": {}},
        {"name": "x", "weights": "svd", "dimension": 5, "encoder": "hash"},
        {"name": "x", "weights": "magic", "encoder": "hash"},
        {"name": "x", "encoder": "hash", "random_state": -1},
        {"name": "x", "weights": "shuffled"},
        {"name": "x", "weights": "random"},
        {"name": "x", "weights": "random", "dimension": 5, "encoder": "hash"},
        {"name": "x", "weights": "shuffled", "encoder": "hash", "dimension": 5},
        {"name": "x", "encoder": "hash", "refine": True},
        {"name": "x", "encoder": "hash", "refine": "supcon"},
        {"name": "x", "encoder": "hash", "refine": {}, "top_n": 5},
        {"name": "x", "encoder": "hash", "refine": {}, "centre": True},
        {"name": "x", "weights": "svd", "dimension": 5, "refine": {}},
    ],
)
def test_wrong_recipes_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Recipe.from_dict(values)


def test_recipe_by_name_or_file(tmp_path: Path) -> None:
    assert recipe("genept-w") is RECIPES["genept-w"]
    with pytest.raises(KeyNotFoundError, match="refined, genept-w, topn, genept-s, expression, random"):
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
