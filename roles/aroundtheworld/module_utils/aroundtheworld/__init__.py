"""What the role's modules share on a host; each file is about one subject."""
