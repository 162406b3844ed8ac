"""The database's tables and views as numbered migrations, in plain SQL.

A migration that has been released is never edited: a change is a new one at the end, and the views
are made anew by the last. All times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from screen.views import VIEWS_SQL as VIEWS_SQL

TABLES = (
    "schema_version",
    "campaigns",
    "materials",
    "hops",
    "predictions",
    "material_ranking",
    "barriers",
    "profiles",
    "mlip_corrections",
    "failures",
    "campaign_materials",
    "left_out",
)
"""Every table, in the order in which their rows come to refer to one another."""

_TABLES_SQL = """
create table campaigns (
    campaign_id text primary key,
    settings json not null,
    source text not null,
    source_version text not null,
    model_id text not null,
    code_version text not null,
    expected bigint,               -- candidates the source says it has; null: not known
    started timestamp not null,
    finished timestamp             -- null: running or interrupted
);
create table materials (
    material_id text primary key,
    source text,
    formula text,
    chemsys text,
    nsites integer,
    space_group text,
    energy_above_hull_ev double,
    band_gap_ev double,
    theoretical boolean,
    structure json,                -- {"lattice": 3x3 in Å, "species": [..], "frac": [..]}
    license text,
    url text,
    source_version text,
    fetched_at timestamp
);
create table hops (
    hop_id text primary key,
    material_id text not null,
    ion text not null,
    mechanism text not null,
    length_a double not null,
    multiplicity integer not null,
    start_frac double[] not null,
    end_frac double[] not null,
    image integer[] not null,
    clearance_a double,
    supercell integer[],           -- 9 integers, row by row; null: no band could be built
    flags text[] not null
);
create table predictions (
    hop_id text,
    model_id text,
    em_ev double not null,
    em_std_ev double,
    em_low_ev double,              -- 90 % interval
    em_high_ev double,
    p_good double,                 -- probability that Em <= 0.65 eV
    applicability double,
    predicted_at timestamp not null,
    primary key (hop_id, model_id)
);
create table material_ranking (
    material_id text,
    ion text,
    model_id text,
    campaign_id text not null,     -- that wrote the row last
    em_1d_ev double,               -- null: the hops do not percolate in so many dimensions
    em_1d_low_ev double,
    em_1d_high_ev double,
    em_2d_ev double,
    em_2d_low_ev double,
    em_2d_high_ev double,
    em_3d_ev double,
    em_3d_low_ev double,
    em_3d_high_ev double,
    dimension tinyint not null,    -- 0-3, the highest in which the predicted hops percolate
    limiting_hop_id text,          -- the hop whose Em is em_1d_ev
    applicability double,          -- least of the hops with Em <= em_1d_ev
    n_hops integer not null,       -- enumerated
    n_predicted integer not null,
    n_cut integer not null,        -- hops left out by the limit on their number
    cutoff_a double not null,
    symprec_a double not null,
    ranked_at timestamp not null,
    primary key (material_id, ion, model_id)
);
create table barriers (
    hop_id text,
    method text,
    source text,
    em_forward_ev double,
    em_reverse_ev double,
    functional text,
    hubbard_u text,
    converged boolean,
    imported_at timestamp not null,
    primary key (hop_id, method, source)
);
create table failures (
    campaign_id text,
    material_id text,
    hop_id text,                   -- empty: the whole material
    stage text,
    reason text not null,
    detail text,
    failed_at timestamp not null,
    primary key (campaign_id, material_id, hop_id, stage)
);
create table campaign_materials (  -- a row here means: this material is done
    campaign_id text,
    material_id text,
    ion text,                      -- empty: the source could not give a candidate
    n_hops integer not null,
    n_predicted integer not null,
    n_failed integer not null,
    written_at timestamp not null,
    primary key (campaign_id, material_id, ion)
);
"""

_SOURCES_SQL = """
alter table materials add column source_id text;      -- as the source writes it
alter table materials add column last_updated text;   -- in the source, ISO 8601
alter table materials add column attribution text;    -- whom to cite
alter table materials add column battery_id text;     -- insertion electrode, Materials Project
alter table materials add column voltage_v double;    -- average, against the ion's metal
alter table materials add column capacity_mah_g double;
alter table materials add column capacity_mah_cm3 double;
alter table materials add column charged_id text;
alter table materials add column discharged_id text;
create table left_out (           -- materials that a server's own filters kept back
    campaign_id text,
    reason text,
    n bigint not null,
    primary key (campaign_id, reason)
);
"""

_RATES_SQL = """
-- A material is ranked by each mechanism: hops of two never make one way through.
create table ranking_by_mechanism as select *, 'vacancy' as mechanism from material_ranking;
drop table material_ranking;
alter table ranking_by_mechanism rename to material_ranking;
alter table material_ranking add primary key (material_id, ion, mechanism, model_id);
-- All null where the hops do not percolate so, and in rows that an older ionscreen wrote.
-- Hops on the easiest way through in 1, 2 and 3 dimensions, that of highest Em named apart.
alter table material_ranking add column limiting_hop_2d_id text;
alter table material_ranking add column limiting_hop_3d_id text;
alter table material_ranking add column path_1d_hop_ids text[];
alter table material_ranking add column path_2d_hop_ids text[];
alter table material_ranking add column path_3d_hop_ids text[];
-- Where hops up to em_1d_ev (2d, 3d) lead: [uvw] of the standard conventional cell of the space
-- group, one for each dimension that those hops percolate in; of several alike by symmetry, one.
alter table material_ranking add column directions_1d text;
alter table material_ranking add column directions_2d text;
alter table material_ranking add column directions_3d text;
alter table material_ranking add column plane_2d text;           -- (hkl); null: not one plane
alter table material_ranking add column p_good_1d double;        -- P(em_1d_ev <= 0.65 eV)
alter table material_ranking add column dimension_at_065 tinyint;   -- 0-3, with Em <= 0.65 eV
-- D = a^2 nu exp(-Em / kT) from em_1d_ev and its interval, at 300 K with nu = 10^13 Hz and the
-- length a of the limiting hop; without geometry, correlation, vacancies (pathways.diffusion).
alter table material_ranking add column log10_d_300k_cm2_s double;
alter table material_ranking add column log10_d_300k_low_cm2_s double;
alter table material_ranking add column log10_d_300k_high_cm2_s double;
-- r of r^2 / D = 2 h (C/2), after Rong et al. 2015, doi:10.1021/acs.chemmater.5b02342.
alter table material_ranking add column max_particle_nm_c2 double;
-- Of a host that held none of the ion: where its sites come from; the structure has them filled.
alter table materials add column sites_source text;
-- On the curved path, the host as it is: a ranking, not a barrier (pathways.bond_valence_path).
alter table hops add column bond_valence_ev double;
alter table hops add column charges_source text;   -- bond_valence, composition or none
alter table predictions add column nearest text;   -- training entry most alike; null: not known
"""

_PROFILES_SQL = """
create table profiles (            -- what else came back of a band than its row in barriers
    hop_id text,
    method text,
    source text,
    energies_ev double[],          -- of each image above the first; null: not known
    path_a double[],               -- length along the path to each image, Å; null: not known
    intermediate_minima integer,
    segments_forward_ev double[],  -- from each minimum to the saddle before the next, start to end
    segments_reverse_ev double[],  -- the same on the way back, in the same order
    highest_segment_ev double,     -- of both: what the ion must overcome at once
    note text,                     -- why a band that was relaxed has no barrier; null: it has one
    primary key (hop_id, method, source)
);
create table mlip_corrections (    -- fitted anew whenever barriers come in; screen.mlip_correction
    method text,                   -- ase:<calculator>
    functional text,               -- of the DFT barriers, with +U
    slope double not null,         -- corrected = slope * barrier + offset_ev, not below 0
    offset_ev double not null,
    sigma_ev double not null,      -- of barriers that were left out of the fit, robust
    n_points integer not null,
    mae_raw_ev double not null,
    mae_corrected_ev double not null,   -- each of barriers that were left out of the fit
    primary key (method, functional)
);
"""


@dataclass(frozen=True)
class Migration:
    """One step of the schema's history."""

    number: int
    what: str
    sql: str


MIGRATIONS = (
    Migration(1, "tables", _TABLES_SQL),
    Migration(2, "views", "select 1"),  # made by the last migration, which knows all columns
    Migration(3, "provenance, electrodes, what a server left out", _SOURCES_SQL),
    Migration(4, "views", "select 1"),
    Migration(5, "percolation, rates", _RATES_SQL),
    Migration(6, "views", "select 1"),
    Migration(7, "profiles, corrections of barriers without DFT", _PROFILES_SQL),
    Migration(8, "views", VIEWS_SQL),
)

LATEST = MIGRATIONS[-1].number
