"""atomate2: a jobflow flow that relaxes the ends, interpolates anew, and runs the band in VASP.

Its INCAR, KPOINTS and POTCAR symbols are those of ``--code vasp``; atomate2's own defaults (another
functional among them) are overridden or taken out one by one.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from screen.errors import FAILED, UserError
from screen.neb.images import NebImages
from screen.neb.vasp import VaspInputs, vasp_inputs

FLOW = "flow.json"
_BY_ELEMENT = ("LDAUU", "LDAUJ", "LDAUL")


def check_atomate2() -> None:
    """Refuse to go on without atomate2.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec("atomate2") is None:
        raise UserError(
            "--code atomate2 needs atomate2, which is not installed: "
            "pip install atomate2 pymatgen-analysis-diffusion",
            FAILED,
        )


def write_atomate2(images: NebImages, folder: Path) -> Mapping[str, Any]:
    """Write ``flow.json``; monty's decoder reads it back as a flow to submit."""
    from importlib import metadata

    from monty.json import MontyEncoder

    inputs = vasp_inputs(images)
    flow = neb_flow(images, inputs)
    (folder / FLOW).write_text(json.dumps(flow, cls=MontyEncoder))
    return {**inputs.meta, "atomate2": metadata.version("atomate2"), "interpolated_by": "flow"}


def neb_flow(images: NebImages, inputs: VaspInputs) -> Any:
    """The flow of a hop: two relaxations, images between what they give, the band."""
    from atomate2.vasp.jobs.core import RelaxMaker
    from atomate2.vasp.jobs.neb import NebFromEndpointsMaker, NebFromImagesMaker
    from atomate2.vasp.sets.core import NebSetGenerator, RelaxSetGenerator

    n_images = len(images.frac) - 2
    climbing = images.settings.profile == "vtst"
    neb_set = NebSetGenerator(
        num_images=n_images,
        climbing_image=climbing,
        **_overrides(images, inputs, inputs.band_incar),
    )
    end_set = RelaxSetGenerator(auto_kspacing=False, **_overrides(images, inputs, inputs.end_incar))
    for generator, wanted in ((end_set, inputs.end_incar), (neb_set, inputs.band_incar)):
        made = generator.get_input_set(images.structures[0].copy(), potcar_spec=True).incar
        generator.user_incar_settings |= {key: None for key in made if key not in wanted}
    maker = NebFromEndpointsMaker(
        # Without a maker for the ends atomate2 asks emmet for what it does not have.
        endpoint_relax_maker=RelaxMaker(input_set_generator=end_set),
        images_maker=NebFromImagesMaker(input_set_generator=neb_set),
    )
    linear = images.settings.linear
    options = {} if linear else {"sort_tol": 0.0}  # atoms are in order; near ones may not swap
    flow = maker.make(
        [images.structures[0].copy(), images.structures[-1].copy()],
        n_images,
        interpolation_method="linear" if linear else "IDPP",
        **options,
    )
    flow.name = images.title
    flow.update_metadata({"hop_id": images.listed.hop_id, "ionscreen": inputs.meta})
    return flow


def _overrides(images: NebImages, inputs: VaspInputs, incar: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of an input set that leave nothing to its defaults."""
    settings = dict(incar)
    settings["MAGMOM"] = dict(inputs.meta["magmom_mub"])
    for key in _BY_ELEMENT:
        if key in incar:
            settings[key] = dict(zip(images.elements, incar[key], strict=True))
    return {
        "user_incar_settings": settings,
        "user_kpoints_settings": inputs.kpoints,
        "user_potcar_settings": dict(zip(images.elements, inputs.symbols, strict=True)),
        "user_potcar_functional": inputs.meta["potcar_functional"],
        "auto_ismear": False,
        "sort_structure": False,
    }
