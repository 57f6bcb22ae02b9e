"""A certificate from an ACME CA, by Debian's certbot on the host."""
