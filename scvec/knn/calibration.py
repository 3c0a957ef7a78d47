"""How far a call can be trusted, measured on held-out cells, which the head was not trained on.

Two exceptions: an SVD and a centre are fitted on all cells, without labels, and the number of steps that a head is
trained for is chosen on these cells.

Each held-out cell is called from the others. The signals of its call (share of the votes, distances, unexpected genes)
and whether it was right make a calibration: a confidence for every call, and thresholds that keep the requested error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from scvec.core.files import save_arrays
from scvec.core.types import Bools, Doubles, Floats, Ints, Neighbors, freeze
from scvec.knn.voting import Votes

N_NEAREST = 3
"""The distance to a label is the mean distance of this many nearest neighbours with that label."""

MIN_CELLS = 50
"""A label with fewer calls among the held-out cells takes the threshold of all labels together."""

ARRAYS = ("called", "truth", "own_share", "share", "margin", "far", "odd")

FOLD = "fold"
"""The array of `HeldOut.fold` in a file."""

FURTHER = "further."
"""Begins the names of further signals among the arrays of a file."""

OF_NOVELTY = {"spread": 1, "surplus": 1, "lead": -1}
"""Further signals that tell what is new, and whether it has large values of them (1) or small ones (-1)."""

ODD_WEIGHT = 0.5
"""Weight of unexpected genes beside the further signals: they find what these miss, and say little elsewhere."""

BY_LABEL = ("lead",)
"""Signals whose scale differs from label to label: they are compared with the held-out cells of the called label."""

SHRINKAGE = 10.0
"""A label's mean and spread of a signal are taken together with so many cells of all labels."""

NOTHING_SAID = -1.0
"""The logarithm of a share for a cell that lacks the signal: what it is on average."""


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
    called
        (n,) codes of the labels called; None where no further signal is compared by label.
    further
        By name, (n,) further signals, NaN for cells that lack them: ``"spread"`` and ``"lead"``, the distance to the
        called label in units of the spread within labels, and how much farther the next label is
        (`scvec.knn.spread`); ``"surplus"``, from `scvec.embed.surplus`. Atlases of earlier versions have none.
    """

    share: Floats
    margin: Floats
    far: Floats
    odd: Floats
    called: Ints | None = None
    further: Mapping[str, Floats] = field(default_factory=lambda: MappingProxyType({}))


def signals(
    neighbors: Neighbors, codes: Ints, votes: Votes, odd: Floats, further: Mapping[str, Floats] | None = None
) -> Signals:
    """Return the signals of calls, given (n, k) codes of the neighbours' labels; zeros without neighbours."""
    here = neighbors.ids >= 0
    own = here & (codes == votes.winner[:, None])
    last = farthest_neighbor(neighbors)
    far, other = distance_to(neighbors, own, last), distance_to(neighbors, here & ~own, last)
    share = np.take_along_axis(votes.shares, np.maximum(votes.winner, 0)[:, None], 1)[:, 0]
    called = votes.winner >= 0
    share, margin, far, odd = (np.where(called, one, 0).astype(np.float32) for one in (share, other - far, far, odd))
    return Signals(share, margin, far, odd, votes.winner, dict(further or {}))


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
    share, margin, far, odd, further
        (m,) the signals.
    fold
        (m,) which cells were held out together, from 0; None in atlases of earlier versions.
    """

    called: Ints
    truth: Ints
    own_share: Floats
    share: Floats
    margin: Floats
    far: Floats
    odd: Floats
    further: Mapping[str, Floats] = field(default_factory=lambda: MappingProxyType({}))
    fold: Ints | None = None

    def __post_init__(self) -> None:
        for name in ARRAYS:
            object.__setattr__(self, name, freeze(getattr(self, name)))
        kept = {name: freeze(np.asarray(one, np.float32)) for name, one in self.further.items()}
        object.__setattr__(self, "further", MappingProxyType(kept))
        if self.fold is not None:
            object.__setattr__(self, "fold", freeze(self.fold))

    @classmethod
    def of(cls, votes: Votes, found: Signals, truth: Ints) -> HeldOut:
        """Return the calls of one fold."""
        own = np.take_along_axis(votes.shares, np.maximum(truth, 0)[:, None], 1)[:, 0]
        own = np.where(truth < 0, np.nan, own).astype(np.float32)
        return cls(votes.winner, truth, own, found.share, found.margin, found.far, found.odd, found.further)

    @classmethod
    def joined(cls, parts: list[HeldOut]) -> HeldOut:
        """Return several folds as one."""
        further = {name: np.concatenate([one.further[name] for one in parts]) for name in parts[0].further}
        plain = {name: np.concatenate([getattr(one, name) for one in parts]) for name in ARRAYS}
        fold = np.repeat(np.arange(len(parts)), [len(one.called) for one in parts])
        return cls(**plain, further=further, fold=fold)

    @property
    def signals(self) -> Signals:
        """The signals of the calls."""
        return Signals(self.share, self.margin, self.far, self.odd, self.called, self.further)

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

        The sum of minus the logarithms of shares: of the correctly called held-out cells, those that are at least as
        far from their label in units of the spread within labels, those with at least such a surplus of counts, those
        for which the next label is at least as near, and, by half, those at least as odd. Without the further signals:
        those at least as far by cosine, and those at least as odd. The shares are conformal p-values (Vovk et al.
        2005), at least 1 / (m + 1).
        """
        names = [name for name in OF_NOVELTY if name in self.held.further and name in found.further]
        far, odd = self._tails(found)
        if not names:
            return np.asarray(-far - odd, np.float32)
        return np.asarray(-np.sum([self._tail(name, found) for name in names], axis=0) - ODD_WEIGHT * odd, np.float32)

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
        return self.confidence(self.held.signals)

    def held_novelty(self) -> Floats:
        """Return (k,) the novelty of the held-out cells of known types."""
        return self.novelty(self.held.signals)[self.held.known]

    def _tails(self, found: Signals) -> tuple[Doubles, Doubles]:
        right = self.held.right
        return _log_tail(self.held.far[right], found.far), _log_tail(self.held.odd[right], found.odd)

    def _tail(self, name: str, found: Signals) -> Doubles:
        """Return (n,) the logarithm of the share of the correctly called held-out cells that speak as much for new."""
        held, right = self.held, self.held.right
        sign = OF_NOVELTY[name]
        own, other = (sign * np.asarray(one.further[name], np.float64) for one in (held, found))
        kept = right & np.isfinite(own)
        if name in BY_LABEL:
            assert found.called is not None  # noqa: S101 - for mypy: signals with further ones know their calls
            scale = _Scale.of(own[kept], held.called[kept])
            own, other = scale(own, held.called), scale(other, found.called)
        return np.where(np.isfinite(other), _log_tail(own[kept], other), NOTHING_SAID)

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        arrays = {name: getattr(self.held, name) for name in ARRAYS}
        arrays |= {f"{FURTHER}{name}": one for name, one in self.held.further.items()}
        arrays |= {} if self.held.fold is None else {FOLD: self.held.fold}
        save_arrays(path, arrays | {"coefficients": self.coefficients})

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        arrays = load_file(path)
        coefficients = arrays.pop("coefficients")
        plain = {name: arrays.pop(name) for name in ARRAYS}
        fold = arrays.pop(FOLD, None)
        further = {name.removeprefix(FURTHER): one for name, one in arrays.items()}
        return cls(HeldOut(**plain, further=further, fold=fold), coefficients)


@dataclass(frozen=True, slots=True)
class _Scale:
    """The mean and the spread of a signal, of each label and of all."""

    means: Doubles
    spreads: Doubles

    @classmethod
    def of(cls, values: Doubles, codes: Ints) -> _Scale:
        """Return those of values, with codes of labels; the last entry is that of a label without values."""
        mean, variance = (float(values.mean()), float(values.var())) if len(values) else (0.0, 1.0)
        n = int(codes.max(initial=-1)) + 2
        sizes = np.bincount(codes, minlength=n)
        sums, squares = np.bincount(codes, values, n), np.bincount(codes, values**2, n)
        means = (sums + SHRINKAGE * mean) / (sizes + SHRINKAGE)
        own = sums / np.maximum(sizes, 1)
        inside = squares - sizes * own**2
        spreads = np.sqrt(np.maximum(inside + SHRINKAGE * variance, 0) / (sizes + SHRINKAGE))
        return cls(means, np.where(spreads > 0, spreads, 1.0))

    def __call__(self, values: Doubles, codes: Ints) -> Doubles:
        """Return values in units of their label's spread."""
        last = len(self.means) - 1
        at = np.where((codes >= 0) & (codes < last), codes, last)
        return np.asarray((values - self.means[at]) / self.spreads[at], np.float64)


def calibrate(held: HeldOut) -> Calibration:
    """Fit a calibration to calls of held-out cells.

    Calls that could not be right, as the other cells had none of the true label, count as wrong: confidence should be
    low for cells that the reference does not know.
    """
    from sklearn.linear_model import LogisticRegression

    bare = Calibration(held, np.zeros(5))
    features = _features(held.signals, *bare._tails(held.signals))
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


def _log_tail(held: Floats | Doubles, found: Floats | Doubles) -> Doubles:
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
