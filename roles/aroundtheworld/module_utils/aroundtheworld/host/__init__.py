"""What a run has to know about a host, and whether a site may be on it."""
