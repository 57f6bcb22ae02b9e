"""Runs of Ansible: which of them has a site, and the order of a run's hosts."""
