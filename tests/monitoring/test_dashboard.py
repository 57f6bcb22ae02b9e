"""The dashboard is what Grafana's own types read and write, and queries only what is selected."""

import json
import re

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.role_files import CHECKOUT

TEXT = (CHECKOUT / "monitoring" / "dashboard.json").read_text()
PANELS = [panel for panel in json.loads(TEXT)["panels"] if panel["type"] != "row"]


def test_grafanas_own_types_read_it_and_lose_nothing():
    register_default_plugins()
    read = Dashboard.from_json(json.loads(TEXT))
    assert json.loads(JSONEncoder(sort_keys=True).encode(read)) == json.loads(TEXT)


def test_every_panel_has_its_place():
    assert len(PANELS) > 20
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in PANELS]
    for x, _, width, _ in places:
        assert x + width <= 24
    cells = [
        (left, top) for x, y, w, h in places for left in range(x, x + w) for top in range(y, y + h)
    ]
    assert len(cells) == len(set(cells)), "two panels overlap"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_query_can_be_narrowed_and_goes_to_the_chosen_source(panel):
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        selectors = re.findall(r"aroundtheworld_\w+(\{[^}]*\})", target["expr"])
        assert selectors
        assert all('site=~"$site"' in selector for selector in selectors)
