"""How the workers of a site come to run a release: a room for each part of it."""
