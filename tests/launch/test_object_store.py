"""The embedded S3 server."""

import json
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest

from landtide.launch import object_store

CLIENT = """
import json, os, sys
from landtide.io import storage
storage.write_bytes("s3://landtide/a/b.txt", b"bytes")
pid = [p.info["pid"] for p in __import__("psutil").process_iter(["pid", "cmdline"]) if "moto.server" in " ".join(p.info["cmdline"] or [])]
print(json.dumps({"read": storage.read_bytes("s3://landtide/a/b.txt").decode(), "names": list(storage.walk("s3://landtide/a")),
                  "endpoint": os.environ["AWS_ENDPOINT_URL"], "servers": pid}))
sys.exit(7)
"""


def test_a_command_finds_its_bucket_and_the_server_ends_with_it() -> None:
    command = [sys.executable, "-m", "landtide.launch.object_store", "--", sys.executable, "-c", CLIENT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 7, done.stderr
    told = json.loads(done.stdout)
    assert (told["read"], told["names"]) == ("bytes", ["b.txt"])
    assert told["endpoint"].startswith("http://127.0.0.1:")
    port = int(told["endpoint"].rsplit(":", 1)[1])
    assert not [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port]


def test_a_served_store_has_its_bucket_and_ends_with_sigterm() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "landtide.launch.object_store", "--serve", str(port), "--bucket", "maps"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"bucket maps on port {port}, in memory\n"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{port}/maps?list-type=2", timeout=10) as answer:
            assert b"<Name>maps</Name>" in answer.read()
        server.terminate()
        assert server.wait(timeout=20) == 0
    assert not [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port]


@pytest.mark.parametrize("words", [[], ["--serve", "9000", "--", "true"]])
def test_serving_and_running_a_command_are_two_things(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        object_store.main(words)
    assert ended.value.code == 2
