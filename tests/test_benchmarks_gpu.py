"""The benchmark of a GPU, in small on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu

NOT_TORCH = ("triton", "faiss", "cuvs", "scipy", "sklearn", "pandas", "polars", "pyarrow", "anndata", "h5py", "lance")


def test_all_steps_in_small(tmp_path: Path) -> None:
    assert gpu.main(["--dry", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    for step in gpu.steps_of(gpu.DRY):
        assert f"## {step.heading}" in text
        assert not any("failed" in (row.get("note") or "") for row in found[step.name] if step.name != "card")
    by_torch = [row for row in found["correct"] if row["engine"] == "torch"]
    assert [(row["same ids"], row["same distances"]) for row in by_torch] == [(1, 1)] * 4
    for name in ("exact 20000 x 46", "exact 2000 x 384", "streamed"):
        (row,) = (row for row in found[name] if row["engine"] == "torch")
        assert row["recall"] == 1
    assert found["card"]["copy"] > 0
    assert found["command"] == "python -m benchmarks.gpu --dry"


def test_without_other_packages(tmp_path: Path) -> None:
    """Torch, Numba and NumPy are enough: what else it wants is named and left out."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({NOT_TORCH}))"
    code = f"{hidden}; from benchmarks import gpu; sys.exit(gpu.main(['--dry', '--out', {str(tmp_path)!r}]))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert ran.returncode == 0, ran.stderr
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert found["faiss"] == [{"note": "FAISS is not installed"}]
    for name in ("projected", "trained"):
        assert "SciPy is not installed" in found[name][0]["note"]
    assert not any(
        "failed" in (row.get("note") or "") for rows in found.values() if isinstance(rows, list) for row in rows
    )


def test_a_step_that_fails_or_would_take_too_long_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_bench: gpu.Bench) -> None:
        raise RuntimeError("out of memory\nand more")

    def last(_bench: gpu.Bench) -> None:
        kept = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
        assert kept["a"] == [{"note": "failed: RuntimeError: out of memory"}]
        raise KeyboardInterrupt

    steps = [gpu.Step("a", "A", 0, broken), gpu.Step("b", "B", 600, broken), gpu.Step("c", "C", 0, last)]
    monkeypatch.setattr(gpu, "steps_of", lambda _sizes: steps)
    with pytest.raises(KeyboardInterrupt):
        gpu.main(["--dry", "--minutes", "5", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert found["b"][0]["note"].startswith("left out: it needs 600 s, and ")
    assert "c" not in found
    assert not list(tmp_path.glob(".*"))
    capsys.readouterr()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    assert gpu.main(["--out", str(tmp_path / "none")]) == 2
    assert time.monotonic() - start < 60
    assert "no usable GPU" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_numbers_have_the_digits_that_they_need() -> None:
    values = [{"a": 0.123456, "b": 33_000_000}, {"a": float("nan"), "note": "why"}]
    assert gpu.table(values).splitlines()[2:] == ["| 0.1235 | 33,000,000 |  |", "| not measured |  | why |"]
