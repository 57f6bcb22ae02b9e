"""What nginx needs to know of a site, and what keeps it from serving the site."""
