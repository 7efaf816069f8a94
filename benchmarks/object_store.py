"""Files put to and got from an S3 server on loopback: landtide.io.storage beside boto3 with its defaults, in turns, in one run.

Usage: python benchmarks/object_store.py [--quick] [--seeds N] [--json PATH]

16 files of 16 MiB, one after another and four at a time; small objects one after another. The server (moto) does most of the work, so the
figures rank clients on one machine and say nothing of a real store.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3

from landtide.io import storage
from landtide.launch.object_store import serving

MIB = 2**20


def each(act: Callable[[int], Any], names: Iterable[int], threads: int) -> float:
    """Do an act for every name and return the seconds."""
    began = time.perf_counter()
    if threads == 1:
        for name in names:
            act(name)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(act, names))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 files of 16 MiB, two turns")
    parser.add_argument("--seeds", type=int, default=1, help="more turns")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    files, turns = (4, 2) if chosen.quick else (16, 3 * chosen.seeds)
    rows = []
    with serving("landtide") as variables, tempfile.TemporaryDirectory(prefix="landtide-s3-") as folder:
        os.environ.update(variables)
        peer, size = boto3.client("s3"), 16 * MIB
        local = Path(folder, "file.bin")
        local.write_bytes(os.urandom(size))

        def put_ours(n: int) -> None:
            storage.upload(local, f"s3://landtide/ours/{n}.bin")

        def put_peer(n: int) -> None:
            peer.upload_file(str(local), "landtide", f"peer/{n}.bin")

        def get_ours(n: int) -> None:
            storage.download(f"s3://landtide/ours/{n}.bin", Path(folder, f"ours-{n}.bin"))

        def get_peer(n: int) -> None:
            peer.download_file("landtide", f"peer/{n}.bin", str(Path(folder, f"peer-{n}.bin")))

        for threads in (1, 4):
            taken: dict[str, list[float]] = {}
            for turn in range(turns + 1):
                for name, act in (("put ours", put_ours), ("put peer", put_peer), ("get ours", get_ours), ("get peer", get_peer)):
                    seconds = each(act, range(files), threads)
                    if turn:  # the first opens connections
                        taken.setdefault(name, []).append(seconds)
            rate = {name: files * size / 1e6 / statistics.median(seconds) for name, seconds in taken.items()}
            protocol = f"{files} x 16 MiB, {threads} at a time, moto on loopback, median of {turns} interleaved turns"
            for verb in ("put", "get"):
                ours, theirs = rate[f"{verb} ours"], rate[f"{verb} peer"]
                rows.append({"name": f"{verb}, {threads} at a time", "value": ours, "unit": "MB/s", "peer": "boto3 defaults",
                             "peer_value": theirs, "ratio": ours / theirs, "protocol": protocol, "seeds": chosen.seeds})  # fmt: skip
        assert Path(folder, "ours-0.bin").read_bytes() == local.read_bytes()
    for row in rows:
        print(f"{row['name']:20s} {row['value']:8.1f} {row['unit']}  {row['peer']} {row['peer_value']:8.1f}  ratio {row['ratio']:5.2f}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
