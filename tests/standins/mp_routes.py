"""The two routes of the Materials Project's server that are stood in for: what each can be asked.

Read from the server's own code, emmet-api 0.87.3; ``test_against_emmet`` holds the one against the
other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.standins.mp_parameters import (
    Criteria,
    Parameters,
    Refused,
    elements,
    identifiers,
    numbers,
    one_or_any,
    ranges,
    systems,
)

_names = str.split

_SUMMARY_INTEGERS = _names("num_magnetic_sites num_unique_magnetic_sites nsites nelements")
_SUMMARY_NUMBERS = _names("""
    weighted_surface_energy_EV_PER_ANG2 weighted_surface_energy weighted_work_function
    surface_anisotropy shape_factor e_ij_max e_total e_ionic e_electronic n universal_anisotropy
    homogeneous_poisson total_magnetization total_magnetization_normalized_vol
    total_magnetization_normalized_formula_units dos_energy_up dos_energy_down band_gap cbm vbm
    efermi uncorrected_energy_per_atom energy_per_atom formation_energy_per_atom
    energy_above_hull equilibrium_reaction_energy_per_atom volume density density_atomic
""")
_SUMMARY_OTHERS = _names("""
    prop_origins phonon_IDs theoretical database_IDs possible_species has_reconstructed
    bulk_modulus shear_modulus is_magnetic ordering types_of_magnetic_species dos bandstructure
    is_gap_direct is_metal grain_boundaries xas is_stable decomposes_to builder_meta elements
    composition composition_reduced formula_pretty formula_anonymous chemsys symmetry material_id
    deprecated deprecation_reasons last_updated origins warnings structure property_name task_ids
    has_props
""")
_SUMMARY_SORTS = _names("""
    nsites nelements formula_pretty formula_anonymous chemsys volume density density_atomic
    material_id uncorrected_energy_per_atom energy_per_atom formation_energy_per_atom
    energy_above_hull band_gap cbm vbm efermi ordering total_magnetization
    total_magnetization_normalized_vol total_magnetization_normalized_formula_units
    num_magnetic_sites num_unique_magnetic_sites universal_anistropy homogeneous_poisson e_total
    e_ionic e_electronic n e_ij_max weighted_surface_energy_EV_PER_ANG2 weighted_surface_energy
    weighted_work_function surface_anisotropy shape_factor
""")
_ELECTRODE_INTEGERS = _names("num_steps nelements")
_ELECTRODE_NUMBERS = _names("""
    max_voltage_step max_delta_volume average_voltage capacity_grav capacity_vol energy_grav
    energy_vol fracA_charge fracA_discharge stability_charge stability_discharge
""")
_ELECTRODE_OTHERS = _names("""
    builder_meta battery_type material_ids thermo_type battery_formula working_ion last_updated
    framework framework_formula elements chemsys formula_anonymous warnings formula_charge
    formula_discharge id_charge id_discharge host_structure adj_pairs entries_composition_summary
    electrode_object
""")
_ELECTRODE_SORTS = _names("""
    battery_id max_delta_volume average_voltage capacity_grav capacity_vol energy_grav energy_vol
    stability_charge stability_discharge working_ion
""")
_MODULI = {
    f"{letter}_{mean}": f"{modulus}_modulus.{mean}"
    for letter, modulus in (("k", "bulk"), ("g", "shear"))
    for mean in ("voigt", "reuss", "vrh")
}
_CRYSTAL_SYSTEMS = frozenset(
    ("Triclinic", "Monoclinic", "Orthorhombic", "Tetragonal", "Trigonal", "Hexagonal", "Cubic")
)
_ORDERINGS = ("FM", "AFM", "FiM", "NM", "Unknown")


@dataclass(frozen=True)
class Route:
    """What one kind of document can be asked for."""

    id_fields: tuple[str, ...]
    """Fields that hold ids, which can be had in either form."""
    model_fields: tuple[str, ...]
    default_fields: tuple[str, ...]
    sort_fields: frozenset[str]
    criteria: Callable[[Parameters], Criteria]
    """Raises ``Refused``."""


def _summary(parameters: Parameters) -> Criteria:
    # In the server's order: of two that speak of one path, the later counts.
    criteria: Criteria = {}
    if ids := parameters.texts("material_ids"):
        criteria["material_id"] = {"$in": identifiers(ids)}
    parameters.beyond("formula", "spacegroup_symbol")
    given = systems(parameters)
    if "*" in "".join(given):
        places = given[0].split("-")
        criteria["nelements"] = len(places)
        criteria |= {
            f"composition_reduced.{one}": {"$exists": True} for one in places if one != "*"
        }
    else:
        criteria |= one_or_any("chemsys", given)
    for name, exists in (("elements", True), ("exclude_elements", False)):
        for symbol in elements(parameters, name, 60):
            criteria[f"composition_reduced.{symbol}"] = {"$exists": exists}
    if species := parameters.texts("possible_species"):
        criteria["possible_species"] = {"$all": species}
    criteria |= _symmetry(parameters)
    for name in ("is_stable", "theoretical", "is_gap_direct", "is_metal", "has_reconstructed"):
        if (flag := parameters.flag(name)) is not None:
            criteria[name] = flag
    if ordering := parameters.one_of("ordering", _ORDERINGS):
        criteria["ordering"] = ordering
    kinds = dict.fromkeys(_SUMMARY_INTEGERS, int) | dict.fromkeys(_SUMMARY_NUMBERS, float)
    criteria |= numbers(parameters, kinds)
    criteria |= ranges(parameters, _MODULI)
    criteria |= {f"has_props.{one}": True for one in parameters.texts("has_props")}
    criteria["deprecated"] = parameters.flag("deprecated", False)
    parameters.one_of("license", ("BY-C", "BY-NC", "All"))  # the key decides
    return criteria | _batch(parameters)


def _symmetry(parameters: Parameters) -> Criteria:
    given = [one.capitalize() for one in parameters.texts("crystal_system")]
    groups = parameters.texts("spacegroup_number")
    if not (_CRYSTAL_SYSTEMS.issuperset(given) and all(map(str.isdecimal, groups))):
        raise Refused(500)
    numbers = sorted({int(one) for one in groups})
    return {
        **one_or_any("symmetry.crystal_system", given),
        **one_or_any("symmetry.number", numbers),
    }


def _batch(parameters: Parameters) -> Criteria:
    path = "builder_meta.batch_id"
    names = {"batch_id": "$in", "batch_id_not_eq": "$nin"}
    names |= {"batch_id_eq_any": "$in", "batch_id_neq_any": "$nin"}
    given = [
        (operator, value) for name, operator in names.items() if (value := parameters.text(name))
    ]
    if len(given) > 1:
        raise Refused(400, "Please only choose one of `batch_id` parameters to filter.")
    for operator, value in given:
        return {path: {operator: [one.strip() for one in value.split(",")]}}
    return {}


def _electrodes(parameters: Parameters) -> Criteria:
    criteria: Criteria = {}
    parameters.beyond("formula")
    if batteries := sorted(set(parameters.texts("battery_ids"))):
        criteria["material_ids"] = {"$in": identifiers([one.split("_")[0] for one in batteries])}
        criteria["working_ion"] = {"$in": [one.split("_")[-1] for one in batteries]}
    summary = "entries_composition_summary"
    given = systems(parameters)
    if "*" in "".join(given):
        places = given[0].split("-")
        criteria["nelements"] = {"$in": [len(places), len(places) - 1]}
        if known := [one for one in places if one != "*"]:
            criteria[f"{summary}.all_elements"] = {"$all": known}
    else:
        criteria |= one_or_any(f"{summary}.all_chemsys", given)
    if ions := parameters.texts("working_ion"):
        criteria["working_ion"] = {"$in": ions}
    asked = {
        operator: symbols
        for name, operator in (("elements", "$all"), ("exclude_elements", "$nin"))
        if (symbols := elements(parameters, name))
    }
    if asked:
        criteria[f"{summary}.all_elements"] = asked
    kinds = dict.fromkeys(_ELECTRODE_INTEGERS, int) | dict.fromkeys(_ELECTRODE_NUMBERS, float)
    return criteria | numbers(parameters, kinds)


SUMMARY = Route(
    id_fields=("material_id", "task_ids"),
    model_fields=(*_SUMMARY_INTEGERS, *_SUMMARY_NUMBERS, *_SUMMARY_OTHERS),
    default_fields=("material_id",),
    sort_fields=frozenset(_SUMMARY_SORTS),
    criteria=_summary,
)
ELECTRODES = Route(
    id_fields=("material_ids", "id_charge", "id_discharge"),
    model_fields=(*_ELECTRODE_INTEGERS, *_ELECTRODE_NUMBERS, *_ELECTRODE_OTHERS),
    default_fields=("battery_id", "last_updated"),
    sort_fields=frozenset(_ELECTRODE_SORTS),
    criteria=_electrodes,
)
