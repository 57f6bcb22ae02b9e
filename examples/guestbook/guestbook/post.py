"""Thanks every guest by letter: takes letters from a queue, which is a table in the database.

The role starts as many of these as the pool has processes. SIGTERM means: finish the letter in
hand, and end.
"""

import os
import signal
import sqlite3
import threading
import time

from guestbook.book import database

TAKE = """
UPDATE letter SET begun = begun + 1, release = ?
WHERE id = (SELECT id FROM letter WHERE begun = 0 ORDER BY id LIMIT 1) RETURNING id
"""


def take() -> int | None:
    """Return the number of a letter that nobody else has, if there is any."""
    with database() as connection:
        taken = connection.execute(TAKE, (os.environ["AROUNDTHEWORLD_RELEASE"],)).fetchall()
    return taken[0][0] if taken else None


def send(letter: int) -> None:
    """Send a letter, which takes its time."""
    time.sleep(float(os.environ.get("SECONDS_A_LETTER", "0.1")))
    with database() as connection:
        connection.execute("UPDATE letter SET done = done + 1 WHERE id = ?", (letter,))


def main() -> None:
    """Send letters, until SIGTERM."""
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    while not leaving.is_set():
        try:
            letter = take()
        except sqlite3.OperationalError:  # somebody else writes for long
            letter = None
        if letter is None:
            leaving.wait(0.2)
        else:
            send(letter)


if __name__ == "__main__":
    main()
