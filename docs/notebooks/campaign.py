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
# A campaign over the catalog

Screen known magnesium hosts, look at the ranking, at one material and at what was refused. Open
this file in Jupyter with jupytext, or run it as a script. Nothing is downloaded: the catalog ships
with the program.
"""

# %%
from screen import Campaign, open_results

# %% [markdown]
# ## Run
#
# The options are those of `screen run`, by their names (`docs/configuration.md` has them all). The
# same options are the same campaign: run this cell again and nothing is done twice; take `limit`
# away and it goes on. `run(progress=True)` shows a bar.

# %%
campaign = Campaign("Mg-*", limit=8, db="mg.duckdb")
results = campaign.run()
print(results.outcome)

# %% [markdown]
# ## Look
#
# Tables are pandas `DataFrame`s (Arrow tables where pandas is not installed). Barriers are in eV,
# with their 90 % interval; `em_1d_ev` is that of the easiest way through the crystal. They are
# predictions of a model of DFT-NEB barriers: a screen, not DFT.

# %%
materials = results.materials()
columns = ["formula", "em_1d_ev", "em_1d_low_ev", "em_1d_high_ev", "em_3d_ev", "applicability"]
print(materials[columns].round(2))

# %%
print(results.funnel()[["stage", "failed_stage", "reason", "n"]])
print(results.failures())

# %% [markdown]
# Anything else is a question in SQL.

# %%
print(results.sql("select formula, count(*) as hops from ranked_hops group by all order by all"))

# %% [markdown]
# ## One material
#
# Its ways through in one, two and three dimensions, each with its interval, hops and directions.

# %%
best = results.material(materials["material_id"][0])
for passage in (best.percolation.em_1d, best.percolation.em_2d, best.percolation.em_3d):
    interval = f"{passage.em_low_ev:.2f} to {passage.em_high_ev:.2f}"
    print(f"{best.formula}: {passage.em_ev:.2f} eV ({interval}) along {passage.directions}")

# %%
for hop in best.hops:
    print(f"{hop.hop_id}: {hop.em_ev:.2f} eV over {hop.length_a:.2f} Å, like {hop.nearest}")

# %% [markdown]
# ## Later, or elsewhere
#
# A database can be opened while its campaign is still running, on the same machine: what is read
# then is its last snapshot.

# %%
later = open_results("mg.duckdb")
print(len(later.hops()), "hops; snapshot of a running campaign:", later.age_s() is not None)
