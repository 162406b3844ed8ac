"""``screen neb write --code atomate2``: a flow that atomate2 loads and writes VASP inputs from."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pymatgen.io.vasp import Incar, Kpoints

from screen.cli import main
from tests.screen.neb.conftest import AddHop, images_of


def write(shortlist: Path, *options: str, code: str = "atomate2") -> int:
    return main(["neb", "write", str(shortlist), "--code", code, *options])


@pytest.mark.skipif(find_spec("atomate2") is not None, reason="atomate2 is installed")
def test_without_atomate2_it_says_how_to_install_it(
    shortlist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write(shortlist) == 1
    assert "pip install atomate2" in capsys.readouterr().err
    assert not list(shortlist.rglob("flow.json"))


@pytest.mark.parametrize("functional", ["PBE", "PBE+U", "R2SCAN"])
@pytest.mark.parametrize("profile", ["vasp", "vtst"])
def test_the_flow_says_what_the_files_say(add_hop: AddHop, functional: str, profile: str) -> None:
    pytest.importorskip("atomate2")
    from monty.json import MontyDecoder

    folder = add_hop("MgMn2O4", "dilute")
    options = ["--functional", functional, "--profile", profile, "--charge", "background"]
    assert write(folder.parent, *options) == 0
    assert write(folder.parent, *options, code="vasp") == 0
    flow = MontyDecoder().decode((folder / "atomate2" / "flow.json").read_text())
    images = images_of(folder)
    start, end, between, band, collect = flow.jobs
    assert start.metadata["hop_id"] == images.listed.hop_id
    for job, index in ((start, 0), (end, -1)):
        [structure] = job.function_args
        assert structure.species == images.structures[index].species
        gap = structure.cart_coords - images.structures[index].cart_coords
        assert np.abs(gap).max() < 1e-6
    assert between.function_args[1] == 5
    assert collect.name == "collect_neb_output"
    for job, place in ((start, "endpoints/start"), (band, "neb")):
        made = job.maker.input_set_generator.get_input_set(
            images.structures[0].copy(), potcar_spec=True
        )
        expected = Incar.from_file(folder / "vasp" / place / "INCAR")
        assert dict(made.incar) == dict(expected)
        assert made.kpoints.kpts == Kpoints.from_file(folder / "vasp" / place / "KPOINTS").kpts
        assert str(made.potcar).split() == ["Mg_pv", "Mn_pv", "O"]
    meta = json.loads((folder / "atomate2" / "meta.json").read_text())
    assert (meta["functional"], meta["profile"]) == (functional, profile)


def test_the_flow_interpolates_as_it_was_told(add_hop: AddHop) -> None:
    pytest.importorskip("atomate2")
    from monty.json import MontyDecoder

    folder = add_hop("LiCoO2")
    for options, method in (([], "IDPP"), (["--linear"], "linear")):
        assert write(folder.parent, "--overwrite", *options) == 0
        flow = MontyDecoder().decode((folder / "atomate2" / "flow.json").read_text())
        between = flow.jobs[2]
        assert between.function_kwargs["interpolation_method"] == method
        images = images_of(folder, linear=bool(options))
        made = between.function.original(
            [images.structures[0], images.structures[-1]],
            *between.function_args[1:],
            **between.function_kwargs,
        )
        assert [structure.species for structure in made] == 7 * [images.structures[0].species]
        frac = np.stack([structure.frac_coords for structure in made])
        steps_a = np.linalg.norm(np.diff(frac, axis=0) @ images.lattice, axis=2)
        assert steps_a.max() < 1.0
        assert steps_a.sum(axis=0).argmax() == images.mover
