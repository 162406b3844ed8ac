"""The database's views, in plain SQL.

They read tables by name only, so they serve a live snapshot as well as the database. A change needs
a new last migration (``screen.schema``).
"""

from __future__ import annotations

MATERIAL_RANKINGS = """
select
    r.material_id, m.formula, m.chemsys, m.space_group, r.ion, r.mechanism,
    r.em_1d_ev, r.em_1d_low_ev, r.em_1d_high_ev,
    r.em_2d_ev, r.em_2d_low_ev, r.em_2d_high_ev,
    r.em_3d_ev, r.em_3d_low_ev, r.em_3d_high_ev,
    r.dimension, r.dimension_at_065, r.p_good_1d, p.p_good, r.applicability,
    r.directions_1d, r.directions_2d, r.directions_3d, r.plane_2d,
    r.log10_d_300k_cm2_s, r.log10_d_300k_low_cm2_s, r.log10_d_300k_high_cm2_s,
    r.max_particle_nm_c2,
    r.limiting_hop_id, r.limiting_hop_2d_id, r.limiting_hop_3d_id,
    r.path_1d_hop_ids, r.path_2d_hop_ids, r.path_3d_hop_ids,
    r.n_hops, r.n_predicted, r.n_cut, r.cutoff_a, r.symprec_a,
    m.nsites, m.energy_above_hull_ev, m.band_gap_ev, m.theoretical,
    m.voltage_v, m.capacity_mah_g, m.capacity_mah_cm3, m.battery_id,
    m.source, m.source_version, m.url, m.license, m.attribution,
    r.model_id, r.campaign_id,
    case
        when r.n_predicted = 0 then 'no hop could be predicted'
        when r.dimension = 0 and r.n_predicted < r.n_hops
            then printf('no way through within %.1f Å (%d of %d hops predicted)',
                        r.cutoff_a, r.n_predicted, r.n_hops)
        when r.dimension = 0 then printf('no way through within %.1f Å', r.cutoff_a)
        when r.n_predicted < r.n_hops
            then printf('%d of %d hops predicted', r.n_predicted, r.n_hops)
        else ''
    end as note,
    r.ranked_at
from material_ranking r
left join materials m using (material_id)
left join predictions p on p.hop_id = r.limiting_hop_id and p.model_id = r.model_id
"""
"""What every model ranked: tables ``material_ranking``, ``materials``, ``predictions``."""

HOP_RANKINGS = """
select
    h.hop_id, h.material_id, m.formula, m.chemsys, h.ion,
    p.em_ev, p.em_low_ev, p.em_high_ev, p.em_std_ev, p.p_good, p.applicability,
    p.nearest,
    h.length_a, h.multiplicity, h.clearance_a, h.bond_valence_ev, h.charges_source,
    h.mechanism, h.flags, h.supercell,
    h.start_frac, h.end_frac, h.image, p.model_id, p.predicted_at
from predictions p
join hops h using (hop_id)
left join materials m using (material_id)
"""
"""What every model predicted: tables ``predictions``, ``hops``, ``materials``."""

VIEWS_SQL = f"""
-- What every model ranked.
create or replace view material_rankings as
{MATERIAL_RANKINGS};

-- Each material by the model that ranked it last.
create or replace view ranked_materials as
with latest as (
    select * from material_rankings
    qualify row_number() over (
        partition by material_id, ion, mechanism order by ranked_at desc, model_id desc) = 1
)
select
    row_number() over (
        order by em_1d_ev nulls last, dimension desc, material_id, ion, mechanism desc
    ) as rank,
    * exclude (ranked_at)
from latest
order by rank;

-- What every model predicted.
create or replace view hop_rankings as
{HOP_RANKINGS};

-- Each hop by the model that predicted it last.
create or replace view ranked_hops as
with latest as (
    select * from hop_rankings
    qualify row_number() over (
        partition by hop_id order by predicted_at desc, model_id desc) = 1
)
select row_number() over (order by em_ev, hop_id) as rank, *
from latest
order by rank;

-- A hop's reference barrier is the higher of the two ways: the saddle above the lower end. The
-- label is the functional, with +U where there is one.
create or replace view labelled_barriers as
select b.*, h.material_id, m.formula, h.ion,
    greatest(b.em_forward_ev, b.em_reverse_ev) as reference_ev,
    case when coalesce(b.hubbard_u, '') in ('', '{{}}', 'none') or b.functional like '%+U%'
        then b.functional else b.functional || '+U' end as label
from barriers b
left join hops h using (hop_id)
left join materials m using (material_id);

create or replace view parity as
select
    b.hop_id, b.material_id, b.formula, b.ion, b.method, b.source, b.functional, b.hubbard_u,
    b.converged, b.em_forward_ev, b.em_reverse_ev, b.reference_ev,
    p.model_id, p.em_ev, p.em_low_ev, p.em_high_ev,
    p.em_ev - b.reference_ev as error_ev
from labelled_barriers b
join predictions p using (hop_id);

-- Barriers of calculators without DFT, as they are and corrected to what DFT says of other hops;
-- reference_ev is what it says of this one, null where it does not.
create or replace view corrected_barriers as
with dft as (
    select hop_id, label, arg_max(reference_ev, imported_at) as reference_ev
    from labelled_barriers where method not like 'ase:%' and converged group by all
)
select b.hop_id, b.material_id, b.formula, b.ion, b.method, b.source, b.converged,
    c.functional, b.reference_ev as em_raw_ev,
    greatest(0.0, c.slope * b.reference_ev + c.offset_ev) as em_corrected_ev, c.sigma_ev,
    d.reference_ev, c.n_points, c.slope, c.offset_ev, c.mae_raw_ev, c.mae_corrected_ev
from labelled_barriers b
join mlip_corrections c using (method)
left join dft d on d.hop_id = b.hop_id and d.label = c.functional
where b.reference_ev is not null
order by b.method, c.functional, em_corrected_ev, b.hop_id;

-- How many came through each stage of a campaign, then the failures by stage and reason; those of
-- the stage server were left out by a server's own filters and have no rows in failures.
create or replace view funnel as
with done as (
    select campaign_id, count(*) as source,
        count(*) filter (where ion <> '') as filtered,
        count(*) filter (where n_hops > 0) as enumerated,
        sum(n_hops) as hops, sum(n_predicted) as predicted
    from campaign_materials group by all
), stages as (
    unpivot done on source, filtered, enumerated, hops, predicted into name stage value n
), failed as (
    select campaign_id, stage, reason, count(*) as n from failures group by all
)
select campaign_id,
    case stage when 'source' then 1 when 'filtered' then 2 when 'enumerated' then 3
        when 'hops' then 4 else 5 end as position,
    stage, null::text as failed_stage, null::text as reason, n::bigint as n
from stages
union all
select campaign_id, 6, 'failed', stage, reason, n from failed
union all
select campaign_id, 6, 'failed', 'server', reason, n from left_out
order by campaign_id, position, n desc, failed_stage, reason;
"""
