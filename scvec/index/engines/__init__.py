"""Engines: what answers a search, and where; `rule` decides, once for each index that is opened."""

from __future__ import annotations

from scvec.core.device import SearchEngine
from scvec.index.engines.lacks import Installed, Lack, installed
from scvec.index.engines.rule import CPU, NAMES, Engine, Kind, check, engine_for, on_cpu, unusable

__all__ = [
    "CPU",
    "NAMES",
    "Engine",
    "Installed",
    "Kind",
    "Lack",
    "SearchEngine",
    "check",
    "engine_for",
    "installed",
    "on_cpu",
    "unusable",
]
