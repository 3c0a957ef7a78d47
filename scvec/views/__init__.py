"""Several views of a cell, whose mistakes differ, called together."""

from scvec.views.joined import Joining, fit_joining, joined
from scvec.views.registry import PANEL, VIEWS, WHOLE, fit_views
from scvec.views.together import Together, called
from scvec.views.view import Labelled, View

__all__ = [
    "PANEL",
    "VIEWS",
    "WHOLE",
    "Joining",
    "Labelled",
    "Together",
    "View",
    "called",
    "fit_joining",
    "fit_views",
    "joined",
]
