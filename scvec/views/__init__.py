"""Several views of a cell, whose mistakes differ, called together."""

from scvec.views.joined import Joining, joined
from scvec.views.registry import VIEWS, fit_views
from scvec.views.together import NEIGHBORS, Points, Settled, Views
from scvec.views.view import Labelled, View

__all__ = ["NEIGHBORS", "VIEWS", "Joining", "Labelled", "Points", "Settled", "View", "Views", "fit_views", "joined"]
