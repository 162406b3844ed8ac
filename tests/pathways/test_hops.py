import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from pathways.chords import chord_clearance_a
from pathways.convert import crystal_from_structure, structure_from_crystal
from pathways.hops import HopSettings, enumerate_hops
from pathways.percolation import percolation_dimension
from pathways.types import Crystal, HopNetwork, PathwayError
from tests.pathways.crystals import CHANGES, KNOWN

UNFILTERED = {"min_clearance_a": 0.0, "third_site_a": 0.0, "max_hops": 1000}


def everything(crystal: Crystal, ion: str, cutoff_a: float) -> HopNetwork:
    return enumerate_hops(crystal, ion, HopSettings(cutoff_a=cutoff_a, **UNFILTERED))


def lengths_and_multiplicities(network: HopNetwork) -> list[tuple[float, int]]:
    return sorted((round(hop.length_a, 3), hop.multiplicity) for hop in network.hops)


def assert_same_hops(one: HopNetwork, other: HopNetwork) -> None:
    lengths, multiplicities = zip(*lengths_and_multiplicities(one), strict=True)
    other_lengths, other_multiplicities = zip(*lengths_and_multiplicities(other), strict=True)
    assert lengths == pytest.approx(other_lengths, abs=3e-3)
    assert multiplicities == other_multiplicities
    assert one.space_group == other.space_group
    assert one.counts == other.counts


def crystal_of(
    lattice: Lattice, species: list[str], frac: list[tuple[float, float, float]]
) -> Crystal:
    return crystal_from_structure(Structure(lattice, species, frac))


@pytest.mark.parametrize("name", KNOWN)
def test_labels_are_canonical_and_orbits_complete(name: str) -> None:
    known = KNOWN[name]
    network = everything(known.crystal(), known.ion, known.reach_a)
    seen: set[tuple[int, ...]] = set()
    crystal = network.crystal
    for hop in network.hops:
        members = [tuple(row) for row in hop.orbit.tolist()]
        assert members == sorted(set(members))
        assert members[0] == (hop.start, hop.end, *hop.image)
        assert len(members) == hop.multiplicity
        for i, j, *image in members:
            step = (crystal.frac[j] + image - crystal.frac[i]) @ crystal.lattice
            assert np.linalg.norm(step) == pytest.approx(hop.length_a, abs=1e-5)
            reverse = (j, i, *(-n for n in image))
            assert (i, j, *image) <= reverse
            assert (i, j, *image) not in seen
            seen.add((i, j, *image))
        assert np.allclose(hop.start_frac, crystal.frac[hop.start])
        assert np.allclose(hop.end_frac, crystal.frac[hop.end] + hop.image)
    # Every pair of ion sites within the cutoff, hop and reverse once, belongs to one orbit.
    structure = structure_from_crystal(crystal)
    i, j, image, _ = structure.get_neighbor_list(known.reach_a, numerical_tol=1e-6)
    mobile = np.array(structure.atomic_numbers) == crystal.numbers[network.hops[0].start]
    pairs = {
        min((a, b, *c), (b, a, *(-c)))
        for a, b, c in zip(i, j, image.astype(int), strict=True)
        if mobile[a] and mobile[b]
    }
    assert {tuple(map(int, pair)) for pair in pairs} == seen


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("change", CHANGES)
def test_hops_do_not_depend_on_the_setting(name: str, change: str) -> None:
    known = KNOWN[name]
    one = enumerate_hops(known.crystal(), known.ion)
    changed = CHANGES[change](known.crystal(), np.random.default_rng(11))
    other = enumerate_hops(changed, known.ion, HopSettings(max_sites=300))
    assert_same_hops(one, other)
    assert one.cutoff_a == pytest.approx(other.cutoff_a, abs=1e-3)
    clearances = [hop.clearance_a for hop in one.hops]
    assert clearances == pytest.approx([hop.clearance_a for hop in other.hops], abs=2e-3)
    if change in ("rotated", "shuffled"):
        assert [hop.key for hop in one.hops] == [hop.key for hop in other.hops]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(KNOWN)),
    st.lists(st.sampled_from(sorted(CHANGES)), max_size=4),
    st.integers(0, 999),
)
def test_hops_do_not_depend_on_a_mix_of_settings(name: str, changes: list[str], seed: int) -> None:
    known = KNOWN[name]
    crystal, rng = known.crystal(), np.random.default_rng(seed)
    wide = HopSettings(cutoff_a=known.reach_a, max_sites=300, **UNFILTERED)
    expected = enumerate_hops(crystal, known.ion, wide)
    for change in changes:
        if len(crystal) <= 112 or change != "repeated":
            crystal = CHANGES[change](crystal, rng)
    network = enumerate_hops(crystal, known.ion, wide)
    assert_same_hops(network, expected)


@pytest.mark.parametrize("name", KNOWN)
def test_same_input_same_hops(name: str) -> None:
    known = KNOWN[name]
    one, other = (enumerate_hops(known.crystal(), known.ion) for _ in range(2))
    assert [hop.id_in("m") for hop in one.hops] == [hop.id_in("m") for hop in other.hops]
    for hop, same in zip(one.hops, other.hops, strict=True):
        assert np.array_equal(hop.orbit, same.orbit)


@pytest.mark.parametrize("name", KNOWN)
def test_agrees_with_distinct_path_finder(name: str) -> None:
    pathfinder = pytest.importorskip(
        "pymatgen.analysis.diffusion.neb.pathfinder", reason="pymatgen-analysis-diffusion missing"
    )
    known = KNOWN[name]
    network = everything(known.crystal(), known.ion, known.reach_a)
    finder = pathfinder.DistinctPathFinder(
        structure_from_crystal(network.crystal),
        known.ion,
        max_path_length=known.reach_a,
        symprec=0.01,
    )
    theirs = sorted(path.length for path in finder.get_paths())
    assert [hop.length_a for hop in network.hops] == pytest.approx(theirs, abs=1e-3)


def test_layered_lattice_by_hand() -> None:
    """LiCoO2: six neighbours in the plane at a, six at a * sqrt(3), six in the next planes."""
    network = everything(KNOWN["LiCoO2 layered"].crystal(), "Li", 5.0)
    a, c = 2.816, 14.054
    between = np.hypot(a / np.sqrt(3), c / 3)
    assert lengths_and_multiplicities(network) == [
        (pytest.approx(a, abs=1e-3), 3),
        (pytest.approx(a * np.sqrt(3), abs=1e-3), 3),
        (pytest.approx(between, abs=1e-3), 3),
    ]


def test_same_length_inequivalent_hops_stay_two() -> None:
    """Two hops of one length between the same two sites, with different surroundings."""
    frac = [(0, 0, 0), (0.5, 0, 0), (0.25, 0.28, 0), (0.75, 0.20, 0.1)]
    crystal = crystal_of(Lattice.orthorhombic(7.0, 6.0, 8.0), ["Mg", "Mg", "O", "O"], frac)
    network = everything(crystal, "Mg", 3.6)
    assert len(network.hops) == 2
    assert network.hops[0].length_a == pytest.approx(network.hops[1].length_a)
    assert network.hops[0].clearance_a != pytest.approx(network.hops[1].clearance_a, abs=0.1)
    assert all("ambiguous_image" in hop.flags for hop in network.hops)
    assert len({hop.key for hop in network.hops}) == 2


def test_composite_hops_are_dropped() -> None:
    crystal = crystal_of(
        Lattice.orthorhombic(3.0, 7.0, 7.0), ["Mg", "O"], [(0, 0, 0), (0.5, 0.5, 0.5)]
    )
    network = enumerate_hops(crystal, "Mg", HopSettings(cutoff_a=6.5))
    assert lengths_and_multiplicities(network) == [(3.0, 1)]
    assert network.counts == {"found": 2, "composite": 1, "steric": 0, "vacuum": 0, "cut": 0}


def test_hops_through_the_framework_are_dropped_or_flagged() -> None:
    def network(offset_a: float) -> HopNetwork:
        frac = [(0, 0, 0), (0.5, offset_a / 6.0, 0)]
        crystal = crystal_of(Lattice.orthorhombic(4.0, 6.0, 6.5), ["Mg", "O"], frac)
        return enumerate_hops(crystal, "Mg", HopSettings(cutoff_a=4.5))

    with pytest.raises(PathwayError) as refused:
        network(0.4)
    assert refused.value.reason == "no_hops"
    assert "1 through the framework" in refused.value.detail
    assert network(0.9).hops[0].clearance_a == pytest.approx(0.9)
    assert network(0.9).hops[0].flags == ("low_clearance",)
    assert network(1.5).hops[0].flags == ()


def test_no_hops_within_the_cap() -> None:
    crystal = crystal_of(Lattice.cubic(9.5), ["Mg", "O"], [(0, 0, 0), (0.5, 0.5, 0.5)])
    with pytest.raises(PathwayError, match="no_hops: 0 hops of Mg up to 9 Å"):
        enumerate_hops(crystal, "Mg")


def test_limit_keeps_the_shortest_and_records_the_cut() -> None:
    crystal = KNOWN["LiMnBO3 monoclinic"].crystal()
    whole = enumerate_hops(crystal, "Li", HopSettings(cutoff_a=7.0))
    short = enumerate_hops(crystal, "Li", HopSettings(cutoff_a=7.0, max_hops=3))
    assert [hop.key for hop in short.hops] == [hop.key for hop in whole.hops[:3]]
    assert short.counts["cut"] > 0
    assert sum(short.counts.values()) - short.counts["found"] + 3 == short.counts["found"]


@pytest.mark.parametrize("name", KNOWN)
def test_cutoff_is_the_least_that_percolates_in_2d(name: str) -> None:
    known = KNOWN[name]
    network = enumerate_hops(known.crystal(), known.ion)
    edges = np.concatenate([hop.orbit for hop in network.hops])
    assert percolation_dimension(edges) >= 2
    if network.cutoff_a > 5.0:
        shorter = [h.orbit for h in network.hops if h.length_a < network.cutoff_a - 1e-3]
        assert percolation_dimension(np.concatenate([edges[:0], *shorter])) < 2
    assert all(hop.length_a <= network.cutoff_a + 1e-3 for hop in network.hops)


def test_cutoff_beyond_the_floor_and_at_the_cap() -> None:
    def network(b: float) -> HopNetwork:
        frac = [(0, 0, 0), (0.5, 0.5, 0.5)]
        crystal = crystal_of(Lattice.orthorhombic(3.5, b, 12.0), ["Mg", "O"], frac)
        return enumerate_hops(crystal, "Mg")

    assert network(6.5).cutoff_a == pytest.approx(6.5)
    assert network(6.5).hops[-1].length_a == pytest.approx(6.5)
    assert network(11.0).cutoff_a == 9.0
    assert [round(hop.length_a, 3) for hop in network(11.0).hops] == [3.5]


def test_nasicon_needs_a_longer_cutoff() -> None:
    network = enumerate_hops(KNOWN["NaZr2P3O12 NASICON"].crystal(), "Na")
    assert network.cutoff_a == pytest.approx(6.34, abs=0.01)


def test_reasons_of_the_crystal_pass_through() -> None:
    with pytest.raises(PathwayError) as refused:
        enumerate_hops(KNOWN["LiFePO4 olivine"].crystal(), "Mg")
    assert refused.value.reason == "no_mobile_ion"
    with pytest.raises(PathwayError) as refused:
        enumerate_hops(KNOWN["LiFePO4 olivine"].crystal(), "Li", HopSettings(max_sites=20))
    assert refused.value.reason == "too_many_sites"


def test_clearance_by_hand_and_by_sampling() -> None:
    lattice = np.diag([10.0, 10.0, 10.0])
    sites = np.array([[0.5, 0.2, 0.0], [0.05, 0.9, 0.0]])
    start, end = np.array([[0.1, 0.0, 0.0]]), np.array([[0.9, 0.0, 0.0]])
    assert chord_clearance_a(lattice, start, end, sites[:1]) == pytest.approx([2.0])
    assert chord_clearance_a(lattice, start, end, sites) == pytest.approx([np.sqrt(1.25)])
    assert np.isinf(chord_clearance_a(lattice, start, end, sites[:0])).all()
    known = KNOWN["MgMo6S8 Chevrel"]
    network = everything(known.crystal(), "Mg", 9.0)
    structure = structure_from_crystal(network.crystal)
    structure.remove_species(["Mg"])
    for hop in network.hops:
        chord = hop.start_frac + np.linspace(0, 1, 401)[:, None] * (hop.end_frac - hop.start_frac)
        nearest = structure.lattice.get_all_distances(chord, structure.frac_coords).min()
        assert hop.clearance_a == pytest.approx(nearest, abs=1e-3)


def test_ion_without_framework_has_infinite_clearance() -> None:
    crystal = crystal_of(Lattice.cubic(3.5), ["Mg"], [(0, 0, 0)])
    assert np.isinf(enumerate_hops(crystal, "Mg").hops[0].clearance_a)


@pytest.mark.parametrize(
    "bad",
    [
        {"cutoff_a": 0.0},
        {"cutoff_a": float("nan")},
        {"cutoff_a": 99.0},
        {"cutoff_floor_a": 6.0, "cutoff_cap_a": 5.0},
        {"max_hops": 0},
        {"max_sites": 0},
        {"min_clearance_a": -1.0},
        {"flag_clearance_a": float("nan")},
    ],
)
def test_settings_check_themselves(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected|exceeds") as refused:
        HopSettings(**bad)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
