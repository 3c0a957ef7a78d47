"""Language models: loaded from a folder and from a GGUF file, known by their weights, drawn anew as a control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scvec.errors import FileError, ScvecError
from scvec.models.causal_lm import load_llm, randomised
from tests.toy_llm import smollm2_gguf, toy_llm

pytest.importorskip("transformers")


def test_a_folder_is_loaded_frozen_and_known_by_its_weights() -> None:
    llm = load_llm(toy_llm())
    assert llm.width == 32
    assert not any(one.requires_grad for one in llm.model.parameters())
    assert llm.revision == load_llm(toy_llm()).revision
    assert llm.revision != load_llm(toy_llm(seed=1)).revision
    assert llm.revision != load_llm(toy_llm(), precision="bfloat16").revision
    assert llm.name == Path(toy_llm()).name


def test_random_weights_have_the_same_shape_and_are_the_seeds() -> None:
    import torch

    llm = load_llm(toy_llm())
    state = torch.random.get_rng_state()
    drawn, again, other = randomised(llm, 1), randomised(llm, 1), randomised(llm, 2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert drawn.revision == again.revision
    assert len({llm.revision, drawn.revision, other.revision}) == 3
    shapes = [[tuple(one.shape) for one in each.model.parameters()] for each in (llm, drawn)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/nowhere/model", "do not exist"),
        ("/nowhere/model.gguf", "do not exist"),
        ("nobody/has-this-model", "use `download`"),
    ],
)
def test_what_is_not_here_is_said_in_a_line(source: str, said: str) -> None:
    with pytest.raises(ScvecError, match=said):
        load_llm(source)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 40)
    with pytest.raises(FileError, match="cannot be loaded"):
        load_llm(str(tmp_path / "broken.gguf"))


def test_weights_that_are_pickled_are_not_read(tmp_path: Path) -> None:
    import torch

    llm = load_llm(toy_llm())
    llm.model.config.save_pretrained(tmp_path)
    llm.tokenizer.save_pretrained(tmp_path)
    torch.save(llm.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(FileError, match="cannot be loaded"):
        load_llm(str(tmp_path))


@pytest.mark.slow
def test_a_gguf_file_is_read_and_says_something_sensible() -> None:
    import torch

    llm = load_llm(smollm2_gguf())
    assert llm.width == 576
    tokens = llm.tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        logits = llm.model(**tokens).logits[0, -1].numpy()
    paris, rome = (llm.tokenizer(text)["input_ids"][0] for text in (" Paris", " Rome"))
    assert logits[paris] > logits[rome]
    assert np.isfinite(logits).all()
