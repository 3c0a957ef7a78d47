"""Measures recipes, and the controls that they have to beat, on the tasks of a suite: `Suite.read`, `run`."""

from scvec.bench import records
from scvec.bench.planning import Plan, Run, plan
from scvec.bench.results import Results, Runs, runs_of
from scvec.bench.running import run
from scvec.bench.suite import HoldOut, Suite, Task

__all__ = ["HoldOut", "Plan", "Results", "Run", "Runs", "Suite", "Task", "plan", "records", "run", "runs_of"]
