"""Slabs and boxes: hops stay within the matter."""

from __future__ import annotations

import numpy as np
import pytest

from pathways.hops import HopSettings, enumerate_hops
from pathways.percolation import percolation_dimension
from pathways.types import Crystal, PathwayError
from pathways.vacuum import vacuum_gaps
from tests.pathways.crystals import KNOWN


def slab(layers: int, gap_a: float, shift: float = 0.0) -> Crystal:
    """(001) layers of MgO, each 2.1 Å above the other, then vacuum from plane to plane."""
    a, step = 4.21, 2.105
    height_a = (layers - 1) * step + gap_a
    atoms = []
    for layer in range(layers):
        z = layer * step / height_a + shift
        odd = layer % 2
        atoms += [(12, 0.5 * odd, 0.0, z), (12, 0.5 * (1 - odd), 0.5, z)]
        atoms += [(8, 0.5 * (1 - odd), 0.0, z), (8, 0.5 * odd, 0.5, z)]
    numbers = np.array([atom[0] for atom in atoms])
    return Crystal(np.diag([a, a, height_a]), numbers, np.array([atom[1:] for atom in atoms]))


@pytest.mark.parametrize("shift", [0.0, 0.4, 0.85])
def test_a_slab_percolates_in_its_plane_however_far_hops_may_go(shift: float) -> None:
    crystal = slab(4, 9.0, shift)
    (gap,) = vacuum_gaps(crystal)
    assert gap[0] == 2
    assert gap[2] == pytest.approx(9.0)
    settings = HopSettings(cutoff_a=11.0, max_hops=1000, min_clearance_a=0, third_site_a=0)
    network = enumerate_hops(crystal, "Mg", settings)
    assert network.counts["vacuum"] > 0
    assert percolation_dimension(np.concatenate([hop.orbit for hop in network.hops])) == 2


def test_a_narrow_gap_is_a_gallery_and_hops_lead_across() -> None:
    crystal = slab(4, 6.0)
    assert not vacuum_gaps(crystal)
    settings = HopSettings(cutoff_a=9.0, max_hops=1000, min_clearance_a=0, third_site_a=0)
    network = enumerate_hops(crystal, "Mg", settings)
    assert network.counts["vacuum"] == 0
    assert percolation_dimension(np.concatenate([hop.orbit for hop in network.hops])) == 3


def test_no_known_crystal_has_vacuum() -> None:
    assert not [name for name, known in KNOWN.items() if vacuum_gaps(known.crystal())]


def test_a_molecule_in_a_box_has_no_hops() -> None:
    frac = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.64]])
    box = Crystal(np.eye(3) * 12.0, np.array([12, 8]), frac)
    assert len(vacuum_gaps(box)) == 3
    with pytest.raises(PathwayError, match="through vacuum"):
        enumerate_hops(box, "Mg", HopSettings(cutoff_a=13.0))
