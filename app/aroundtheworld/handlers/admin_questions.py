"""The admin side: questions that administrators write."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from tornado import web

from aroundtheworld import written
from aroundtheworld.db import questions
from aroundtheworld.db.engine import Row
from aroundtheworld.handlers.admin import AdminHandler

LARGEST_FILE = 2 * 1024 * 1024

DONE = {
    "created": "The question was added.",
    "saved": "The question was saved.",
    "published": "The question is asked from now on.",
    "withdrawn": "The question is not asked any more.",
    "deleted": "The question was deleted.",
}


class QuestionBaseHandler(AdminHandler):
    """What the pages about questions share."""

    def question(self, question_id: str) -> Row:
        """Return the question of that number, or answer 404."""
        row = self.database.read(questions.by_id, int(question_id))
        if row is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        return row

    def get_template_namespace(self) -> dict[str, Any]:
        """Return what every template here may use."""
        return super().get_template_namespace() | {
            "categories": written.CATEGORIES,
            "countries": self.application.world.countries,
            "difficulties": written.DIFFICULTIES,
            "lengths": written.LENGTHS,
            "done": DONE.get(self.get_query_argument("done", ""), ""),
        }

    def see(self, path: str, **query: object) -> None:
        """Send the browser on after a form."""
        self.redirect(f"{path}?{urlencode(query)}" if query else path, status=HTTPStatus.SEE_OTHER)


class QuestionsHandler(QuestionBaseHandler):
    """All questions."""

    def get(self) -> None:
        """Show a page of those that the filter lets through."""
        filter_ = questions.Filter(
            **{
                name: self.get_query_argument(name, "")[:200]
                for name in ("text", "category", "country", "published")
            }
        )
        total = self.database.read(questions.count, filter_)
        pages = max(1, -(-total // questions.PER_PAGE))
        number = min(self.page_number(), pages)

        def address(page: int) -> str:
            query = {
                name: value
                for name in ("text", "category", "country", "published")
                if (value := getattr(filter_, name))
            }
            return "/admin/questions?" + urlencode({**query, "page": page})

        self.render(
            "admin/questions.html",
            filter=filter_,
            total=total,
            rows=self.database.read(questions.page, filter_, number),
            page=number,
            pages=pages,
            address=address,
        )


class NewQuestionHandler(QuestionBaseHandler):
    """A form for a question."""

    row: Row | None = None

    def get(self) -> None:
        """Show it empty."""
        self.show({"published": "no", "difficulty": "medium"}, {})

    def post(self) -> None:
        """Add the question, or say what is wrong with it."""
        fields = self.fields()
        values, problems = written.parse(fields, self.application.world)
        if not problems:
            question_id = self.database.write(questions.add, values)
            if question_id is not None:
                self.see(f"/admin/questions/{question_id}", done="created")
                return
            problems = {"prompt": "is asked by another question"}
        self.show(fields, problems)

    def fields(self) -> dict[str, str]:
        """Return the form's fields as they came."""
        return {name: self.get_body_argument(name, "") for name in written.FIELDS}

    def show(self, fields: dict[str, str], problems: written.Problems) -> None:
        """Render the form with its fields and what is wrong with them."""
        if problems:
            self.set_status(HTTPStatus.BAD_REQUEST)
        times_asked = self.database.read(questions.times_asked, self.row.id) if self.row else 0
        self.render(
            "admin/question.html",
            row=self.row,
            times_asked=times_asked,
            fields=fields,
            problems=problems,
        )


class QuestionHandler(NewQuestionHandler):
    """A form that changes a question. Rounds keep it as it was then."""

    def get(self, question_id: str) -> None:  # type: ignore[override]
        """Show the question."""
        self.row = self.question(question_id)
        fields = {name: str(getattr(self.row, name)) for name in written.FIELDS}
        self.show({**fields, "published": "yes" if self.row.published else "no"}, {})

    def post(self, question_id: str) -> None:  # type: ignore[override]
        """Save it, or say what is wrong."""
        self.row = self.question(question_id)
        fields = self.fields()
        values, problems = written.parse(fields, self.application.world)
        if not problems:
            if self.database.write(questions.change, self.row.id, values):
                self.see(f"/admin/questions/{self.row.id}", done="saved")
                return
            problems = {"prompt": "is asked by another question"}
        self.show(fields, problems)


class PublishHandler(QuestionBaseHandler):
    """Publishes a question, or takes it back."""

    def post(self, question_id: str) -> None:
        """Do as the form's `published` says."""
        row = self.question(question_id)
        answer = self.get_body_argument("published")
        if answer not in ("yes", "no"):
            raise web.HTTPError(HTTPStatus.BAD_REQUEST, "published is %r", answer)
        self.database.write(questions.publish, row.id, answer == "yes")
        done = "published" if answer == "yes" else "withdrawn"
        self.see(f"/admin/questions/{row.id}", done=done)


class DeleteHandler(QuestionBaseHandler):
    """Deletes a question that is not in use."""

    def post(self, question_id: str) -> None:
        """Delete it, or say why not."""
        row = self.question(question_id)
        if self.database.write(questions.delete, row.id):
            self.see("/admin/questions", done="deleted")
            return
        self.refuse(
            HTTPStatus.CONFLICT,
            "A question that is published, or was asked ever, cannot be deleted."
            " Take it back instead, and it is not asked again.",
        )


class ExportHandler(QuestionBaseHandler):
    """All questions as a CSV file."""

    def get(self) -> None:
        """Send the file."""
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="questions.csv"')
        self.write(written.to_csv(self.database.read(questions.everything)))


class ImportHandler(QuestionBaseHandler):
    """Reads questions from a CSV file: all of them, or none."""

    # The form around the file takes some, too; a file a little larger gets a sentence of its own.
    largest_body = 2 * LARGEST_FILE

    def get(self) -> None:
        """Show the form."""
        self.show()

    def post(self) -> None:
        """Import the file, or name every line that is wrong."""
        files = self.request.files.get("file", [])
        if len(files) != 1 or not files[0].body:
            self.show("No file was sent, or an empty one.")
            return
        if len(files[0].body) > LARGEST_FILE:
            self.show(f"The file is larger than {LARGEST_FILE // 1024 // 1024} MiB.")
            return
        lines, problems = written.from_csv(files[0].body, self.application.world)
        if problems:
            self.show(*problems)
            return
        try:
            added, changed = self.database.write(questions.import_lines, lines)
        except questions.ImportRefused as refused:
            self.show(*refused.args)
            return
        self.show(imported=f"{added:,} questions were added and {changed:,} changed.")

    def show(self, *problems: str, imported: str = "") -> None:
        """Render the form, with how it went."""
        if problems:
            self.set_status(HTTPStatus.BAD_REQUEST)
        self.render(
            "admin/questions_import.html",
            problems=problems,
            imported=imported,
            columns=written.COLUMNS,
        )
