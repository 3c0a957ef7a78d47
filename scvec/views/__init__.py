"""Several views of a cell, whose mistakes differ, called together."""

from scvec.views.joining import Joining, fit_joining, joined
from scvec.views.registry import VIEWS, check_names, fit_views
from scvec.views.shift import Shift
from scvec.views.together import NEIGHBORS, Points, Settled, Views
from scvec.views.view import Labelled, View

__all__ = [
    "NEIGHBORS",
    "VIEWS",
    "Joining",
    "Labelled",
    "Points",
    "Settled",
    "Shift",
    "View",
    "Views",
    "check_names",
    "fit_joining",
    "fit_views",
    "joined",
]
