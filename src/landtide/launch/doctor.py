"""What this machine has for running studies on it, and how to get what it lacks."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from landtide.core.units import format_bytes

PACKAGES = {
    "kfp": (True, "pip install 'landtide[kfp]': the pipeline itself"),
    "torch": (True, "pip install 'landtide[train]': training and the LSTM"),
    "torchx-nightly": (True, "pip install 'landtide[train]': starts training"),
    "rasterio": (True, "pip install landtide: reads and writes images"),
    "faiss-cpu": (False, "pip install faiss-cpu: faster clustering of large samples"),
    "moto": (False, "pip install 'landtide[store]': the embedded object store of `make demo WORKSPACE=s3`"),
    "playwright": (False, "pip install 'landtide[dev]': tests of the web map"),
}
"""Distribution -> whether the local runner needs it, and how to get it."""

MEMORY = 4 * 2**30
"""Bytes: below it two workers and training do not fit beside each other."""

DISK = 10 * 2**30
"""Bytes: about what a year of one Sentinel-2 tile takes as composites and maps."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    needed: bool
    """Whether the local runner cannot do without."""

    found: str
    advice: str


def examine() -> list[Finding]:
    """Look at interpreter, packages, programs, memory, disk and the object store's variables."""
    memory, disk = psutil.virtual_memory().available, shutil.disk_usage(Path.cwd()).free
    python = ".".join(map(str, sys.version_info[:3]))
    return [
        Finding("python", sys.version_info >= (3, 11), True, python, "install Python 3.11 or later"),
        *(_package(name, needed, advice) for name, (needed, advice) in PACKAGES.items()),
        _program("chromium", "scripts/install-system-packages.sh: tests of the web map"),
        Finding("processors", True, True, str(os.cpu_count()), ""),
        Finding("free memory", memory >= MEMORY, False, format_bytes(memory), "lower compute.workers and compute.memory in the study"),
        Finding("free disk here", disk >= DISK, False, format_bytes(disk), "choose a workspace on a larger disk, or s3://"),
        _object_store(),
    ]


def _package(name: str, needed: bool, advice: str) -> Finding:
    try:
        return Finding(name, True, needed, version(name), advice)
    except PackageNotFoundError:
        return Finding(name, False, needed, "not installed", advice)


def _program(name: str, advice: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, path is not None, False, path or "not found", advice)


def _object_store() -> Finding:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    known = bool(os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE"))
    found = f"{endpoint or 'Amazon S3'}, {'credentials in the environment' if known else 'no credentials in the environment'}"
    return Finding(
        "object store", known, False, found, "only for s3:// workspaces: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL"
    )
