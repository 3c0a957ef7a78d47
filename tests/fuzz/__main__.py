"""Reads mutants in a process of its own, which may die of them.

Usage: ``python -m tests.fuzz FORMAT SEED``, or, for the tests, lines ``FORMAT FIRST LAST`` on standard input: a line is
printed before each mutant, and one with what is wrong after it.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import tempfile
import warnings
import zlib
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from scvec.errors import ScvecError
from tests.fuzz.mutants import damage
from tests.fuzz.targets import TARGETS, Answer, Target, copies, same, shown

SECONDS = 15
MORE_BYTES = 3 * 2**30
"""What a mutant may take beyond what the process has."""


class TooSlowError(BaseException):
    """A mutant takes too long; no `Exception`, so that no reader catches it."""


def judged(name: str, seed: int, target: Target, path: Path, whole: Answer) -> str:
    """Damage a file, read it, and return what is wrong with the answer; "" for nothing.

    `whole` is the answer of the file before it was damaged, which is right too where the reference reads nothing.
    """
    damage(path, np.random.default_rng([zlib.crc32(name.encode()), seed]))
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = target.read(path)
    except ScvecError as error:
        return _unclear(error)
    except TooSlowError:
        return f"no end in {SECONDS} seconds"
    except BaseException as error:  # noqa: BLE001  # panics of Rust are no Exceptions
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    faults = [_unclear(one) for one in answer.values() if isinstance(one, ScvecError)]
    return next(filter(None, faults), "") or _different(target, path, answer, whole)


def _unclear(error: ScvecError) -> str:
    text = str(error)
    return "" if text.isprintable() and len(text) < 2000 else f"an error that is not one printable line: {text!r:.200}"


def _different(target: Target, path: Path, answer: Answer, whole: Answer) -> str:
    if target.reference is None:
        return ""
    expected = target.reference(path, answer)
    for key, value in answer.items():
        if isinstance(value, ScvecError) or (key in expected and same(value, expected[key])):
            continue
        if key in expected or key not in whole or not same(value, whole[key]):
            return f"{key} is {shown(value)}, by the reference {shown(expected.get(key))}"
    return ""


def _run(name: str, first: int, last: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = copies(TARGETS[name], Path(folder))
        whole = TARGETS[name].read(next(made))
        for seed in range(first, last):
            _say(at=seed)
            if wrong := judged(name, seed, TARGETS[name], next(made), whole):
                _say(seed=seed, wrong=wrong.replace(folder, "")[:400])
    _say(done=True)


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)  # noqa: T201


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlowError


def main() -> None:
    """Read the mutants that are asked for."""
    signal.signal(signal.SIGALRM, _too_slow)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MORE_BYTES, taken + MORE_BYTES))
    if len(sys.argv) > 2:
        _run(sys.argv[1], int(sys.argv[2]), int(sys.argv[2]) + 1)
        return
    for line in sys.stdin:
        name, first, last = line.split()
        _run(name, int(first), int(last))


if __name__ == "__main__":
    main()
