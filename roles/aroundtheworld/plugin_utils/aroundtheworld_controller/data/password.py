"""The password of backups: from the operator, or made on the controller and kept there."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from aroundtheworld_controller.data.backups import PASSWORD
from aroundtheworld_controller.variables import BadInputError

# Ansible takes no inventory from a file with this suffix, when the inventory is a directory.
FILE = "aroundtheworld_backup_password.txt"


def password_file(inventory: str | None) -> Path:
    """Return where the controller keeps the password that it made.

    Args:
        inventory: The directory of the inventory.

    Raises:
        BadInputError: There is no such directory.
    """
    if not inventory or not Path(inventory).is_dir():
        raise BadInputError(
            f"{PASSWORD}: is missing, and there is no inventory in a file beside which the "
            "controller could keep one that it makes. Give a text of at least 16 characters, from "
            "a vault."
        )
    return Path(inventory, FILE)


def kept_password(path: Path) -> str:
    """Return the password in the file, or an empty text when there is no file.

    Raises:
        BadInputError: It cannot be one, or others can read it.
    """
    try:
        text = path.read_text().strip()
        mode = path.stat().st_mode
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror}).") from None
    if mode & 0o077:
        raise BadInputError(
            f"{path}: has the mode {mode & 0o777:04o}, so that others can read it. It must be "
            f"yours alone: chmod 0600 {path}"
        )
    if len(text) < 16 or "\n" in text:
        raise BadInputError(
            f"{path}: is no password; it must be one line of 16 characters or more."
        )
    return text


def make_password(path: Path) -> tuple[str, bool]:
    """Return the password in the file, and whether it was made now; several hosts may ask at once.

    Raises:
        BadInputError: The file cannot be written.
    """
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(handle)
    except OSError as error:
        raise BadInputError(
            f"{PASSWORD}: is missing, and the controller cannot keep one in {path.parent} "
            f"({error.strerror})."
        ) from None
    try:
        os.link(draft, path)  # whole, or not there
        made = True
    except FileExistsError:
        made = False
    finally:
        Path(draft).unlink()
    return kept_password(path), made
