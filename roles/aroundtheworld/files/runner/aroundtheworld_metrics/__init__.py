"""What Prometheus collects of a site on its host.

`aroundtheworld_exporter.py` beside this package is the program. It runs as the site's user, under
the host's own Python and with Debian's prometheus_client.
"""
