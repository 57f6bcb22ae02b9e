"""The admin side: reports over everything that was played, each kept with the time it took."""

from __future__ import annotations

import time
from http import HTTPStatus

from tornado import web

from aroundtheworld import analysis, charts
from aroundtheworld.clock import when
from aroundtheworld.db import reports
from aroundtheworld.db.engine import Row
from aroundtheworld.geo import svg_path
from aroundtheworld.handlers.admin import AdminHandler


class ReportsHandler(AdminHandler):
    """The reports that can be run, and those that were."""

    def get(self) -> None:
        """Show both."""
        self.render(
            "admin/reports.html",
            kinds=analysis.KINDS,
            rows=self.database.read(reports.latest),
            when=when,
        )

    def post(self) -> None:
        """Run a report. It reads for as long as it takes, without a lock; it writes in a moment."""
        kind = self.get_body_argument("kind")
        if kind not in analysis.KINDS:
            raise web.HTTPError(HTTPStatus.BAD_REQUEST, "no report %r", kind)
        _, compute = analysis.KINDS[kind]
        began = time.perf_counter()
        content = self.database.read(compute, self.application.world)
        duration_ms = round((time.perf_counter() - began) * 1000)
        report_id = self.database.write(reports.add, kind, duration_ms, content)
        self.redirect(f"/admin/reports/{report_id}", status=HTTPStatus.SEE_OTHER)


class ReportBaseHandler(AdminHandler):
    """What the addresses of a report share."""

    def report(self, report_id: str) -> Row:
        """Return the report of that number, or answer 404."""
        row = self.database.read(reports.by_id, int(report_id))
        if row is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        return row


class ReportHandler(ReportBaseHandler):
    """A report that was run."""

    def get(self, report_id: str) -> None:
        """Show it."""
        row = self.report(report_id)
        known = self.application.world.by_city_id
        legs = [leg for leg in row.content["legs"] if leg[0] in known and leg[1] in known]
        most = max((count for _, _, count in legs), default=1)
        title, _ = analysis.KINDS.get(row.kind, (row.kind, None))
        self.render(
            "admin/report.html",
            row=row,
            title=title,
            content=row.content,
            when=when,
            legs=[
                (svg_path([known[a][1].position, known[b][1].position]), 0.5 + 3.5 * count / most)
                for a, b, count in legs
            ],
        )


class ChartHandler(ReportBaseHandler):
    """A chart of a report, as an image."""

    def get(self, report_id: str, number: str) -> None:
        """Draw it."""
        drawn = self.report(report_id).content["charts"]
        if int(number) >= len(drawn):
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        self.set_header("Content-Type", "image/svg+xml")
        self.set_header("Content-Security-Policy", charts.CONTENT_SECURITY_POLICY)
        self.write(charts.svg(drawn[int(number)]))
