"""Runs any Tornado application as a well-behaved systemd service.

`python -m aroundtheworld_runner package.module:make_app` takes the listening
sockets that systemd passes, notifies systemd when it is ready, drains on SIGTERM,
and reports its status on a private UNIX socket. The application needs no code for it.

Only the standard library and Tornado are imported: the virtual environment on the
host holds the application's own locked dependencies and nothing else.
"""
