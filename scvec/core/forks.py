"""Telling that a process was forked from one in which scvec had started threads: they do not live through a fork.

Those of polars and Lance are waited for without end in such a child, or it crashes; forks are multiprocessing's default
on Linux before Python 3.14. Opening a table starts Lance's; importing scvec starts none.
"""

from __future__ import annotations

import os

from scvec.errors import InputError

_computed_in: int | None = None
"""The process in which threads were started; a fork copies it."""


def computing() -> None:
    """Note that this process is about to start threads, unless it is a child that must not.

    Raises
    ------
    InputError
        As `check_fork`.
    """
    global _computed_in  # it is about the process
    check_fork()
    _computed_in = os.getpid()


def check_fork() -> None:
    """Raise `InputError` if this process was forked from one with threads, for which it would wait without end."""
    if _computed_in not in (None, os.getpid()):
        raise InputError(
            "this process was forked from one in which scvec had opened an atlas or computed, and its threads are gone",
            "a process that starts anew",
            'multiprocessing.get_context("spawn"), also as `mp_context` of ProcessPoolExecutor',
        )
