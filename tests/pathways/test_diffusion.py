"""Diffusivities and rates, by hand and against published limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathways.diffusion import (
    BOLTZMANN_EV_K,
    ROOM_TEMPERATURE_K,
    em_limit_ev,
    log10_diffusivity_cm2_s,
    max_particle_nm,
)

KT_EV = BOLTZMANN_EV_K * ROOM_TEMPERATURE_K


def test_diffusivity_by_hand() -> None:
    # (3e-8 cm)^2 1e13 / s = 9e-3 cm^2/s, less a factor of 10 for every kT ln 10 = 59.5 meV.
    assert log10_diffusivity_cm2_s(0.0, 3.0) == pytest.approx(math.log10(9e-3))
    assert log10_diffusivity_cm2_s(0.5953, 3.0) == pytest.approx(math.log10(9e-13), abs=1e-3)
    assert log10_diffusivity_cm2_s(0.3, 3.0, temperature_k=600.0) == pytest.approx(
        log10_diffusivity_cm2_s(0.15, 3.0)
    )


@pytest.mark.parametrize(("particle_nm", "published_ev"), [(1000.0, 0.525), (100.0, 0.65)])
def test_limits_of_rong_2015(particle_nm: float, published_ev: float) -> None:
    """C/2 at room temperature; a frequency ten times as high allows kT ln 10 more."""
    low = em_limit_ev(particle_nm, 3.0, attempt_hz=1e12)
    assert low == pytest.approx(published_ev, abs=0.03)
    assert em_limit_ev(particle_nm, 3.0) == pytest.approx(low + KT_EV * math.log(10))


@given(
    st.floats(1, 1e5),
    st.floats(1.5, 9),
    st.floats(0.01, 20),
    st.floats(200, 1000),
    st.floats(1e11, 1e14),
)
def test_limit_and_size_are_inverse(
    particle_nm: float, length_a: float, c_rate: float, temperature_k: float, attempt_hz: float
) -> None:
    limit_ev = em_limit_ev(particle_nm, length_a, c_rate, temperature_k, attempt_hz)
    assert max_particle_nm(limit_ev, length_a, c_rate, temperature_k, attempt_hz) == pytest.approx(
        particle_nm, rel=1e-6
    )
    # r^2 / D is the time that the rate leaves.
    diffusivity = 10 ** log10_diffusivity_cm2_s(limit_ev, length_a, temperature_k, attempt_hz)
    assert (particle_nm * 1e-7) ** 2 / diffusivity == pytest.approx(3600 / c_rate, rel=1e-6)


def test_what_makes_it_harder() -> None:
    assert em_limit_ev(100, 3.0, c_rate=1.0) == pytest.approx(
        em_limit_ev(100, 3.0) - KT_EV * math.log(2)
    )
    assert em_limit_ev(200, 3.0) < em_limit_ev(100, 3.0) < em_limit_ev(100, 6.0)
    assert em_limit_ev(1e9, 3.0) < 0  # a metre
    assert max_particle_nm(8.0, 3.0) < 1e-50
