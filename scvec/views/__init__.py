"""Several views of a cell, whose mistakes differ, called together."""

from scvec.views.joined import Joining, joined
from scvec.views.registry import VIEWS, fit_views
from scvec.views.view import Labelled, View

__all__ = ["VIEWS", "Joining", "Labelled", "View", "fit_views", "joined"]
