"""What apps use, each once: libraries with code in C, and what Python has of the kernel's.

Each function returns something to show, and raises when it does not work here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import mmap
import multiprocessing
import os
import pwd
import select
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import zoneinfo
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing import shared_memory
from pathlib import Path

SECONDS = 20
PNG = b"\x89PNG"


# --- Libraries ---


def argon2() -> str:
    import argon2 as library

    hasher = library.PasswordHasher()  # in threads of its own
    assert hasher.verify(hasher.hash("open"), "open")
    return library.__version__


def cryptography() -> str:
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    cipher = Fernet(Fernet.generate_key())
    assert cipher.decrypt(cipher.encrypt(b"secret")) == b"secret"
    ed25519.Ed25519PrivateKey.generate().sign(b"text")
    return str(rsa.generate_private_key(65537, 2048).key_size)


def grpcio() -> str:
    import grpc

    def answer(request: bytes, _context: object) -> bytes:
        return request.upper()

    handler = grpc.method_handlers_generic_handler(
        "shop", {"Ask": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"localhost:{port}") as channel:  # a name, for its resolver
            answered = channel.unary_unary("/shop/Ask")(b"text", timeout=SECONDS)
    finally:
        server.stop(0).wait()
    assert answered == b"TEXT"
    return grpc.__version__


def httpx() -> str:
    import httpx as library

    port = os.environ["AROUNDTHEWORLD_PORT"]
    response = library.get(f"http://localhost:{port}/", timeout=SECONDS)
    response.raise_for_status()
    library.Client(verify=True).close()  # reads the certificates
    return response.text


def lxml() -> str:
    from lxml import etree

    document = etree.fromstring("<a><b>1</b></a>")
    style = etree.XML(
        '<x:stylesheet version="1.0" xmlns:x="http://www.w3.org/1999/XSL/Transform">'
        '<x:template match="/"><c><x:value-of select="//b"/></c></x:template></x:stylesheet>'
    )
    assert document.xpath("string(//b)") == "1"
    return str(etree.XSLT(style)(document))


def numba() -> str:
    """Write machine code and run it; the pool needs MemoryDenyWriteExecute=no."""
    import numba as library

    @library.njit
    def total(number: int) -> int:
        found = 0
        for each in range(number):
            found += each
        return found

    assert total(1000) == 499500
    return library.__version__


def numpy() -> str:
    import numpy as np

    matrix = np.random.default_rng(1).random((600, 600))  # large enough for several threads
    assert (matrix @ np.linalg.inv(matrix)).round(3).trace() == 600
    return np.__version__


def orjson() -> str:
    import orjson as library

    return library.dumps({"at": datetime.now(UTC), "is": 1}).decode()


def pandas() -> str:
    import pandas as pd

    frame = pd.DataFrame(
        {"at": pd.date_range("2026-03-28", periods=3, tz="Europe/Berlin"), "coins": [1, 2, 3]}
    )
    return str(frame.groupby(frame["at"].dt.month)["coins"].sum().to_dict())


def pillow() -> str:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (640, 480), "white")
    ImageDraw.Draw(image).text((9, 9), "text", fill="black", font=ImageFont.load_default(24))
    image.thumbnail((64, 64))
    file = io.BytesIO()
    for kind in ("JPEG", "WEBP", "PNG"):
        file = io.BytesIO()
        image.save(file, kind)
    assert file.getvalue().startswith(PNG)
    return str(image.size)


def prometheus_client() -> str:
    import prometheus_client as library

    text = library.generate_latest().decode()
    wanted = ("cpu_seconds_total", "resident_memory_bytes", "start_time_seconds", "open_fds")
    missing = [name for name in wanted if f"\nprocess_{name} " not in text]
    assert not missing, missing
    return wanted[0]


def psutil() -> str:
    import psutil as library

    this = library.Process()
    found = {
        "memory": library.virtual_memory().total,
        "swap": library.swap_memory().total,
        "cpu": library.cpu_times().user,
        "processors": library.cpu_count(),
        "load": library.getloadavg(),
        "boot": library.boot_time(),
        "disks": library.disk_usage("/").total,
        "disk_io": library.disk_io_counters(),
        "network": library.net_io_counters().bytes_sent,
        "interfaces": sorted(library.net_if_addrs()),
        "states": sorted(library.net_if_stats()),
        "percent": this.cpu_percent(),
        "resident": this.memory_info().rss,
        "connections": len(this.net_connections()),
        "files": len(this.open_files()),
        "processes": [process.pid for process in library.process_iter()],
        "since": this.create_time(),
    }
    assert found["memory"]
    assert "lo" in found["interfaces"]
    assert this.pid in found["processes"]
    assert abs(this.create_time() - time.time()) < 86400
    return str(found)


def psycopg() -> str:
    import psycopg as library

    with contextlib.suppress(library.OperationalError):
        library.connect("host=127.0.0.1 port=1 connect_timeout=2")  # nobody listens there
        raise AssertionError
    return f"libpq {library.pq.version()} {library.pq.__impl__}"


def pyarrow() -> str:
    import pyarrow as pa
    from pyarrow import dataset, parquet

    table = pa.table({"coins": list(range(100_000))})
    with tempfile.TemporaryDirectory() as directory:
        parquet.write_table(table, f"{directory}/coins.parquet")
        assert parquet.read_table(f"{directory}/coins.parquet", memory_map=True).equals(table)
        rows = dataset.dataset(directory).to_table().num_rows
    assert rows == 100_000
    return pa.__version__


def pyzmq() -> str:
    import zmq

    with zmq.Context() as context:
        for address in ("tcp://127.0.0.1:*", "inproc://here", "ipc:///tmp/use.ipc"):
            with context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
                one.bind(address)
                other.connect(one.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode())
                other.send(b"text")
                assert one.poll(SECONDS * 1000)
                assert one.recv() == b"text"
    return zmq.zmq_version()


def uvloop() -> str:
    import uvloop as library

    async def talk() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "localhost", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port)
        writer.write(b"text\n")
        answered = await asyncio.wait_for(reader.read(), SECONDS)
        writer.close()
        server.close()
        return answered

    assert library.run(talk()) == b"TEXT\n"
    return library.__version__


def watchdog() -> str:
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    seen = threading.Event()
    handler = FileSystemEventHandler()
    handler.on_created = lambda _event: seen.set()  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as directory:
        observer = Observer()
        observer.schedule(handler, directory)
        observer.start()
        try:
            Path(directory, "new").touch()
            assert seen.wait(SECONDS)
        finally:
            observer.stop()
            observer.join()
    return type(observer).__name__


# --- What Python has of the kernel's, and of the host's ---


def square(number: int) -> int:
    return number * number


def processes() -> str:
    """Start others: by fork and anew, with a pool, with locks, queues and shared memory."""
    for how in ("fork", "spawn", "forkserver"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(how)) as pool:
            assert list(pool.map(square, [2, 3])) == [4, 9]
    with multiprocessing.get_context("spawn").Manager() as manager:
        assert manager.dict({"a": 1}).copy() == {"a": 1}
    return "fork spawn forkserver"


def shared() -> str:
    """Memory that several processes have, in /dev/shm, and of files."""
    memory = shared_memory.SharedMemory(create=True, size=1 << 20)
    memory.buf[:4] = b"text"
    memory.close()
    memory.unlink()
    with mmap.mmap(-1, 1 << 16) as anonymous, tempfile.TemporaryFile() as file:
        anonymous[:4] = b"text"
        file.truncate(1 << 16)
        with mmap.mmap(file.fileno(), 1 << 16) as mapped:
            mapped[:4] = b"text"
    os.close(os.memfd_create("use"))
    return "/dev/shm"


def programs() -> str:
    """Other programs: by name, in a shell, in a terminal of their own, less important."""
    assert subprocess.run(["sh", "-c", "echo $((6*7))"], stdout=-1, check=True).stdout == b"42\n"
    script = "import os, pty; os._exit(os.waitstatus_to_exitcode(pty.spawn(['true'])))"
    subprocess.run([sys.executable, "-c", script], check=True, stdin=-3, stdout=-3)
    nice = subprocess.run(["nice", "-n", "5", "nice"], check=True, stdout=-1, text=True).stdout
    assert int(nice) == os.nice(0) + 5
    subprocess.run(["ionice", "-c", "3", "true"], check=True)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    subprocess.run(["cp", "-a", "/etc/hosts", "/tmp/hosts"], check=True)
    subprocess.run(["tar", "-C", "/tmp", "-cf", "/tmp/hosts.tar", "hosts"], check=True)
    subprocess.run(["tar", "-C", "/tmp", "-xf", "/tmp/hosts.tar"], check=True)
    return "sh pty nice cp tar"


def files() -> str:
    """Locks, links, rights, attributes, SQLite, and room."""
    import fcntl

    with tempfile.NamedTemporaryFile() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.fchmod(file.fileno(), 0o600)
        os.utime(file.name)
        os.link(file.name, file.name + ".link")
        Path(file.name + ".link").unlink()
        os.chown(file.name, os.getuid(), os.getgid())
        os.posix_fallocate(file.fileno(), 0, 4096)
    with tempfile.TemporaryDirectory() as directory:
        with contextlib.closing(sqlite3.connect(f"{directory}/a.db")) as database:
            database.execute("pragma journal_mode=wal")
            database.execute("create table a (b)")
        os.mkfifo(f"{directory}/fifo")
    assert os.statvfs("/tmp").f_bavail
    return "flock link chown sqlite fifo"


def events() -> str:
    """What event loops wait for."""
    eventfd = os.eventfd(1)
    with select.epoll() as poll:
        poll.register(eventfd, select.EPOLLIN)
        assert poll.poll(1) == [(eventfd, select.EPOLLIN)]
    os.close(eventfd)
    libc = ctypes.CDLL(None, use_errno=True)
    mask = (ctypes.c_ulong * 16)()
    for name, descriptor in {
        "signalfd": libc.signalfd(-1, mask, 0),
        "timerfd": libc.timerfd_create(1, 0),
        "inotify": libc.inotify_init1(0),
        "pidfd": os.pidfd_open(os.getpid()),
    }.items():
        assert descriptor >= 0, f"{name}: {os.strerror(ctypes.get_errno())}"
        os.close(descriptor)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) is not None
    return "epoll eventfd signalfd timerfd inotify pidfd"


def callbacks() -> str:
    """Let code in C call Python, for which libffi writes a little machine code."""
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
    )
    numbers = (ctypes.c_int * 3)(3, 1, 2)
    ctypes.CDLL(None).qsort(numbers, 3, 4, kind(lambda one, other: one[0] - other[0]))
    assert list(numbers) == [1, 2, 3]
    return str(list(numbers))


def who() -> str:
    """Who and where it is, as libraries ask."""
    this = pwd.getpwuid(os.getuid())
    processors = len(os.sched_getaffinity(0))
    assert this.pw_name
    assert Path.home()
    return f"{this.pw_name} {processors} {socket.gethostname()} {os.getloadavg()}"


def names() -> str:
    """Names of hosts, certificates and time zones, as the host has them."""
    assert socket.getaddrinfo("localhost", 80)
    assert Path("/etc/resolv.conf").exists()
    zone = zoneinfo.ZoneInfo("America/Lima")
    context = ssl.create_default_context()
    assert datetime.now(zone).tzname()
    return f"{len(context.get_ca_certs())} certificates; {sorted(socket.if_nameindex())}"


NAMES = (
    argon2, cryptography, grpcio, httpx, lxml, numpy, orjson, pandas, pillow, prometheus_client,
    psutil, psycopg, pyarrow, pyzmq, uvloop, watchdog,
    processes, shared, programs, files, events, who, names,
)  # fmt: skip
# What needs a line in the pool's `unit`.
MACHINE_CODE = (numba, callbacks)
USES: dict[str, Callable[[], str]] = {use.__name__: use for use in (*NAMES, *MACHINE_CODE)}
