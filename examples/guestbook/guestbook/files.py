"""A server of files that binds its port itself: what a command needs to lose nothing when it ends.

Python's own, `python -m http.server`, breaks off the responses that it is sending.
"""

import signal
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Finishes what it has begun."""

    daemon_threads = False  # so closing it waits for them
    request_queue_size = 128  # Python has 5, and for what comes then, nginx waits a second


def main(address: str, port: str) -> None:
    """Serve the files of this directory until SIGTERM."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(Path(__file__).parent))
    with Server((address, int(port)), handler) as server:
        # It waits until the loop has ended, which this thread is to do.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
