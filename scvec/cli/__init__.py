"""The command line: parse, call one function, print."""

from scvec.cli.app import main

__all__ = ["main"]
