"""An S3 server on this machine's loopback interface: for the demo and for trying things out. It keeps its objects in memory.

``python -m landtide.launch.object_store -- COMMAND ...`` runs a command with the server and its bucket, and ends both together.
``python -m landtide.launch.object_store --serve PORT`` serves other machines until it is stopped: the chart's store for trials.
"""

import argparse
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from landtide.core.errors import InputError, LandtideError
from landtide.launch import processes

BUCKET = "landtide"
HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds to wait for the server: its imports take several on a busy machine."""


@contextmanager
def serving(bucket: str = BUCKET, host: str = HOST, port: int | None = None) -> Iterator[dict[str, str]]:
    """Run a server with one empty bucket; lend the AWS variables by which clients on this machine find it.

    host  address to listen on
    port  None = a free one
    """
    if find_spec("moto") is None:
        raise InputError("the embedded object store needs the package moto: pip install 'landtide[store]'")
    if port is None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
    endpoint = f"http://{HOST}:{port}"
    server = subprocess.Popen(
        [sys.executable, "-c", "from moto.server import main; main()", "-H", host, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the command; we end the server after it
    )
    try:
        _create_bucket(server, f"{endpoint}/{bucket}")
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "landtide",
            "AWS_SECRET_ACCESS_KEY": "landtide",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.terminate()
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _create_bucket(server: subprocess.Popen[bytes], url: str) -> None:
    """Create the bucket as soon as the server answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy could not reach our loopback
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise LandtideError(f"the embedded object store ended with status {server.returncode}: try `moto_server` by hand")
        try:
            direct.open(urllib.request.Request(url, method="PUT"), timeout=PATIENCE).close()
        except urllib.error.HTTPError as error:
            raise LandtideError(f"the embedded object store refused to make its bucket: {error}") from error
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise LandtideError(f"the embedded object store did not answer within {PATIENCE:.0f} s")


def main(arguments: list[str]) -> int:
    """Run a command beside the server, or only the server; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m landtide.launch.object_store", description="An S3 server that forgets.")
    parser.add_argument("--serve", type=int, metavar="PORT", help="serve other machines on this port until stopped")
    parser.add_argument("--bucket", default=BUCKET, help="bucket that is there from the start")
    parser.add_argument("command", nargs="*", help="after --: what to run beside the server")
    given = parser.parse_args(arguments)
    if (given.serve is None) != bool(given.command):
        parser.error("give either --serve PORT or, after --, a command")
    with processes.interruptible():
        return run(given.command, given.bucket) if given.command else serve(given.bucket, given.serve)


def run(command: list[str], bucket: str = BUCKET) -> int:
    """Run a command beside the server; return its exit status."""
    with serving(bucket) as variables:
        child = subprocess.Popen(command, env={**os.environ, **variables})
        try:
            return child.wait()
        except KeyboardInterrupt:
            with processes.undisturbed():
                child.terminate()
                child.wait()
            return processes.INTERRUPTED


def serve(bucket: str, port: int) -> int:
    """Serve other machines until interrupted; return the exit status."""
    try:
        with serving(bucket, "0.0.0.0", port):
            sys.stdout.write(f"bucket {bucket} on port {port}, in memory\n")
            sys.stdout.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
