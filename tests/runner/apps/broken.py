"""Cannot be imported: the mistake is in the application, the exception in the standard library."""

import json


def read_settings() -> object:
    return json.loads("{not json")


SETTINGS = read_settings()
