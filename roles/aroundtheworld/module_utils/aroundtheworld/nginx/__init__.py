"""The host's nginx: what its configuration is, where a site goes, and what it really runs."""
