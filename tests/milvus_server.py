"""A real server that speaks Milvus's protocol: milvus-lite, in a process of its own, on loopback.

It is slow, and keeps its data in one place: it shows that the calls are right, not how fast a cluster is.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SECONDS = 600.0


@contextlib.contextmanager
def milvus_server(folder: Path | None = None, port: int = 0) -> Iterator[str]:
    """Start a server over the data in `folder` (by default over none), and stop it at the end. Gives its address."""
    data = folder or Path(tempfile.mkdtemp(prefix="coin-milvus-"))
    port = port or free_port()
    command = [
        sys.executable,
        "-m",
        "milvus_lite",
        "server",
        f"--data-dir={data}",
        "--host=127.0.0.1",
        f"--port={port}",
    ]
    with (data.with_name(f"{data.name}.log")).open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(SECONDS)
            Path(log.name).unlink()
            if folder is None:
                shutil.rmtree(data)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ready = grpc.channel_ready_future(channel)
        try:
            ready.result(SECONDS)
        except grpc.FutureTimeoutError:
            raise AssertionError(f"milvus-lite did not start (exit code {process.poll()})") from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
