"""A Bokeh application, as its documentation shows it, served by the role's runner."""

from __future__ import annotations

import math

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Slider
from bokeh.plotting import figure
from bokeh.server.tornado import BokehTornado
from tornado.ioloop import IOLoop

POINTS = [index / 20 for index in range(200)]


def wave(frequency: float) -> dict[str, list[float]]:
    """Return the points of a sine wave."""
    return {"x": POINTS, "y": [math.sin(frequency * x) for x in POINTS]}


def dashboard(document: Document) -> None:
    """Fill a visitor's document: moving the slider makes the server draw another wave."""
    source = ColumnDataSource(wave(1))
    plot = figure(title="A wave", height=300)
    plot.line("x", "y", source=source)
    slider = Slider(title="frequency", name="frequency", start=1, end=10, value=1)

    def moved(_attribute: str, _before: float, frequency: float) -> None:
        source.data = wave(frequency)

    slider.on_change("value", moved)
    document.add_root(column(slider, plot))


async def make_app() -> BokehTornado:
    """Return Bokeh's own Tornado application."""
    app = BokehTornado(
        {"/": Application(FunctionHandler(dashboard))}, extra_websocket_origins=["*"]
    )
    app.initialize(IOLoop.current())
    app.start()  # what it does every few seconds, such as forgetting visitors who left
    return app
