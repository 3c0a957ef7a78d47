"""scInterpreter's readout (arXiv 2402.12405): a frozen LLM reads a cell's genes; modules around it are trained."""

from scvec.interpret.readout.predicting import Predicted, predict, second_opinion
from scvec.interpret.readout.readout import Readout, open_readout
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.interpret.readout.training import train

__all__ = ["Predicted", "Readout", "ReadoutSpec", "open_readout", "predict", "second_opinion", "train"]
