"""Replacing a local folder without a moment in which neither the old nor the new one is there."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fs.h
RENAME_SWAP = 2  # macOS's sys/stdio.h

MOST_TRIES = 20
"""Tries to take a name that other processes take at the same time."""


def aside(target: Path) -> Path:
    """Return where an older folder is set aside while another takes its place."""
    return target.with_name(f".{target.name}.old")


def replace_folder(part: Path, target: Path) -> None:
    """Make the folder `part` the one at `target`, in place of an older one.

    The system exchanges them at once. Where it cannot, as on some network file systems, the older one is set `aside`
    for the moment between two renamings; a process that is killed in it leaves it there, for readers and the next call.
    """
    old = aside(target)
    for attempt in range(MOST_TRIES):
        if target.is_symlink():
            target.unlink()  # what it leads to stays
        if not target.exists():
            try:
                part.rename(target)
                break
            except OSError as error:  # another process was first
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == MOST_TRIES - 1:
                    if old.exists() and not target.exists():
                        old.rename(target)
                    raise
        elif exchange(part, target):
            shutil.rmtree(part, ignore_errors=True)
            break
        else:
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two existing folders in one step; return whether this system and file system can."""
    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    try:
        if sys.platform == "darwin":
            return bool(libc.renamex_np(os.fsencode(one), os.fsencode(other), RENAME_SWAP) == 0)  # type: ignore[union-attr]
        done = libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)  # type: ignore[union-attr]
    except AttributeError:  # there is no such function
        return False
    return bool(done == 0)
