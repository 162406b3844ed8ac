import pickle

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from pathways.checks import check_crystal
from pathways.convert import crystal_from_structure, structure_from_crystal
from pathways.types import Crystal, PathwayError
from tests.pathways.crystals import KNOWN


def crystal(
    lattice: object = None, numbers: object = (12, 8), frac: object = ((0, 0, 0), (0.5, 0.5, 0.5))
) -> Crystal:
    return Crystal(
        np.array(np.eye(3) * 4.2 if lattice is None else lattice, dtype=float),
        np.array(numbers, dtype=np.int64),
        np.array(frac, dtype=float),
    )


def test_good_crystals_pass() -> None:
    for known in KNOWN.values():
        check_crystal(known.crystal(), known.ion)


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("non_finite", crystal(frac=((0, 0, np.nan), (0.5, 0.5, 0.5)))),
        ("non_finite", crystal(lattice=np.diag([4, 4, np.inf]))),
        ("singular_cell", crystal(lattice=[[4, 0, 0], [0, 4, 0], [4, 4, 0]])),
        ("singular_cell", crystal(lattice=np.zeros((3, 3)))),
        ("singular_cell", crystal(lattice=np.diag([4, 4, 1e6]))),
        ("overlapping_atoms", crystal(frac=((0, 0, 0), (0.99, 0.01, 0)))),
        ("overlapping_atoms", crystal(frac=((0.2, 0.3, 0.4), (1.2, -0.7, 0.4)))),
        ("no_mobile_ion", crystal(numbers=(20, 8))),
        ("too_many_sites", crystal(numbers=np.full(201, 12), frac=np.random.rand(201, 3))),
        ("bad_shape", crystal(numbers=(12, 8, 8))),
        ("bad_shape", crystal(numbers=(), frac=np.zeros((0, 3)))),
        ("unknown_element", crystal(numbers=(12, 0))),
    ],
)
def test_each_refusal_has_its_reason(reason: str, bad: Crystal) -> None:
    with pytest.raises(PathwayError) as refused:
        check_crystal(bad, "Mg")
    assert refused.value.reason == reason
    assert "\n" not in str(refused.value)


def test_overlap_with_own_image_in_a_thin_cell() -> None:
    thin = crystal(lattice=[[9, 0, 0], [9.0, 0.45, 0], [0, 0, 9]], numbers=(12,), frac=((0, 0, 0),))
    with pytest.raises(PathwayError, match="overlapping_atoms"):
        check_crystal(thin, "Mg")


def test_close_is_not_overlapping() -> None:
    check_crystal(crystal(frac=((0, 0, 0), (0.6 / 4.2, 0, 0))), "Mg")


def test_unknown_ion() -> None:
    with pytest.raises(PathwayError, match="no_mobile_ion: 'Mq'"):
        check_crystal(crystal(), "Mq")


def test_limit_on_sites_can_be_raised() -> None:
    known = KNOWN["NaZr2P3O12 NASICON"]
    with pytest.raises(PathwayError, match="too_many_sites: 108 sites, expected at most 100"):
        check_crystal(known.crystal(), "Na", max_sites=100)
    check_crystal(known.crystal(), "Na", max_sites=108)


def test_partial_occupancy_is_refused() -> None:
    lattice = Lattice.cubic(4.2)
    for species in ({"Mg": 0.5, "Ca": 0.5}, {"Mg": 0.9}):
        with pytest.raises(PathwayError) as refused:
            crystal_from_structure(Structure(lattice, [species, "O"], [[0, 0, 0], [0.5] * 3]))
        assert refused.value.reason == "partial_occupancy"


def test_dummy_species_is_refused() -> None:
    with pytest.raises(PathwayError, match="unknown_element"):
        crystal_from_structure(Structure(Lattice.cubic(4.2), ["X0+"], [[0, 0, 0]]))


def test_oxidation_states_do_not_matter_and_order_is_kept() -> None:
    structure = KNOWN["LiFePO4 olivine"].structure.copy()
    plain = crystal_from_structure(structure)
    structure.add_oxidation_state_by_element({"Li": 1, "Fe": 2, "P": 5, "O": -2})
    decorated = crystal_from_structure(structure)
    assert np.array_equal(plain.numbers, decorated.numbers)
    back = crystal_from_structure(structure_from_crystal(plain))
    assert np.array_equal(back.numbers, plain.numbers)
    assert np.allclose(back.frac, plain.frac)
    assert np.allclose(back.lattice, plain.lattice)


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(PathwayError("no_hops", "none within 9 Å")))
    assert (error.reason, error.detail) == ("no_hops", "none within 9 Å")
