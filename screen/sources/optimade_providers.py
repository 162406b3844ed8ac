"""Who serves crystals by OPTIMADE, and what each says of its crystals beside the standard.

Energies above the hull, band gaps, licences and pages of materials are no part of the standard.
They stand here where the provider documents them, or public code that reads them agrees on them;
what does not stand here is not known. Base URLs: the list of providers at optimade.org.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from screen.errors import UserError
from screen.sources.mp_pages import ATTRIBUTION as MP_ATTRIBUTION
from screen.sources.mp_pages import URL as MP_URL
from screen.sources.mp_pages import legacy_id

_LEAST_EV = -900.0
"""Below are marks for what was not computed, such as JARVIS's -99999."""
_ENDPOINT = re.compile(r"(/v\d+(\.\d+)*)?(/structures)?/*$")


@dataclass(frozen=True)
class Quantity:
    """A number of a provider's own, in eV or eV/atom."""

    field: str
    """Among the attributes of an entry."""
    paths: tuple[tuple[str, ...], ...] = ((),)
    """Keys below the field; the first that lead to a number count."""
    condition: str | None = None
    """What a filter calls it; None: the server does not filter by it."""

    def read(self, attributes: Mapping[str, Any]) -> float | None:
        """The number in an entry's attributes, None where there is none."""
        for path in self.paths:
            value: Any = attributes.get(self.field)
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and _LEAST_EV < value < float("inf"):
                return float(value)
        return None


@dataclass(frozen=True)
class Provider:
    """One database."""

    name: str
    """As in ``--source optimade:NAME``; begins the ids of its materials."""
    base_url: str
    """Without version and slash at the end."""
    title: str
    attribution: str | None = None
    """Whom to cite."""
    license: str | None = None
    page: str | None = None
    """Address of a material's page; None: that of its entry."""
    page_field: str | None = None
    """The attribute that ``page`` has for ``{id}``; None: the id itself."""
    energy_above_hull: Quantity | None = None
    """In eV/atom."""
    band_gap: Quantity | None = None
    theoretical: bool | None = None
    """Whether all its materials are known from computation only; None: not known."""

    @property
    def structures_url(self) -> str:
        """Where its structures are."""
        return f"{self.base_url}/v1/structures"

    @property
    def fields(self) -> tuple[str, ...]:
        """The provider's own attributes that are asked for."""
        quantities = [one.field for one in (self.energy_above_hull, self.band_gap) if one]
        return (*quantities, *([self.page_field] if self.page_field else []))

    def material_id(self, identifier: str) -> str:
        """The id in the store, ``oqmd/4815213``; without colons, which hop ids have.

        Materials of the Materials Project are called as its own server calls them.
        """
        if self.name == "mp":
            return legacy_id(identifier)
        return f"{self.name}/{identifier.replace('%', '%25').replace(':', '%3A')}"

    def url(self, identifier: str, attributes: Mapping[str, Any]) -> str:
        """Where a person can read on about a material."""
        if self.name == "mp":
            return MP_URL.format(material_id=legacy_id(identifier))
        shown = attributes.get(self.page_field) if self.page_field else identifier
        if self.page is None or shown is None:
            return f"{self.structures_url}/{quote(identifier, safe='')}"
        return self.page.format(id=quote(str(shown), safe=""))


def find_provider(text: str) -> Provider:
    """The provider of a name or a base URL.

    Raises:
        UserError: No such name is known, or the URL is none.
    """
    if "://" not in text:
        name = _ALIASES.get(text.lower(), text.lower())
        if name in PROVIDERS:
            return PROVIDERS[name]
        raise UserError(
            f"optimade:{text}: no such provider; known are {', '.join(PROVIDERS)}; any other goes "
            "by its base URL, such as optimade:https://example.org/optimade"
        )
    base_url = _base_url(text)
    place = base_url.partition("://")[2]
    for provider in PROVIDERS.values():
        if provider.base_url.partition("://")[2] == place:
            return provider
    return Provider(place.replace(":", "_"), base_url, f"the OPTIMADE server {place}")


def _base_url(text: str) -> str:
    expected = "expected a base URL such as optimade:https://example.org/optimade"
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise UserError(f"optimade:{text}: {error}; {expected}") from None
    if parts.username or parts.password:
        raise UserError(f"optimade:…@{parts.hostname}: holds a password; {expected}")
    if not is_address:
        raise UserError(f"optimade:{text}: no web address; {expected}")
    if parts.query or parts.fragment:
        raise UserError(f"optimade:{text}: holds more than the address; {expected}")
    return f"{parts.scheme}://{parts.netloc.lower()}{_ENDPOINT.sub('', parts.path).rstrip('/')}"


def _filterable(field: str) -> Quantity:
    return Quantity(field, condition=field)


_PROVIDERS = (
    Provider(
        "aflow",
        "https://aflow.org/API/optimade",
        "AFLOW",
        "AFLOW (Curtarolo et al. 2012, doi:10.1016/j.commatsci.2012.02.002)",
    ),
    Provider(
        "alexandria.pbe",
        "https://alexandria.icams.rub.de/pbe",
        "Alexandria (PBE)",
        "Alexandria (Schmidt et al. 2023, doi:10.1002/adma.202210788), CC BY 4.0",
        "CC-BY-4.0",
        energy_above_hull=_filterable("_alexandria_hull_distance"),
        band_gap=_filterable("_alexandria_band_gap"),
    ),
    Provider(
        "alexandria.pbesol",
        "https://alexandria.icams.rub.de/pbesol",
        "Alexandria (PBEsol)",
        "Alexandria (Schmidt et al. 2022, doi:10.1038/s41597-022-01177-w), CC BY 4.0",
        "CC-BY-4.0",
        energy_above_hull=_filterable("_alexandria_hull_distance"),
        band_gap=_filterable("_alexandria_band_gap"),
    ),
    Provider(
        "cod",
        "https://www.crystallography.net/cod/optimade",
        "the Crystallography Open Database",
        "the Crystallography Open Database (Gražulis et al. 2012, doi:10.1093/nar/gkr900)",
        "CC0-1.0",
        page="https://www.crystallography.net/cod/{id}.html",
        theoretical=False,
    ),
    Provider(
        "jarvis",
        "https://jarvis.nist.gov/optimade/jarvisdft",
        "JARVIS-DFT",
        "JARVIS-DFT (Choudhary et al. 2020, doi:10.1038/s41524-020-00440-1)",
        energy_above_hull=Quantity("_jarvis_ehull"),
        band_gap=Quantity("_jarvis_optb88vdw_bandgap"),
    ),
    Provider(
        "mcloud.mc2d",
        "https://aiida.materialscloud.org/mc2d/optimade",
        "MC2D of Materials Cloud",
        "MC2D (Mounet et al. 2018, doi:10.1038/s41565-017-0035-5)",
    ),
    Provider(
        "mcloud.mc3d",
        "https://aiida.materialscloud.org/mc3d/optimade",
        "MC3D of Materials Cloud",
        "MC3D (Huber et al. 2026, doi:10.1039/d5dd00415b)",
    ),
    Provider(
        "mp",
        "https://optimade.materialsproject.org",
        "the Materials Project (OPTIMADE)",
        MP_ATTRIBUTION,
        "CC-BY-4.0",
        energy_above_hull=Quantity(
            "_mp_stability",
            # The Materials Project's own summaries are of the first, too.
            (("gga_gga+u_r2scan", "energy_above_hull"), ("gga_gga+u", "energy_above_hull")),
        ),
    ),
    Provider(
        "mpdd",
        "http://mpddoptimade.phaseslab.org",
        "MPDD",
        "the Material-Property-Descriptor Database, mpdd.org",
    ),
    Provider(
        "mpds",
        "https://api.mpds.io",
        "MPDS",
        "the Materials Platform for Data Science, mpds.io",
    ),
    Provider(
        "nmd",
        "https://nomad-lab.eu/prod/v1/optimade",
        "NOMAD",
        "NOMAD (Scheidgen et al. 2023, doi:10.21105/joss.05388), CC BY 4.0",
        "CC-BY-4.0",
    ),
    Provider(
        "odbx",
        "https://optimade.odbx.science",
        "odbx",
        "the open database of xtals, odbx.science",
        energy_above_hull=Quantity(
            "_odbx_thermodynamics", (("hull_distance",),), "_odbx_thermodynamics.hull_distance"
        ),
    ),
    Provider(
        "odbx.gnome",
        "https://optimade-gnome.odbx.science",
        "GNoME (odbx)",
        "GNoME (Merchant et al. 2023, doi:10.1038/s41586-023-06735-9), CC BY-NC 4.0",
        "CC-BY-NC-4.0",
        band_gap=_filterable("_gnome_bandgap"),
    ),
    Provider(
        "omdb",
        "https://optimade.openmaterialsdb.se",
        "the Open Materials Database",
        "the Open Materials Database, openmaterialsdb.se",
    ),
    Provider(
        "oqmd",
        "https://oqmd.org/optimade",
        "OQMD",
        "OQMD (Kirklin et al. 2015, doi:10.1038/npjcompumats.2015.10), CC BY 4.0",
        "CC-BY-4.0",
        page="https://oqmd.org/materials/entry/{id}",
        page_field="_oqmd_entry_id",
        energy_above_hull=_filterable("_oqmd_stability"),
        band_gap=_filterable("_oqmd_band_gap"),
    ),
    Provider(
        "tcod",
        "https://www.crystallography.net/tcod/optimade",
        "the Theoretical Crystallography Open Database",
        "the Theoretical Crystallography Open Database, crystallography.net/tcod",
        page="https://www.crystallography.net/tcod/{id}.html",
        theoretical=True,
    ),
    Provider(
        "2dmatpedia",
        "http://optimade.2dmatpedia.org",
        "2DMatPedia",
        "2DMatPedia (Zhou et al. 2019, doi:10.1038/s41597-019-0097-3)",
        band_gap=_filterable("_twodmatpedia_band_gap"),
    ),
)

PROVIDERS = {provider.name: provider for provider in _PROVIDERS}
"""By name."""

_ALIASES = {"alexandria": "alexandria.pbe", "gnome": "odbx.gnome", "twodmatpedia": "2dmatpedia"}
