"""Calls against an author's labels: metrics, baselines, plots, the files of an evaluation."""

from scvec.evaluation.result import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
