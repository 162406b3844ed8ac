"""Curved bands: no atoms meet, the same way whoever looks, and as good as another solver's."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.analysis.diffusion.neb.pathfinder import IDPPSolver
from pymatgen.core.structure import Structure

from pathways.band import build_band
from pathways.hops import HopSettings, enumerate_hops
from pathways.idpp import IdppPath, idpp_path
from pathways.mechanisms import with_mechanisms
from pathways.neighbours import closest_pair_a
from pathways.types import N_IMAGES, Band, FloatArray
from tests.pathways.crystals import KNOWN

FAR_A = 4.0


def band_of(name: str, which: int = 0) -> Band:
    network = enumerate_hops(KNOWN[name].crystal(), KNOWN[name].ion)
    return build_band(network.crystal, network.hops[which])


def straight(band: Band, n_images: int) -> FloatArray:
    """(n, m, 3), fractional: the host as it is, the ion on its chord."""
    share = np.linspace(0.0, 1.0, n_images)[:, None]
    ions = band.ion_frac[0] + share * (band.ion_frac[-1] - band.ion_frac[0])
    return np.stack([np.concatenate([ion[None], band.host_frac]) for ion in ions])


def ion_gap_a(lattice: FloatArray, images: FloatArray) -> float:
    """Least distance of the ion from another atom on any image, Å."""
    gap = images[:, 1:] - images[:, :1]
    return float(np.linalg.norm((gap - np.rint(gap)) @ lattice, axis=-1).min())


def objective(lattice: FloatArray, images: FloatArray) -> float:
    """The sum over images of Smidstrup's objective, from nearest images of all pairs, 1/Å^2."""
    ions = ["H"] * images.shape[1]
    distances = [Structure(lattice, ions, frac).distance_matrix for frac in images]
    upper = np.triu_indices(len(ions), 1)
    total = 0.0
    for k in range(1, len(images) - 1):
        share = k / (len(images) - 1)
        target = (1 - share) * distances[0][upper] + share * distances[-1][upper]
        distance = distances[k][upper]
        total += float(((distance - target) ** 2 / distance**4).sum())
    return total


def others_images(band: Band, n_images: int, ion_only: bool) -> FloatArray:
    """(n, m, 3), fractional: the images by pymatgen-analysis-diffusion."""
    # The ion is named apart from others of its kind, which stay.
    species = [2, *band.host_numbers.tolist()]
    start = [Structure(band.lattice, species, frac) for frac in straight(band, n_images)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = IDPPSolver(start).run(species=["He"] if ion_only else None)
    return np.array([image.frac_coords for image in images])


def apart_a(one: IdppPath, other: FloatArray) -> FloatArray:
    """(n, m), Å: how far the same atoms are apart, image by image."""
    gap = one.frac - other
    return np.asarray(np.linalg.norm((gap - np.rint(gap)) @ one.lattice, axis=-1))


@pytest.mark.parametrize("name", KNOWN)
def test_images_go_evenly_from_end_to_end_and_no_atoms_meet(name: str) -> None:
    band = band_of(name)
    path = idpp_path(band)
    chord = straight(band, 7)
    assert path.converged
    assert path.frac.shape == (7, 1 + len(band.host_frac), 3)
    assert np.allclose(path.frac[[0, -1]], chord[[0, -1]], atol=1e-9)
    steps_a = np.linalg.norm(np.diff(path.frac, axis=0) @ path.lattice, axis=-1)
    assert steps_a[:, 0].max() < 1.3 * steps_a[:, 0].min()
    assert steps_a[:, 1:].max() < 0.5 * band.length_a
    host = [closest_pair_a(path.lattice, frac[1:], FAR_A) for frac in path.frac]
    assert min(host) > host[0] - 0.07
    assert ion_gap_a(path.lattice, path.frac) > ion_gap_a(path.lattice, chord) - 0.01
    assert objective(path.lattice, path.frac) < objective(path.lattice, chord)


def test_a_chord_through_atoms_is_led_around_them() -> None:
    known = KNOWN["LiRuO2 rutile-type"]
    settings = HopSettings(cutoff_a=5.5, min_clearance_a=0.0)
    network = enumerate_hops(known.crystal(), known.ion, settings)
    through = [hop for hop in network.hops if hop.clearance_a < 0.7]
    assert len(through) >= 2
    for hop in through:
        band = build_band(network.crystal, hop)
        for relax_a, least_a in ((0.0, 1.2), (4.0, 1.4)):
            path = idpp_path(band, relax_a=relax_a)
            assert ion_gap_a(path.lattice, path.frac) > least_a


@pytest.mark.parametrize("n_images", [5, 7, 9])
def test_the_host_stays_where_it_is_told_to(n_images: int) -> None:
    band = band_of("LiFePO4 olivine")
    path = idpp_path(band, n_images, relax_a=0.0)
    assert len(path) == len(path.images) == n_images
    assert np.allclose(path.frac[:, 1:], band.host_frac, atol=1e-12)
    assert [image.numbers[0] for image in path.images] == [3] * n_images
    assert np.linalg.norm((path.frac - straight(band, n_images))[:, 0] @ path.lattice) > 0.1
    assert len(band.ion_frac) == N_IMAGES
    assert np.allclose(np.diff(band.ion_frac, 2, axis=0), 0.0)  # the model's band is straight


@pytest.mark.parametrize("mechanism", ["vacancy", "dilute"])
@pytest.mark.parametrize(
    ("name", "which"),
    [("LiCoO2 layered", 0), ("LiVO2 anatase-type", 0), ("CaTiO3 perovskite", 1)],
)
def test_with_a_fixed_host_as_another_solver(name: str, which: int, mechanism: str) -> None:
    known = KNOWN[name]
    network = with_mechanisms(enumerate_hops(known.crystal(), known.ion), (mechanism,))
    band = build_band(network.crystal, network.hops[which])
    path, other = idpp_path(band, relax_a=0.0), others_images(band, 7, ion_only=True)
    assert objective(band.lattice, path.frac) <= 1.005 * objective(band.lattice, other)
    assert apart_a(path, other).max() < 0.15


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("LiRuO2 rutile-type", 1.01), ("LiVO2 anatase-type", 1.01), ("MgMn2O4 spinel", 1.2)],
)
def test_with_all_atoms_as_another_solver(name: str, ratio: float) -> None:
    """Where its own bonds would give way, the host is kept together, and that has a price."""
    band = band_of(name)
    path, other = idpp_path(band, relax_a=6.0), others_images(band, 7, ion_only=False)
    ours, theirs = objective(band.lattice, path.frac), objective(band.lattice, other)
    assert ours <= ratio * theirs
    assert ours < 0.85 * objective(band.lattice, straight(band, 7))
    assert apart_a(path, other)[:, 0].max() < 0.1
    assert apart_a(path, other).max() < 0.15


@pytest.mark.parametrize("name", ["LiTiS2 layered", "MgMn2O4 spinel"])
def test_a_host_that_may_move_whole_stays(name: str) -> None:
    path = idpp_path(band_of(name), relax_a=6.0)
    drift = (path.frac[:, 1:] - path.frac[0, 1:]).mean(axis=1) @ path.lattice
    assert np.linalg.norm(drift, axis=1).max() < 0.1


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("relax_a", [0.0, 4.0])
def test_the_same_path_whoever_looks(which: int, relax_a: float) -> None:
    band = band_of("LiFePO4 olivine", which)
    path = idpp_path(band, relax_a=relax_a)
    rng = np.random.default_rng(5)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    shift, order = rng.uniform(-1, 1, 3), rng.permutation(len(band.host_numbers))
    moved = (band.host_frac + shift)[order]
    turned = replace(
        band,
        lattice=band.lattice @ (axes * np.sign(np.linalg.det(axes))),
        ion_frac=band.ion_frac + shift,
        host_frac=moved - np.floor(moved),
        host_numbers=band.host_numbers[order],
    )
    again = idpp_path(turned, relax_a=relax_a)
    expected = path.frac[:, np.concatenate([[0], order + 1])] + shift
    assert apart_a(again, expected).max() < 0.01
    back = idpp_path(replace(band, ion_frac=band.ion_frac[::-1]), relax_a=relax_a)
    assert apart_a(back, path.frac[::-1]).max() < 0.01
    assert again.objective == pytest.approx(path.objective, rel=1e-3)


def test_steps_are_bounded() -> None:
    band = band_of("CaTiO3 perovskite", 1)
    short = idpp_path(band, max_steps=2)
    assert not short.converged
    assert short.objective > idpp_path(band).objective


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"n_images": 2}, "n_images 2"),
        ({"n_images": 34}, "n_images 34"),
        ({"relax_a": -1.0}, "relax_a -1"),
        ({"relax_a": float("nan")}, "relax_a nan"),
        ({"max_steps": 0}, "max_steps 0"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        idpp_path(band_of("LiCoO2 layered"), **wrong)  # type: ignore[arg-type]
