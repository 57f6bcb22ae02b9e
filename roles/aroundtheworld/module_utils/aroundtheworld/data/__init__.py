"""Backups of a site: its databases, its files, and what it needs to run.

The rooms' neighbours import Ansible; nothing here does, because a backup runs by a timer, too.
"""
