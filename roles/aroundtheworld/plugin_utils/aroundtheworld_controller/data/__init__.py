"""A site's data: its databases, and where and when they are backed up."""
