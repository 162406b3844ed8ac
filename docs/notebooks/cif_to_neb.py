# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
"""
# From one CIF to a curved start for NEB

Predict the barriers of one crystal, choose the hop that limits it, and make images that a nudged
elastic band calculation can start from. Open this file in Jupyter with jupytext, or run it as a
script. It needs ASE: `pip install ase`.
"""

# %%
from ase.geometry import get_distances
from ase.io import write
from pymatgen.core import Lattice, Structure

from screen import RefusedError, predict

# %% [markdown]
# ## A crystal
#
# Any pymatgen `Structure`, ASE `Atoms` or file will do. Here: spinel MgMn2O4, written as a CIF.

# %%
spinel = Structure.from_spacegroup(
    "Fd-3m",
    Lattice.cubic(8.45),
    ["Mg", "Mn", "O"],
    [[0, 0, 0], [0.625, 0.625, 0.625], [0.3875, 0.3875, 0.3875]],
)
spinel.to("MgMn2O4.cif")

# %% [markdown]
# ## Its barriers, in three lines
#
# The numbers are those of `screen run --source MgMn2O4.cif`.

# %%
crystal = predict("MgMn2O4.cif", ion="Mg")
through = crystal.percolation.em_1d
print(f"{through.em_ev:.2f} eV ({through.em_low_ev:.2f} to {through.em_high_ev:.2f})")

# %%
print(crystal.table()[["hop_id", "length_a", "em_ev", "em_low_ev", "em_high_ev", "nearest"]])

# %% [markdown]
# What cannot be screened is refused with the stage, a code and one line.

# %%
try:
    predict(spinel, ion="Ca")
except RefusedError as refused:
    print(refused.stage, refused.reason, refused.detail, sep=" | ")

# %% [markdown]
# ## The hop that limits the way
#
# `band` is what the model saw: the ion on a straight line, the host as it is. `curved` leads the
# ion around the host's atoms, which make way (IDPP, doi:10.1063/1.4878664).

# %%
(limiting,) = [hop for hop in crystal.hops if hop.hop_id == through.limiting_hop_id]
images = limiting.curved(n_images=7).to_ase()
print(limiting.band, len(images), "curved images of", len(images[0]), "atoms")


# %% [markdown]
# How close the ion, the first atom, comes to the host on either way:


# %%
def closest_a(atoms):
    """Least distance of the first atom to the others, Å."""
    positions = atoms.positions
    return get_distances(positions[:1], positions[1:], atoms.cell, atoms.pbc)[1].min()


straight = limiting.band.to_ase()
print(f"straight: {min(map(closest_a, straight)):.2f} Å")
print(f"curved:   {min(map(closest_a, images)):.2f} Å")

# %% [markdown]
# ## Out
#
# For OVITO, VESTA or your own NEB. `screen shortlist` and `screen neb write` make whole input
# folders for VASP, Quantum ESPRESSO and ASE from the database of a campaign.

# %%
write("images.extxyz", images)
