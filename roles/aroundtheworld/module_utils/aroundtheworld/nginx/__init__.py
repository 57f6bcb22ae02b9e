"""The host's nginx: what its configuration says, where a site goes, and what it really runs."""
