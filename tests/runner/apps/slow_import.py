"""Takes its time to be imported."""

import time

from sample import make_app  # noqa: F401

time.sleep(2)
