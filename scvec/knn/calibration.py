"""How far a call can be trusted, measured on held-out cells, which the head was not trained on.

Two exceptions: an SVD and a centre are fitted on all cells, without labels, and the number of steps that a head is
trained for is chosen on these cells.

Each held-out cell is called from the others. The signals of its call (share of the votes, distances, unexpected genes)
and whether it was right make a calibration: a confidence for every call, and thresholds that keep the requested error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scvec.core.files import save_arrays
from scvec.core.types import Bools, Doubles, Floats, Ints, Neighbors, freeze
from scvec.knn.voting import Votes

N_NEAREST = 3
"""The distance to a label is the mean distance of this many nearest neighbours with that label."""

MIN_CELLS = 50
"""A label with fewer calls among the held-out cells takes the threshold of all labels together."""

ARRAYS = ("called", "truth", "own_share", "share", "margin", "far", "odd")


@dataclass(frozen=True, slots=True)
class Signals:
    """The signals of n calls, from which their confidence follows.

    Attributes
    ----------
    share
        (n,) the called label's share of the votes, 0 to 1.
    margin
        (n,) how much nearer the called label is than the other labels among the neighbours, in cosine distance.
    far
        (n,) cosine distance to the called label.
    odd
        (n,) from `scvec.embed.profiles.Profiles.odd`.
    """

    share: Floats
    margin: Floats
    far: Floats
    odd: Floats


def signals(neighbors: Neighbors, codes: Ints, votes: Votes, odd: Floats) -> Signals:
    """Return the signals of calls, given (n, k) codes of the neighbours' labels; zeros without neighbours."""
    here = neighbors.ids >= 0
    own = here & (codes == votes.winner[:, None])
    last = farthest_neighbor(neighbors)
    far, other = distance_to(neighbors, own, last), distance_to(neighbors, here & ~own, last)
    share = np.take_along_axis(votes.shares, np.maximum(votes.winner, 0)[:, None], 1)[:, 0]
    called = votes.winner >= 0
    return Signals(*(np.where(called, one, 0).astype(np.float32) for one in (share, other - far, far, odd)))


def farthest_neighbor(neighbors: Neighbors) -> Floats:
    """Return (n,) the distance of the farthest neighbour; 0 where there is none."""
    return np.asarray(np.where(neighbors.ids >= 0, neighbors.distances, 0).max(axis=1), np.float32)


def distance_to(neighbors: Neighbors, chosen: Bools, last: Floats) -> Floats:
    """Return (n,) the mean distance of the nearest `N_NEAREST` chosen neighbours; `last` where none is chosen."""
    nearest = chosen & (np.cumsum(chosen, axis=1) <= N_NEAREST)
    count = nearest.sum(axis=1)
    total = np.where(nearest, neighbors.distances, 0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), last), np.float32)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Calls of held-out reference cells, with their true labels.

    Attributes
    ----------
    called, truth
        (m,) codes of labels; the truth is -1 where the other cells have none of that label.
    own_share
        (m,) the true label's share of the votes; NaN where the truth is -1.
    share, margin, far, odd
        (m,) the signals.
    """

    called: Ints
    truth: Ints
    own_share: Floats
    share: Floats
    margin: Floats
    far: Floats
    odd: Floats

    def __post_init__(self) -> None:
        for name in ARRAYS:
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @classmethod
    def of(cls, votes: Votes, found: Signals, truth: Ints) -> HeldOut:
        """Return the calls of one fold."""
        own = np.take_along_axis(votes.shares, np.maximum(truth, 0)[:, None], 1)[:, 0]
        own = np.where(truth < 0, np.nan, own).astype(np.float32)
        return cls(votes.winner, truth, own, found.share, found.margin, found.far, found.odd)

    @classmethod
    def joined(cls, parts: list[HeldOut]) -> HeldOut:
        """Return several folds as one."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in ARRAYS))

    @property
    def right(self) -> Bools:
        """(m,) whether each call was right."""
        return np.asarray(self.called == self.truth)

    @property
    def known(self) -> Bools:
        """(m,) whether each call could have been right."""
        return self.truth >= 0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence and thresholds of calls, as fitted on held-out cells. Get one from `calibrate`.

    Attributes
    ----------
    held
        The calls of the held-out cells.
    coefficients
        (5,) coefficients of the logistic regression of being right on an intercept and four signals.
    """

    held: HeldOut
    coefficients: Doubles

    def novelty(self, found: Signals) -> Floats:
        """Return (n,) how unlike the correctly called held-out cells each cell is.

        The sum of minus the logarithms of two shares: of the correctly called held-out cells, those at least as far
        from their label, and those at least as odd. The shares are conformal p-values (Vovk et al. 2005), at least
        1 / (m + 1).
        """
        far, odd = self._tails(found)
        return np.asarray(-far - odd, np.float32)

    def confidence(self, found: Signals) -> Floats:
        """Return (n,) the probability that a call is right, for a cell of a type that the reference has."""
        return _logistic(_features(found, *self._tails(found)) @ self.coefficients)

    def too_novel(self, share: float) -> float:
        """Return the novelty that at most this share of the held-out cells of known types exceeds."""
        novelty = np.sort(self.held_novelty())
        # Of m cells, the (m + 1)(1 - share)-th: a further cell exceeds it with at most that chance.
        rank = int(np.ceil((len(novelty) + 1) * (1 - share))) - 1
        return float(novelty[rank]) if rank < len(novelty) else np.inf

    def thresholds(self, max_error: float, n_labels: int) -> Floats:
        """Return (L,) for each label the confidence above which at most `max_error` of its calls are wrong.

        The lowest threshold at which (w + 1 + sqrt(w + 1)) / (accepted + 1) is at most `max_error`, w being the wrong
        calls among the held-out ones that it accepts; inf where there is none. A label with less than `MIN_CELLS`
        calls, or too few to show so small an error, takes the threshold of all labels together.
        """
        confidence, right, known = self.held_confidence(), self.held.right, self.held.known
        together = _threshold(confidence[known], right[known], max_error)
        found = np.full(n_labels, together, np.float32)
        for label in range(n_labels):
            own = known & (self.held.called == label)
            if own.sum() >= max(MIN_CELLS, 2 / max_error):  # fewer cannot show it, even if all were right
                found[label] = _threshold(confidence[own], right[own], max_error)
        return found

    def sure_share(self, max_error: float) -> float:
        """Return the lowest share of the votes at which at most `max_error` of the calls are wrong; inf if none is.

        Counted on held-out cells of known types, with the allowance of `thresholds`.
        """
        known = self.held.known
        return _threshold(self.held.share[known], self.held.right[known], max_error)

    def set_shares(self, max_error: float, n_labels: int) -> Floats:
        """Return (L,) for each label the share of the votes that all but `max_error` of its held-out cells give to it.

        Labels with at least that share make a cell's prediction set (Sadinle et al. 2019, least ambiguous set-valued
        classifiers). A label with few cells takes the share of all labels together.
        """
        own, truth = self.held.own_share, self.held.truth
        shares = np.full(n_labels, _lower(own[self.held.known], max_error), np.float32)
        for label in range(n_labels):
            if (truth == label).sum() >= MIN_CELLS:
                shares[label] = _lower(own[truth == label], max_error)
        return shares

    def held_confidence(self) -> Floats:
        """Return (m,) the confidence of the held-out calls themselves."""
        return self.confidence(self._own())

    def held_novelty(self) -> Floats:
        """Return (k,) the novelty of the held-out cells of known types."""
        return self.novelty(self._own())[self.held.known]

    def _own(self) -> Signals:
        return Signals(self.held.share, self.held.margin, self.held.far, self.held.odd)

    def _tails(self, found: Signals) -> tuple[Doubles, Doubles]:
        right = self.held.right
        return _log_tail(self.held.far[right], found.far), _log_tail(self.held.odd[right], found.odd)

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        arrays = {name: getattr(self.held, name) for name in ARRAYS}
        save_arrays(path, arrays | {"coefficients": self.coefficients})

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        arrays = load_file(path)
        coefficients = arrays.pop("coefficients")
        return cls(HeldOut(**arrays), coefficients)


def calibrate(held: HeldOut) -> Calibration:
    """Fit a calibration to calls of held-out cells.

    Calls that could not be right, as the other cells had none of the true label, count as wrong: confidence should be
    low for cells that the reference does not know.
    """
    from sklearn.linear_model import LogisticRegression

    bare = Calibration(held, np.zeros(5))
    features = _features(bare._own(), *bare._tails(bare._own()))
    right = held.right
    if right.all() or not right.any():
        # Nothing to fit: Laplace's rule of succession.
        chance = (right.sum() + 1) / (len(right) + 2)
        return Calibration(held, np.array([np.log(chance / (1 - chance)), 0, 0, 0, 0]))
    spread = features.std(axis=0)
    spread[spread == 0] = 1.0
    model = LogisticRegression(fit_intercept=False).fit(features / spread, right)
    return Calibration(held, np.asarray(model.coef_[0] / spread, np.float64))


def _features(found: Signals, far: Doubles, odd: Doubles) -> Doubles:
    return np.stack([np.ones(len(far)), found.share, found.margin, far, odd], axis=1).astype(np.float64)


def _logistic(logits: Doubles) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def _log_tail(held: Floats, found: Floats) -> Doubles:
    """Return (n,) the logarithm of the share of (m,) held-out values that are at least as large."""
    ordered = np.sort(held)
    above = len(ordered) - np.searchsorted(ordered, found, side="left")
    return np.asarray(np.log((above + 1) / (len(ordered) + 1)), np.float64)


def _threshold(confidence: Floats, right: Bools, max_error: float) -> float:
    order = np.argsort(-confidence, kind="stable")
    accepted = np.arange(1, len(order) + 1)
    wrong = np.cumsum(~right[order])
    # One standard error above the count: otherwise the lowest threshold that fits would be a lucky one.
    kept = (wrong + 1 + np.sqrt(wrong + 1)) / (accepted + 1) <= max_error
    # Cells of equal confidence are accepted together.
    last_of_its_kind = np.append(np.diff(confidence[order]) != 0, True) if len(order) else kept
    good = np.flatnonzero(kept & last_of_its_kind)
    return float(confidence[order][good[-1]]) if len(good) else np.inf


def _lower(shares: Floats, max_error: float) -> float:
    """Return the share that at most `max_error` of the values lie below."""
    if not len(shares):
        return 0.0
    rank = int(np.floor((len(shares) + 1) * max_error)) - 1
    return float(np.sort(shares)[rank]) if rank >= 0 else 0.0
