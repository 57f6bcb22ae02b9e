"""Builds `aroundtheworld/static/land.svg` from Natural Earth's land (public domain).

Run at development time only; what it writes is committed. The source is `land-110m.json` of the
npm package `world-atlas`, unpacked:

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/build_map.py package/land-110m.json

Land only: a map without borders takes no side.
"""

from __future__ import annotations

import json
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

from aroundtheworld.geo import MAP_HEIGHT, MAP_WIDTH, project

OUTPUT = Path(__file__).parent.parent / "aroundtheworld" / "static" / "land.svg"
Point = tuple[float, float]


def decoded_arcs(topology: dict[str, Any]) -> list[list[Point]]:
    """Return the topology's arcs (delta-encoded integers) as longitudes and latitudes."""
    (scale_x, scale_y) = topology["transform"]["scale"]
    (shift_x, shift_y) = topology["transform"]["translate"]
    arcs = []
    for deltas in topology["arcs"]:
        steps = accumulate(deltas, lambda a, b: (a[0] + b[0], a[1] + b[1]))
        arcs.append([(x * scale_x + shift_x, y * scale_y + shift_y) for x, y in steps])
    return arcs


def ring_points(indexes: list[int], arcs: list[list[Point]]) -> list[Point]:
    """Return the points of one ring; a negative index is that arc backwards.

    Longitudes go on beyond 180 where the ring crosses the edge of the map, instead of jumping.
    """
    points: list[Point] = []
    for index in indexes:
        arc = arcs[index] if index >= 0 else arcs[~index][::-1]
        for longitude, latitude in arc:
            turns = round((points[-1][0] - longitude) / 360) if points else 0
            points.append((longitude + 360 * turns, latitude))
    if abs(points[-1][0] - points[0][0]) > 180:
        # Antarctica goes all the way round; its other side is the pole.
        points += [(points[-1][0], -90.0), (points[0][0], -90.0)]
    return points


def clipped(ring: list[Point], edge: float, side: int) -> list[Point]:
    """Return the part of `ring` west (`side` 1) or east (-1) of the meridian `edge`."""
    kept: list[Point] = []
    for (x1, y1), (x2, y2) in zip([ring[-1], *ring], ring, strict=False):
        inside1, inside2 = side * (edge - x1) >= 0, side * (edge - x2) >= 0
        if inside1 != inside2:
            kept.append((edge, y1 + (y2 - y1) * (edge - x1) / (x2 - x1)))
        if inside2:
            kept.append((x2, y2))
    return kept


def ring_path(ring: list[Point]) -> str:
    """Return one ring as SVG path data, cut where it crosses the edge of the map."""
    path = ""
    for turn in (-360, 0, 360):
        shifted = [(longitude + turn, latitude) for longitude, latitude in ring]
        part = clipped(shifted, 180, 1)
        part = clipped(part, -180, -1) if part else []
        if part:
            projected = [project(latitude, longitude) for longitude, latitude in part]
            path += "M" + "L".join(f"{x:g} {y:g}" for x, y in projected) + "Z"
    return path


def main() -> None:
    """Write the picture."""
    topology = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    arcs = decoded_arcs(topology)
    path = "".join(
        ring_path(ring_points(ring, arcs))
        for geometry in topology["objects"]["land"]["geometries"]
        for polygon in geometry["arcs"]
        for ring in polygon
    )
    OUTPUT.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {MAP_WIDTH:g} {MAP_HEIGHT:g}">'
        f'<path id="land" d="{path}"/></svg>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
