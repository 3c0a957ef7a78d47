"""A readout: what it reads, what is exact, what it learns, and what each ablation takes from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import scvec as sv
from scvec.core.types import silent
from scvec.interpret import Readout, ReadoutSpec, predict, train
from scvec.interpret.readout import backbone as backbones
from scvec.interpret.readout import dataset as datasets
from scvec.interpret.readout import modules as modules
from scvec.interpret.readout.loop import batches_of
from scvec.interpret.readout.sentences import lengths, ranked, shuffled
from scvec.models.causal_lm import load_llm
from tests import toy, workers
from tests.toy_llm import toy_llm

pytest.importorskip("transformers")

SMALL: dict[str, Any] = {"encoder": "hash", "n_genes": 24, "hidden": 32, "readout_hidden": 16, "batch_cells": 8}


def small(**more: Any) -> ReadoutSpec:
    return ReadoutSpec(**{"model": toy_llm(), "epochs": 5, "learning_rate": 3e-3, **SMALL, **more})


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """One thread: sums come in one order, and none waits for another where the cores are busy."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[workers.number() % len(cores)]})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture
def query(files: Path) -> Path:
    return files / "query.h5ad"


TRUTH = toy.cells(41, seed=1).obs["cell_type"].to_numpy(str)


def fitted(store: sv.Store, files: Path, **more: Any) -> Readout:
    return train(store, None, files / "reference.h5ad", label_key="cell_type", spec=small(**more))


def right(readout: Readout, query: Path) -> float:
    return float((predict(query, readout).label == TRUTH).mean())


def plainly_ranked(row: np.ndarray[Any, Any], n: int) -> list[int]:
    order = sorted(np.flatnonzero(row > 0).tolist(), key=lambda gene: (-row[gene], gene))[:n]
    return order + [-1] * (n - len(order))


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=6),
    st.integers(1, 9),
    st.booleans(),
)
def test_genes_are_ranked_by_value_then_by_place_and_zeros_are_left_out(
    cells: list[list[int]], n: int, stored: bool
) -> None:
    dense = np.array(cells, np.float32)
    known = sp.csr_matrix(dense)
    if stored:  # zeros that are written down
        known = sp.csr_matrix((dense.ravel(), np.tile(np.arange(7), len(dense)), np.arange(len(dense) + 1) * 7))
    assert ranked(known, n).tolist() == [plainly_ranked(row, n) for row in dense]


@given(st.integers(0, 5), st.integers(0, 1000))
def test_an_order_is_drawn_by_seed_and_place_and_keeps_the_genes(seed: int, first: int) -> None:
    rows = np.array([[*range(12), -1, -1], [*range(14)], [-1] * 14], np.int32)
    mixed = shuffled(rows, seed, first)
    assert np.array_equal(np.sort(mixed, axis=1), np.sort(rows, axis=1))
    assert lengths(mixed).tolist() == [12, 14, 0]
    assert (mixed[0, 12:] == -1).all()
    assert np.array_equal(mixed[1:], shuffled(rows[1:], seed, first + 1))  # whatever the batch
    assert not np.array_equal(mixed, shuffled(rows, seed + 1, first))


def test_counts_and_their_logarithms_are_read_alike(store: sv.Store, tmp_path: Path) -> None:
    rows = []
    for scale in ("counts", "log1p"):
        toy.cells(30, scale=scale).write_h5ad(tmp_path / f"{scale}.h5ad")
        rows.append(read(store, tmp_path / f"{scale}.h5ad").rows)
    assert np.array_equal(rows[0], rows[1])


def read(
    store: sv.Store, path: Path, spec: ReadoutSpec | None = None, batch_key: str | None = None
) -> datasets.Dataset:
    return datasets.read_dataset(
        store,
        path,
        spec or small(),
        label_key="cell_type",
        batch_key=batch_key,
        release=None,
        reading=sv.ReadOptions(),
        progress=silent,
    )


def test_what_is_held_out(store: sv.Store, files: Path) -> None:
    whole = read(store, files / "reference.h5ad")
    fold = whole.split(0.25, 0)
    assert sorted([*fold.seen, *fold.held]) == list(range(len(whole.codes)))
    assert np.bincount(whole.codes[fold.held]).tolist() == [round(n / 4) for n in np.bincount(whole.codes)]
    assert not np.array_equal(fold.held, whole.split(0.25, 1).held)
    donors = read(store, files / "reference.h5ad", batch_key="donor")
    held = donors.split(0.1, 0)
    assert len(set(donors.batches[held.held])) == 1
    assert not set(donors.batches[held.held]) & set(donors.batches[held.seen])
    alone = replace(donors, codes=np.where(np.arange(len(donors.codes)) == held.held[0], 3, donors.codes % 3))
    assert held.held[0] in alone.split(0.1, 0).seen  # else there is no cell to learn the label from
    with pytest.raises(sv.errors.LabelError, match="no label has two cells"):
        replace(donors, codes=np.arange(len(donors.codes))).split(0.1, 0)
    with pytest.raises(sv.errors.LabelError, match="no label has two cells"):
        replace(whole, codes=np.arange(4), batches=whole.batches[:4], labels=("a", "b", "c", "d")).split(0.5, 0)


def test_a_batch_of_a_label_of_its_own_is_learnt_from(store: sv.Store, files: Path) -> None:
    whole = read(store, files / "reference.h5ad")
    n = len(whole.codes)
    place = np.arange(n)
    sorted_cells = place < n // 10
    batches = np.where(sorted_cells, "sorted", np.where(place % 2, "one", "two")).astype(object)
    mixed = replace(whole, codes=np.where(sorted_cells, 3, place % 3), batches=batches)
    fold = mixed.split(0.1, 0)  # the sorted cells are the share that is asked for
    assert sorted_cells[fold.seen].sum() == sorted_cells.sum()
    assert len(set(batches[fold.held])) == 1


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 3))
def test_every_cell_is_in_one_batch_of_an_epoch(n: int, batch: int, seed: int) -> None:
    rows = np.where(np.arange(6) < np.arange(n)[:, None] % 6 + 1, 1, -1).astype(np.int32)
    found = batches_of(rows, np.arange(n), batch, np.random.default_rng(seed))
    assert sorted(np.concatenate(found).tolist()) == list(range(n))
    assert len(found) == -(-n // batch)
    assert max(map(len, found)) <= batch


class Cells:
    """A backbone with modules, and sentences of several lengths for them."""

    def __init__(self, cached: bool = True) -> None:
        import torch

        self.backbone = backbones.FrozenLLM(load_llm(toy_llm()), "The genes of a cell", cached)
        self.modules = modules.new_modules(10, 3, small(), self.backbone)
        self.vectors = torch.randn(30, 10, generator=torch.Generator().manual_seed(1))
        draw = np.random.default_rng(0)
        self.rows = np.full((6, 12), -1, np.int32)
        for row, length in enumerate((12, 3, 7, 1, 12, 5)):
            self.rows[row, :length] = draw.permutation(30)[:length]

    def logits(self, rows: slice | list[int]) -> np.ndarray[Any, Any]:
        found = modules.logits(self.modules, self.backbone, self.vectors, self.rows[rows])
        array: np.ndarray[Any, Any] = found.detach().numpy()
        return array


def test_an_instruction_that_is_read_once_says_the_same() -> None:
    once, whole = (Cells(cached).logits(slice(None)) for cached in (True, False))
    assert np.abs(once - whole).max() < 1e-5
    assert np.abs(once[0] - once[4]).max() > 1e-3  # which are other cells


def test_what_a_model_is_told_is_the_instruction_the_genes_and_the_class_token() -> None:
    import torch

    cells = Cells()
    llm, row = cells.backbone.llm, cells.rows[2][:7]
    tokens = modules.project(
        cells.modules, cells.vectors[torch.from_numpy(row.astype(np.int64))], cells.backbone.token_norm
    )
    said = llm.model.get_input_embeddings()(torch.tensor(llm.tokenizer("The genes of a cell")["input_ids"]))
    sequence = torch.cat([said, tokens, cells.modules["class_token"][None]])[None]
    last = llm.model(inputs_embeds=sequence, output_hidden_states=True).hidden_states[-1][0, -1]
    plain = modules._mlp(cells.modules, "readout", last[None])[0]
    assert np.abs(plain.detach().numpy() - cells.logits([2])[0]).max() < 1e-5


def test_a_model_that_forgets_reads_the_instruction_with_every_batch() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    sizes: dict[str, Any] = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}
    llm = load_llm(toy_llm())
    assert backbones.remembers_all(llm)
    for window, all_of_it in ((8, False), (None, True)):
        model = MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=window))
        assert backbones.remembers_all(replace(llm, model=model)) == all_of_it


def test_a_cell_is_read_alike_whoever_is_in_its_batch() -> None:
    cells = Cells()
    together = cells.logits(slice(None))
    alone = np.concatenate([cells.logits([i]) for i in range(6)])
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(together - cells.logits([5, 4, 3, 2, 1, 0])[::-1]).max() < 1e-5


def test_genes_have_the_length_of_the_models_tokens() -> None:
    cells = Cells()
    norms = cells.backbone.llm.model.get_input_embeddings().weight.norm(dim=1)
    assert cells.backbone.token_norm == pytest.approx(float(norms.mean()), rel=1e-5)
    lengths_of = modules.project(cells.modules, cells.vectors, cells.backbone.token_norm).norm(dim=1)
    assert lengths_of.detach().numpy() == pytest.approx(cells.backbone.token_norm, rel=1e-3)
    assert float(cells.modules["class_token"].norm()) == pytest.approx(cells.backbone.token_norm, rel=1e-5)


def test_only_the_parts_are_trained(store: sv.Store, files: Path) -> None:
    readout = fitted(store, files, epochs=1)
    backbone = readout.backbone
    assert isinstance(backbone, backbones.FrozenLLM)
    assert backbone.revision == load_llm(toy_llm()).revision
    assert {name.split(".")[0] for name in readout.modules} == {"gene", "class_token", "readout"}
    before = modules.new_modules(readout.vectors.shape[1], 4, small(), backbone)
    assert all((before[name] != one).any() for name, one in readout.modules.items())
    assert not any(one.requires_grad or one.grad is not None for one in backbone.llm.model.parameters())


def test_it_learns_what_is_there_and_nothing_where_nothing_is(
    store: sv.Store, files: Path, tmp_path: Path, query: Path
) -> None:
    readout = fitted(store, files)
    assert readout.best["accuracy"] > 0.95
    assert readout.best["macro_f1"] > 0.95
    assert readout.history[-1]["loss"] < readout.history[0]["loss"] / 2
    assert right(readout, query) > 0.95
    cells = toy.cells(120)
    cells.obs["cell_type"] = np.random.default_rng(0).permutation(cells.obs["cell_type"].to_numpy(str))
    cells.write_h5ad(tmp_path / "shuffled.h5ad")
    blind = train(store, None, tmp_path / "shuffled.h5ad", label_key="cell_type", spec=small(validation=0.5))
    assert blind.best["accuracy"] < 0.45  # chance is 0.25


def test_the_best_epoch_is_kept(store: sv.Store, files: Path, query: Path) -> None:
    import torch

    readout = fitted(store, files, epochs=3, learning_rate=0.05, batch_cells=4)
    losses = [one["validation_loss"] for one in readout.history]
    assert [one["epoch"] for one in readout.history] == [1, 2, 3]
    assert readout.best["validation_loss"] == min(losses)
    dataset = read(store, files / "reference.h5ad")
    held = dataset.split(0.1, 0).held
    found = modules.logits(readout.modules, readout.backbone, readout.vectors, dataset.rows[held]).detach()
    loss = torch.nn.functional.cross_entropy(found, torch.from_numpy(dataset.codes[held]))
    assert float(loss) == pytest.approx(min(losses), abs=1e-4)


def test_each_ablation_does_what_it_says(store: sv.Store, files: Path, query: Path) -> None:
    seed = {"random_state": 3, "epochs": 4}
    kinds = ("none", "random-llm", "no-llm", "shuffled-order", "random-vectors")
    made = {kind: fitted(store, files, ablation=kind, **seed) for kind in kinds}
    chances = [predict(query, one).probabilities for one in made.values()]
    assert all(np.abs(a - b).max() > 1e-4 for i, a in enumerate(chances) for b in chances[:i])
    whole = made["none"]
    assert made["random-llm"].backbone.revision != whole.backbone.revision
    assert made["no-llm"].backbone.revision == ""
    assert "class_token" not in made["no-llm"].modules
    assert made["no-llm"].backbone.width == 256
    assert made["no-llm"].manifest["llm"] is None
    assert made["shuffled-order"].backbone.revision == whole.backbone.revision
    assert np.array_equal(made["shuffled-order"].genes.vectors, whole.genes.vectors)
    assert made["random-vectors"].genes.vectors.shape == whole.genes.vectors.shape
    assert not np.array_equal(made["random-vectors"].genes.vectors, whole.genes.vectors)


def test_without_a_language_model_none_is_loaded_and_order_says_nothing(
    store: sv.Store, files: Path, query: Path
) -> None:
    spec = small(model="/nowhere", ablation="no-llm", width=20)
    readout = train(store, None, files / "reference.h5ad", label_key="cell_type", spec=spec)
    assert right(readout, query) > 0.95
    rows = read(store, query).rows
    mixed = shuffled(rows, 0, 0)
    found = [
        modules.logits(readout.modules, readout.backbone, readout.vectors, one).detach().numpy()
        for one in (rows, mixed)
    ]
    assert np.abs(found[0] - found[1]).max() < 1e-4
    llm = Cells()
    straight, turned = llm.rows[[0]], llm.rows[[0]][:, ::-1]
    told = [
        modules.logits(llm.modules, llm.backbone, llm.vectors, one).detach().numpy()
        for one in (straight, turned.copy())
    ]
    assert np.abs(told[0] - told[1]).max() > 1e-3


def test_bfloat16_is_near(store: sv.Store, files: Path, query: Path) -> None:
    readout = fitted(store, files, precision="bfloat16")
    assert right(readout, query) > 0.95
    assert all(str(one.dtype) == "torch.float32" for one in readout.modules.values())


def test_a_seed_decides(store: sv.Store, files: Path, query: Path) -> None:
    first, again, other = (predict(query, fitted(store, files, epochs=1, random_state=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.probabilities, other.probabilities)


def test_a_cell_without_genes_is_unknown(store: sv.Store, files: Path, tmp_path: Path) -> None:
    cells = toy.cells(20, form="dense")
    cells.X[3] = 0
    cells.write_h5ad(tmp_path / "one.h5ad")
    readout = train(store, None, tmp_path / "one.h5ad", label_key="cell_type", spec=small(epochs=1, ablation="no-llm"))
    found = predict(tmp_path / "one.h5ad", readout)
    assert found.label[3] == sv.UNKNOWN
    assert np.isnan(found.probabilities[3]).all()
    assert np.isnan(found.score).sum() == 1
    frame = found.to_frame()
    assert frame.columns[:3] == ["obs_name", "label", "score"]
    assert frame["score"].null_count() == 1
    rest = np.delete(found.probabilities, 3, 0)
    assert rest.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert set(found.label) - {sv.UNKNOWN} <= set(toy.LABELS)


def test_a_loss_that_is_no_number_ends_it(store: sv.Store, files: Path) -> None:
    with pytest.raises(sv.errors.InputError, match="lower `learning_rate`"):
        fitted(store, files, ablation="no-llm", learning_rate=1e6, weight_decay=1.0)


def test_a_last_step_after_which_nothing_is_a_number_ends_it(store: sv.Store, files: Path) -> None:
    with pytest.raises(sv.errors.InputError, match="step 1 of epoch 1 the loss is nan"):
        fitted(store, files, ablation="no-llm", epochs=1, batch_cells=400, learning_rate=1e6, weight_decay=1e6)


def test_more_genes_than_there_are_take_no_room(store: sv.Store, files: Path) -> None:
    many, all_of_them = (read(store, files / "reference.h5ad", small(n_genes=n)).rows for n in (10**12, 240))
    assert np.array_equal(many, all_of_them)


def test_too_many_genes_for_a_model_are_refused(store: sv.Store, files: Path) -> None:
    with pytest.raises(sv.errors.InputError, match=r"4,096.*`n_genes` to at most 40\d\d"):
        fitted(store, files, n_genes=4096)


WRONG: dict[str, Any] = {
    "model": None,
    "encoder": "",
    "encoder_revision": 3,
    "instruction": "  ",
    "n_genes": 0,
    "hidden": 1.5,
    "readout_hidden": -1,
    "width": True,
    "epochs": 0,
    "batch_cells": "8",
    "learning_rate": 0,
    "weight_decay": -0.1,
    "validation": 1,
    "precision": "float64",
    "random_state": -1,
    "ablation": "all",
}


@pytest.mark.parametrize("name", ["hidden", "readout_hidden", "width", "random_state"])
def test_values_out_of_bounds_are_refused(name: str) -> None:
    with pytest.raises(sv.errors.InputError, match=f"`{name}` must be "):
        small(**{name: 2**64})


@pytest.mark.parametrize("name", WRONG)
def test_an_invalid_value_is_named(name: str) -> None:
    with pytest.raises(sv.errors.InputError, match=f"`{name}` must be "):
        ReadoutSpec(**{"model": "x", name: WRONG[name]})


@given(
    st.builds(
        ReadoutSpec,
        model=st.just("x"),
        n_genes=st.integers(1, 4000),
        instruction=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1),
        learning_rate=st.floats(1e-6, 1),
        validation=st.floats(0.01, 0.99),
        ablation=st.sampled_from(["none", "no-llm", "random-llm"]),
    )
)
def test_a_spec_survives_toml(spec: ReadoutSpec) -> None:
    import tomllib

    again = ReadoutSpec.from_dict(tomllib.loads(spec.to_toml()))
    assert again == spec
    assert again.sha256() == spec.sha256()
    assert replace(spec, epochs=spec.epochs + 1).sha256() != spec.sha256()


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text('model = "x"\nepoch = 3\n')
    with pytest.raises(sv.errors.KeyNotFoundError, match="no key of a readout 'epoch'"):
        ReadoutSpec.from_toml(tmp_path / "spec.toml")
    (tmp_path / "spec.toml").write_text("model = ")
    with pytest.raises(sv.errors.FileError, match="spec of a readout in TOML"):
        ReadoutSpec.from_toml(tmp_path / "spec.toml")
