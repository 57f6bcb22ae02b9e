"""What an app needs of Python: its lockfile, and a wheel of each package for a host."""
