"""A guest book: an example app whose pools are of several kinds."""
