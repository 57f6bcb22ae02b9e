"""Measures what the project promises about speed; `make bench` runs it.

Everything is measured on throwaway hosts, side by side with what it is compared with and in the
same run, because a second on one machine is not a second on another. What is compared is taken in
turns, so that a machine that is busy for a while slows down both.
"""
