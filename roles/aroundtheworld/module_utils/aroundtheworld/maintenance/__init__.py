"""How a site is closed for maintenance, and how it opens again."""
