"""What a barrier means for a battery: diffusivity at room temperature, particle size and rate.

An ion that attempts a hop of length a at frequency nu diffuses, as a random walk, with

    D = a^2 nu exp(-Em / kT)

without the factors of order one that the exponent hides: 1/2, 1/4 or 1/6 for the dimension of the
walk, correlation, the share of vacant sites. All of them make D smaller. A factor of 10 in D is
0.06 eV of barrier at 300 K.

A particle is filled in the time t = r^2 / D, where r is the way that the ion has to go in it, as in
Rong et al., Chem. Mater. 27, 6016 (2015), doi:10.1021/acs.chemmater.5b02342. Their limits at C/2,
about 525 meV for a micron and 650 meV for 100 nm, follow with a = 3 Å and nu = 10^12 Hz; with the
10^13 Hz used here, of the order of optical phonons, both are kT ln(10) = 60 meV higher.
"""

from __future__ import annotations

import math

ATTEMPT_HZ = 1e13
"""Attempt frequency nu."""

ROOM_TEMPERATURE_K = 300.0

BOLTZMANN_EV_K = 8.617333262e-5
"""CODATA 2018, exact in SI."""

_CM_PER_A = 1e-8
_NM_PER_CM = 1e7
_S_PER_H = 3600.0


def log10_diffusivity_cm2_s(
    em_ev: float,
    hop_length_a: float,
    temperature_k: float = ROOM_TEMPERATURE_K,
    attempt_hz: float = ATTEMPT_HZ,
) -> float:
    """Decadic logarithm of D in cm^2/s.

    Args:
        em_ev: migration barrier, eV.
        hop_length_a: length of the hop that limits, Å.
        temperature_k: temperature, K.
        attempt_hz: attempt frequency, Hz.
    """
    free = math.log10((hop_length_a * _CM_PER_A) ** 2 * attempt_hz)
    return free - em_ev / (BOLTZMANN_EV_K * temperature_k * math.log(10))


def em_limit_ev(
    particle_nm: float,
    hop_length_a: float,
    c_rate: float = 0.5,
    temperature_k: float = ROOM_TEMPERATURE_K,
    attempt_hz: float = ATTEMPT_HZ,
) -> float:
    """The highest barrier with which a particle charges or discharges at a rate, eV.

    Args:
        particle_nm: way that the ion has to go in the particle, nm.
        hop_length_a: length of the hop that limits, Å.
        c_rate: 1 / hours of a full charge, such as 0.5 for C/2.
        temperature_k: temperature, K.
        attempt_hz: attempt frequency, Hz.

    Returns:
        eV; negative where not even hops without a barrier are fast enough.
    """
    wanted_cm2_s = (particle_nm / _NM_PER_CM) ** 2 * c_rate / _S_PER_H
    free_cm2_s = (hop_length_a * _CM_PER_A) ** 2 * attempt_hz
    return BOLTZMANN_EV_K * temperature_k * math.log(free_cm2_s / wanted_cm2_s)


def max_particle_nm(
    em_ev: float,
    hop_length_a: float,
    c_rate: float = 0.5,
    temperature_k: float = ROOM_TEMPERATURE_K,
    attempt_hz: float = ATTEMPT_HZ,
) -> float:
    """The longest way in a particle that charges or discharges at a rate, nm.

    The inverse of ``em_limit_ev``, with the same arguments.
    """
    diffusivity_cm2_s = (hop_length_a * _CM_PER_A) ** 2 * attempt_hz
    diffusivity_cm2_s *= math.exp(-em_ev / (BOLTZMANN_EV_K * temperature_k))
    return math.sqrt(diffusivity_cm2_s * _S_PER_H / c_rate) * _NM_PER_CM
