from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest

from aroundtheworld.geo import MAP_HEIGHT, MAP_WIDTH, great_circle_km, project, svg_path

PARIS, TOKYO, AUCKLAND, LIMA = (48.853, 2.349), (35.69, 139.69), (-36.85, 174.76), (-12.04, -77.03)


def test_distances_are_those_of_the_globe():
    assert great_circle_km(PARIS, TOKYO) == pytest.approx(9713, rel=0.002)
    assert great_circle_km(PARIS, PARIS) == 0
    assert great_circle_km((90, 0), (-90, 0)) == pytest.approx(math.pi * 6371.0088)
    assert great_circle_km((0, 179), (0, -179)) == pytest.approx(222.4, rel=0.001)


def test_the_whole_globe_fits_the_map():
    for latitude in range(-90, 91, 10):
        for longitude in range(-180, 181, 20):
            x, y = project(latitude, longitude)
            assert 0 <= x <= MAP_WIDTH
            assert 0 <= y <= MAP_HEIGHT
    assert project(0, 0) == (MAP_WIDTH / 2, pytest.approx(MAP_HEIGHT / 2, abs=0.1))
    assert project(90, 0)[1] == 0


def test_a_way_across_the_edge_of_the_map_is_drawn_in_two_pieces():
    path = svg_path([AUCKLAND, LIMA])
    assert path.count("M") == 2
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+)", path)]
    steps = [abs(b - a) for a, b in pairwise(xs)]
    assert sorted(steps)[-2] < 50, "all but the jump are short"


def test_a_way_within_the_map_is_one_piece_and_bends_to_the_north():
    path = svg_path([PARIS, TOKYO])
    assert path.count("M") == 1
    ys = [float(y) for y in re.findall(r" ([\d.]+)", path)]
    assert min(ys) < project(*PARIS)[1] - 20
    assert svg_path([PARIS, PARIS]) == "M{0:g} {1:g}L{0:g} {1:g}".format(*project(*PARIS))
