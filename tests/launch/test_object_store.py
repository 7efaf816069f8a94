"""The embedded S3 server."""

import json
import subprocess
import sys

import psutil

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
