"""What genes contribute to how far a cell's vector lies along a direction: `contributions`, `gradients`, loops."""

from scvec.embed.contributions.contributions import Contributions
from scvec.embed.contributions.gradients import along_path, fixed

__all__ = ["Contributions", "along_path", "fixed"]
