"""Mutants of each format are answered as by the reference reader, or refused by one `ScvecError`."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, same

N_MUTANTS = int(os.environ.get("SCVEC_MUTANTS", "50"))
"""Mutants of each format."""

PATIENCE, AT_FIRST = 20, 120
"""Seconds after which a process that says nothing is ended; at first it imports and compiles."""

DIED = "the process died, or did not end"
OF_HDF5, SHARE_OF_HDF5 = ("h5ad", "tenx"), 0.05
"""Of files whose bytes are damaged, HDF5's own library loops on some, where no Python code can end it."""

SLOW = {"store": 5}
"""Formats whose mutants take longer: read one in so many."""


class Reader:
    """A process that reads mutants; another takes over where one died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def faults(self, name: str, n: int) -> dict[int, str]:
        """Return what is wrong, by seed."""
        found: dict[int, str] = {}
        first = 0
        while first < n:
            process, at = self._started(), first
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{name} {first} {n}\n")
            process.stdin.flush()
            patience = AT_FIRST
            while line := self._line(process, patience):
                said, patience = json.loads(line), PATIENCE
                at = said.get("at", at)
                if "wrong" in said:
                    found[said["seed"]] = said["wrong"]
                if "done" in said:
                    return found
            process.kill()
            found[at] = DIED
            self.stop()
            first = at + 1
        return found

    @staticmethod
    def _line(process: subprocess.Popen[str], patience: int) -> str:
        """Return the next line; "" if the process has died, or says nothing for too long."""
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], patience)
        return process.stdout.readline() if ready else ""

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        return self._process

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_mutants_are_answered_rightly_or_refused(name: str, reader: Reader) -> None:
    n = max(1, N_MUTANTS // SLOW.get(name, 1))
    faults = reader.faults(name, n)
    if name.startswith(OF_HDF5) and list(faults.values()).count(DIED) <= max(1, SHARE_OF_HDF5 * n):
        faults = {seed: wrong for seed, wrong in faults.items() if wrong != DIED}
    shown = "\n".join(f"python -m tests.fuzz {name} {seed}: {wrong}" for seed, wrong in sorted(faults.items()))
    assert not faults, f"{len(faults)} mutants\n{shown}"


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_not_damaged_is_read(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    path = target.make(tmp_path)
    answer = target.read(path)
    assert answer
    assert not any(isinstance(one, Exception) for one in answer.values())
    if target.reference is not None:
        for key, value in target.reference(path, answer).items():
            assert same(answer[key], value), key
