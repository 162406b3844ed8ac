"""Curved bands for energies: images whose distances change evenly from start to end.

A straight chord leads an ion through its neighbours, and an energy computed there is worth nothing.
The image dependent pair potential (Smidstrup et al., J. Chem. Phys. 140, 214106 (2014),
doi:10.1063/1.4878664) asks every distance between two atoms to go linearly from what it is at the
start to what it is at the end. No two atoms meet then, and the neighbours make way for the ion.

The images are those of least total objective among evenly spaced ones. A nudged band, as in the
paper, is spaced by springs instead and comes out close by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array

from pathways.chords import chord_clearance_a
from pathways.curved import curved_path
from pathways.curved_search import resample
from pathways.neighbours import integer_box, pairs_within, perpendicular_widths
from pathways.types import Band, Crystal, FloatArray, IntArray

RELAX_A = 4.0
"""Host atoms this close to the path make way for the ion, Å."""
BEND_A = 1.2
"""A straight path that passes an atom closer than this is bent before it is relaxed, Å."""
MAX_STEPS = 300

_REACH_A = 6.0
"""Pairs further apart than this are left out: their weight falls with the fourth power, Å."""
_EVEN = 2.0
"""Against uneven spacing of the ion's images, 1/Å^2; a pair at 2 Å has a stiffness of 0.06."""
_CONTACT = 2.0
"""Against host atoms closer to each other than any two are at the ends, 1/Å^2."""
_ANCHOR = 0.01
"""Against moves of host atoms, 1/Å^2: where all may move, nothing else holds them together."""
_SLOPE = 1e-4
_MOST_IMAGES = 33


@dataclass(frozen=True, eq=False)
class IdppPath:
    """Images of a hop, start to end, with the atoms of its band."""

    lattice: FloatArray
    """(3, 3), Å, of the supercell."""
    numbers: IntArray
    """(m,), atomic numbers: the moving ion, then the host as in the band."""
    frac: FloatArray
    """(n, m, 3), fractional, unwrapped: no atom jumps between images."""
    objective: float
    """Sum over the images of the pair potential, 1/Å^2."""
    converged: bool
    """Whether the steps sufficed."""

    def __len__(self) -> int:
        return len(self.frac)

    @property
    def images(self) -> tuple[Crystal, ...]:
        """One crystal per image."""
        return tuple(Crystal(self.lattice, self.numbers, frac) for frac in self.frac)


def idpp_path(
    band: Band, n_images: int = 7, relax_a: float = RELAX_A, max_steps: int = MAX_STEPS
) -> IdppPath:
    """The images of a band between its two ends, which stay as they are.

    The ion starts on its chord, or where that passes an atom within ``BEND_A``, on the curved path
    around it. A hop and its reverse give the same images, reversed, and so do a crystal turned,
    shifted or written in another order, up to a choice among paths that symmetry makes equal.

    Args:
        band: of any mechanism.
        n_images: start and end included; 3 to 33.
        relax_a: host atoms this close to the path move, Å; 0 lets the ion alone move.
        max_steps: most steps of the minimisation.

    Raises:
        ValueError: a number out of range; one line that says which.
    """
    if not 3 <= n_images <= _MOST_IMAGES:
        raise ValueError(f"n_images {n_images}, expected 3 to {_MOST_IMAGES}")
    if not 0 <= relax_a <= _REACH_A:
        raise ValueError(f"relax_a {relax_a:g}, expected 0 to {_REACH_A:g} Å")
    if max_steps < 1:
        raise ValueError(f"max_steps {max_steps}, expected 1 or more")
    potential = _Potential(band, _first_guess(band, n_images), relax_a)
    guess = potential.guess_a
    found = minimize(
        potential,
        guess[1:-1].ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_steps, "gtol": _SLOPE, "ftol": 0.0},
    )
    guess[1:-1] = found.x.reshape(guess[1:-1].shape)
    frac = np.tile(np.concatenate([band.ion_frac[:1], band.host_frac]), (n_images, 1, 1))
    frac[:, potential.moving] = guess @ np.linalg.inv(band.lattice)
    frac[-1, 0] = band.ion_frac[-1]
    return IdppPath(
        lattice=band.lattice,
        numbers=np.concatenate([[band.ion_number], band.host_numbers]),
        frac=frac,
        objective=potential.objective(guess[1:-1]),
        converged=bool(found.success),
    )


def _first_guess(band: Band, n_images: int) -> FloatArray:
    """(n, 3), Å: the ion on its chord, or around the atoms on it."""
    ends = band.ion_frac[[0, -1]]
    clearance_a = chord_clearance_a(band.lattice, ends[:1], ends[1:], band.host_frac)
    bent = clearance_a.min() < BEND_A
    path = curved_path(band.folded).path_a if bent else ends @ band.lattice
    return np.asarray(resample(path[None], n_images)[0])


class _Potential:
    """The objective of all inner images together, and its gradient.

    Each pair of atoms at distance d whose even share of the way is t gives ``(d - t)^2 / d^4``.
    """

    def __init__(self, band: Band, path_a: FloatArray, relax_a: float) -> None:
        atoms_a = np.concatenate([path_a[:1], band.host_frac @ band.lattice])
        near, place_a, gap_a = _host_images(band, path_a)
        relaxed = np.unique(near[gap_a < relax_a])
        first, second, shift_a = _host_pairs(band, relaxed)
        self.moving = np.concatenate([[0], relaxed + 1])
        """(k,), which atoms move, of the ion and the host."""
        self.guess_a = np.tile(atoms_a[self.moving], (len(path_a), 1, 1))
        """(n, k, 3), Å, of the atoms that move."""
        self.guess_a[:, 0] = path_a
        self._first = np.concatenate([np.zeros(len(near), dtype=np.int64), first + 1])
        self._second = np.concatenate([near, second]) + 1
        self._shift_a = np.concatenate([place_a - atoms_a[near + 1], shift_a])
        self._gather = _incidence(self.moving, self._first, self._second, len(atoms_a))
        self._atoms_a = np.tile(atoms_a, (len(path_a), 1, 1))
        self._atoms_a[:, 0] = path_a
        ends_a = np.linalg.norm(self._vectors(self._atoms_a[[0, -1]]), axis=2)
        share = np.linspace(0.0, 1.0, len(path_a))[1:-1, None]
        self._target_a = ends_a[0] + share * (ends_a[1] - ends_a[0])  # (n - 2, pairs)
        # How close the ion comes to the host is for the pairs to settle: a floor would widen a
        # bottleneck by pushing its atoms out of place.
        self._floor_a = np.zeros(len(self._first))
        self._floor_a[len(near) :] = ends_a[0, len(near) :].min(initial=np.inf)

    def objective(self, moved_a: FloatArray) -> float:
        """The sum over inner images (n - 2, k, 3) of the pairs alone, 1/Å^2."""
        distance = np.linalg.norm(self._vectors(self._placed(moved_a)[1:-1]), axis=2)
        return float(((distance - self._target_a) ** 2 / distance**4).sum())

    def __call__(self, flat_a: FloatArray) -> tuple[float, FloatArray]:
        atoms_a = self._placed(flat_a.reshape(-1, len(self.moving), 3))
        vectors = self._vectors(atoms_a[1:-1])
        distance = np.linalg.norm(vectors, axis=2)
        off = distance - self._target_a
        contact = np.maximum(self._floor_a - distance, 0.0)
        slope = 2 * off * (2 * self._target_a - distance) / distance**6
        slope -= 2 * _CONTACT * contact / distance
        pulls = (slope[..., None] * vectors).transpose(1, 0, 2).reshape(len(self._first), -1)
        gradient = (self._gather @ pulls).reshape(len(self.moving), -1, 3).transpose(1, 0, 2)
        uneven, uneven_slope = _unevenness(atoms_a[:, 0])
        gradient[:, 0] += uneven_slope
        moves = (atoms_a[1:-1] - atoms_a[0])[:, self.moving[1:]]
        gradient[:, 1:] += 2 * _ANCHOR * moves
        value = (off**2 / distance**4).sum() + _CONTACT * (contact**2).sum()
        value += uneven + _ANCHOR * (moves**2).sum()
        return float(value), gradient.ravel()

    def _placed(self, moved_a: FloatArray) -> FloatArray:
        """(n, m, 3), Å, all atoms of all images, some of the inner ones moved (n - 2, k, 3)."""
        self._atoms_a[1:-1, self.moving] = moved_a
        return self._atoms_a

    def _vectors(self, atoms_a: FloatArray) -> FloatArray:
        """(n, pairs, 3), Å, from first to second."""
        return np.asarray(atoms_a[:, self._second] + self._shift_a - atoms_a[:, self._first])


def _incidence(moving: IntArray, first: IntArray, second: IntArray, n_atoms: int) -> csr_array:
    """(k, pairs): what pulls at a pair's second atom pulls at its first the other way."""
    rows = np.full(n_atoms, -1)
    rows[moving] = np.arange(len(moving))
    pairs = np.tile(np.arange(len(first)), 2)
    row = rows[np.concatenate([first, second])]
    sign = np.repeat([-1.0, 1.0], len(first))
    free = row >= 0
    return csr_array((sign[free], (row[free], pairs[free])), shape=(len(moving), len(first)))


def _unevenness(path_a: FloatArray) -> tuple[float, FloatArray]:
    """How unevenly the ion's images (n, 3) are spaced, and its slope for the inner ones."""
    steps = np.diff(path_a, axis=0)
    length = np.linalg.norm(steps, axis=1)
    off = length - length.mean()
    pull = (2 * _EVEN * off / np.maximum(length, 1e-9))[:, None] * steps
    return float(_EVEN * (off**2).sum()), pull[:-1] - pull[1:]


def _host_images(band: Band, path_a: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Host atom (m,), place (m, 3), Å, and distance, Å, of every image within reach of the path."""
    middle_a = path_a.mean(axis=0)
    reach_a = _REACH_A + float(np.linalg.norm(path_a - middle_a, axis=1).max())
    cells = np.ceil(reach_a / perpendicular_widths(band.lattice) + 0.5).astype(np.int64)
    frac = band.host_frac - middle_a @ np.linalg.inv(band.lattice)
    frac = (frac - np.rint(frac))[:, None, :] + integer_box(cells)
    places_a = (frac @ band.lattice + middle_a).reshape(-1, 3)
    which = np.repeat(np.arange(len(frac)), frac.shape[1])
    close = np.linalg.norm(places_a - middle_a, axis=1) < reach_a
    which, places_a = which[close], places_a[close]
    gap_a = np.linalg.norm(places_a[:, None] - path_a, axis=2).min(axis=1)
    near = gap_a < _REACH_A
    return which[near], places_a[near], gap_a[near]


def _host_pairs(band: Band, relaxed: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of host atoms within reach, the first relaxed, each once; and how far the second's
    image is from it, (p, 3), Å."""
    i, j, image, _ = pairs_within(band.lattice, band.host_frac, _REACH_A)
    once = np.isin(i, relaxed) & ~(np.isin(j, relaxed) & (j < i)) & (i != j)
    return i[once], j[once], image[once] @ band.lattice
