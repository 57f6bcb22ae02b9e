"""Photos: reading what was uploaded, and the files that pages serve.

A file is written to a temporary name, completely, and then renamed: a request for it gets all of
it or a 404. The names are random, so that nothing that somebody sent takes part in a path.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import struct
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

LARGEST_FILE = 12 * 1024 * 1024
MOST_PIXELS = 40_000_000
FEWEST_PIXELS_A_SIDE = 200
FORMATS = ("JPEG", "PNG", "WEBP")

# The longer side of each, in pixels; what is smaller already is not made larger.
SIZES = (320, 640, 1280)
# What thumbnails are made from again. No page serves it.
SOURCE = "source"
SOURCE_SIDE = 2560

TOKEN = r"[0-9a-f]{32}"  # noqa: S105 - a pattern
# The names of the files that pages serve.
SERVED = rf"{TOKEN}-(?:{'|'.join(map(str, SIZES))})\.jpg"


class PhotoRefused(Exception):  # noqa: N818 - what happened, and it is the sender's file
    """A file is no photo that can be taken; the text is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo in every size.

    Attributes:
        width: of the largest file, in pixels.
        height: the same.
        files: JPEG files by their size, and by `SOURCE`.
    """

    width: int
    height: int
    files: Mapping[int | str, bytes]


def read(content: bytes) -> Photo:
    """Return the photo that was uploaded, upright, and with nothing but its pixels.

    Raises:
        PhotoRefused: it is no photo, or too large.
    """
    if len(content) > LARGEST_FILE:
        raise PhotoRefused(
            f"The file has {len(content) / 2**20:.1f} MiB; {LARGEST_FILE // 2**20} are allowed."
        )
    # Opening reads the beginning only: a small file that unfolds to gigabytes is known by its size.
    with _refusals(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise PhotoRefused(
                f"The photo has {width:,} by {height:,} pixels;"
                f" {MOST_PIXELS // 10**6} million are allowed."
            )
        if min(width, height) < FEWEST_PIXELS_A_SIDE:
            raise PhotoRefused(
                f"The photo has {width} by {height} pixels;"
                f" at least {FEWEST_PIXELS_A_SIDE} each way are needed."
            )
        # A JPEG is decoded at a fraction of its size where that is enough.
        image.draft("RGB", (SOURCE_SIDE, SOURCE_SIDE))
        return _in_all_sizes(_plain(ImageOps.exif_transpose(image)))


def again(source: bytes) -> Photo:
    """Return the photo made from the file of its `SOURCE`, which stays as it is."""
    with _refusals(), Image.open(io.BytesIO(source), formats=FORMATS) as image:
        made = _in_all_sizes(image.convert("RGB"))
    return Photo(made.width, made.height, {**made.files, SOURCE: source})


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Raise the same error for all the ways in which a file can be damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except PhotoRefused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoRefused(
            f"The photo has too many pixels; {MOST_PIXELS // 10**6} million are allowed."
        ) from error
    except UnidentifiedImageError as error:
        raise PhotoRefused(f"The file is no photo: {', '.join(FORMATS)} are allowed.") from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        LookupError,
        EOFError,
        struct.error,
    ) as error:
        raise PhotoRefused("The file is damaged, or was not sent to its end.") from error


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture in red, green and blue, on white where it is transparent."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGB", layer.size, "white")
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    return image.convert("RGB")


def _in_all_sizes(image: Image.Image) -> Photo:
    image.thumbnail((SOURCE_SIDE, SOURCE_SIDE), Image.Resampling.LANCZOS)
    files: dict[int | str, bytes] = {SOURCE: _jpeg(image, quality=92)}
    width = height = 0
    # From the largest to the smallest, each made from the previous.
    for side in sorted(SIZES, reverse=True):
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        files[side] = _jpeg(image, quality=82)
        width, height = max((width, height), image.size)
    return Photo(width, height, files)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    # Without what else the picture carries: place, camera, colour profile, comments.
    clean = Image.new("RGB", image.size)
    clean.paste(image)
    clean.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return file.getvalue()


def file_name(token: str, size: int | str) -> str:
    """Return the name of a photo's file."""
    return f"{token}-{size}.jpg"


def store(directory: Path, photo: Photo) -> str:
    """Write a photo's files to `directory` and return the token that their names begin with.

    Raises:
        OSError: they cannot be written; then none is there.
    """
    token = secrets.token_hex(16)
    try:
        replace(directory, token, photo)
    except OSError:
        remove(directory, token)
        raise
    return token


def replace(directory: Path, token: str, photo: Photo) -> None:
    """Write a photo's files, in place of those that are there.

    Raises:
        OSError: they cannot be written. Every file is the old or the new, complete.
    """
    directory.mkdir(parents=True, exist_ok=True)
    waiting: list[tuple[Path, Path]] = []
    try:
        for size, content in photo.files.items():
            final = directory / file_name(token, size)
            part = final.with_suffix(f".{os.getpid()}.part")
            waiting.append((part, final))
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for part, final in waiting:
            part.replace(final)
    finally:
        for part, _ in waiting:
            part.unlink(missing_ok=True)


def source(directory: Path, token: str) -> bytes:
    """Return the file that a photo's sizes are made from."""
    return (directory / file_name(token, SOURCE)).read_bytes()


def remove(directory: Path, token: str) -> None:
    """Remove a photo's files, as far as they are there."""
    for size in (*SIZES, SOURCE):
        (directory / file_name(token, size)).unlink(missing_ok=True)


# What is younger may be an upload that another process is just doing.
LEFTOVER_SECONDS = 60 * 60


def remove_leftovers(directory: Path, tokens: Iterable[str]) -> None:
    """Remove files that belong to no photo of `tokens`: a process ended while it wrote them."""
    known = set(tokens)
    for path in directory.glob("*-*.*"):
        token, _, _ = path.name.partition("-")
        is_left = token not in known or path.suffix == ".part"
        if is_left and time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
            path.unlink(missing_ok=True)
