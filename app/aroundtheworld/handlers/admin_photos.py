"""The admin side: photos of cities."""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path

from tornado import web
from tornado.log import app_log

from aroundtheworld import photos as files
from aroundtheworld.db import photos
from aroundtheworld.handlers.admin import AdminHandler
from aroundtheworld.handlers.photos import PhotoFileHandler

LONGEST_CAPTION = 200
LONGEST_CREDIT = 100

DONE = {"added": "The photo was added.", "deleted": "The photo was deleted."}


class PhotoBaseHandler(AdminHandler):
    """What the pages about photos share."""

    @property
    def directory(self) -> Path:
        """Where the files are; without such a place there are no photos, and these pages say so."""
        directory = self.application.config.photos
        if directory is None:
            # Only where somebody chose a database that is no file, and no directory.
            raise web.HTTPError(HTTPStatus.NOT_FOUND, "no photos: UPLOADS is not set")
        return directory

    def storage_failed(self, error: OSError) -> None:
        """Say that there is no room, or no access, and log why."""
        app_log.error("photos in %s: %s", self.directory, error)
        self.refuse(
            HTTPStatus.INSUFFICIENT_STORAGE,
            "The server could not store the files, perhaps because its disk is full."
            " Nothing was added.",
        )


class PhotosHandler(PhotoBaseHandler):
    """All photos, and a form for a new photo."""

    # The form around the file takes some, too; a file a little larger gets a sentence of its own.
    largest_body = files.LARGEST_FILE + 2 * 1024 * 1024

    def get(self) -> None:
        """Show them."""
        self.show(DONE.get(self.get_query_argument("done", ""), ""))

    def post(self) -> None:
        """Take a photo, make its thumbnails at once, or say what is wrong with it."""
        sent = self.request.files.get("file", [])
        fields = {
            name: " ".join(self.get_body_argument(name, "").split())
            for name in ("city", "caption", "credit")
        }
        problem = self.problem_with(fields)
        if len(sent) != 1 or not sent[0].body:
            problem = problem or "No file was sent, or an empty one."
        if problem:
            self.show(problem=problem, fields=fields)
            return
        try:
            photo = files.read(sent[0].body)
        except files.PhotoRefused as refused:
            self.show(problem=str(refused), fields=fields)
            return
        try:
            token = files.store(self.directory, photo)
        except OSError as error:
            self.storage_failed(error)
            return
        try:
            self.database.write(
                photos.add,
                int(fields["city"]),
                token,
                fields["caption"],
                fields["credit"],
                (photo.width, photo.height),
            )
        except Exception:
            files.remove(self.directory, token)
            raise
        self.redirect("/admin/photos?done=added", status=HTTPStatus.SEE_OTHER)

    def problem_with(self, fields: dict[str, str]) -> str:
        """Return what is wrong with the form's fields, or nothing."""
        city = fields["city"]
        known = self.application.world.by_city_id
        if not (city.isascii() and city.isdigit() and len(city) < 10 and int(city) in known):
            return "There is no such city: choose one of the list."
        for name, longest in (("caption", LONGEST_CAPTION), ("credit", LONGEST_CREDIT)):
            if not (0 < len(fields[name]) <= longest and fields[name].isprintable()):
                return f"The {name} must have 1 to {longest} characters that can be shown."
        return ""

    def show(self, done: str = "", problem: str = "", fields: dict[str, str] | None = None) -> None:
        """Render the list, with how it went."""
        directory = self.directory
        if problem:
            self.set_status(HTTPStatus.BAD_REQUEST)
        total = self.database.read(photos.count)
        pages = max(1, -(-total // photos.PER_PAGE))
        number = min(self.page_number(), pages)
        self.render(
            "admin/photos.html",
            directory=directory,
            done=done,
            problem=problem,
            fields=fields or {},
            total=total,
            rows=self.database.read(photos.page, number),
            page=number,
            pages=pages,
            address=lambda page: f"/admin/photos?page={page}",
            world=self.application.world,
            limits=files,
            longest_caption=LONGEST_CAPTION,
            longest_credit=LONGEST_CREDIT,
        )


class AdminPhotoFileHandler(AdminHandler, PhotoFileHandler):
    """The files of photos on this side, which these pages show while the other side is closed."""

    def prepare(self) -> None:
        """Let administrators pass, and find nothing where there are no photos."""
        AdminHandler.prepare(self)
        if not self._finished:
            PhotoFileHandler.prepare(self)


class RemakeHandler(PhotoBaseHandler):
    """Makes all thumbnails again: honest slow work, and visitors see old or new ones meanwhile."""

    def post(self) -> None:
        """Do so, and say how it went."""
        began = time.perf_counter()
        directory = self.directory
        made, missing = 0, []
        tokens = self.database.read(photos.tokens)
        files.remove_leftovers(directory, [token for _, token in tokens])
        for photo_id, token in tokens:
            try:
                photo = files.again(files.source(directory, token))
                files.replace(directory, token, photo)
            except (FileNotFoundError, files.PhotoRefused):
                missing.append(photo_id)
            except OSError as error:
                self.storage_failed(error)
                return
            else:
                self.database.write(photos.resize, photo_id, (photo.width, photo.height))
                made += 1
        seconds = time.perf_counter() - began
        self.render("admin/photos_remade.html", made=made, missing=missing, seconds=seconds)


class DeletePhotoHandler(PhotoBaseHandler):
    """Deletes a photo."""

    def post(self, photo_id: str) -> None:
        """Delete it from the pages first, and then its files."""
        directory = self.directory
        row = self.database.read(photos.by_id, int(photo_id))
        if row is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        self.database.write(photos.delete, row.id)
        files.remove(directory, row.token)
        self.redirect("/admin/photos?done=deleted", status=HTTPStatus.SEE_OTHER)
