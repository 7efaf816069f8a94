#!/usr/bin/env python3
"""Write manifests/ from the chart: a kustomize base, and overlays that add objects to it and patch it.

The chart is the one source. `manifests/values/NAME.yaml` are the values of base and overlays, and serve `helm install -f` as well.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "landtide"
MANIFESTS = ROOT / "manifests"
NAMESPACE = "landtide"
HEADER = "# Made from helm/landtide by `make manifests`: change the chart or manifests/values, not this file.\n"

Manifest = dict[str, Any]
Key = tuple[str, str, str]


def main() -> int:
    """Write manifests/, or only say what differs; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say which file differs from the chart")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder)
        if check:
            return compare(folder)
        for name in ("base", "overlays"):
            shutil.rmtree(MANIFESTS / name, ignore_errors=True)
            shutil.copytree(folder / name, MANIFESTS / name)
    return 0


def write(folder: Path) -> None:
    """Write base and overlays into a folder."""
    base = render(MANIFESTS / "values" / "base.yaml")
    put(folder / "base", {"resources.yaml": list(base.values())}, {"resources": ["resources.yaml"]})
    for values in sorted((MANIFESTS / "values").glob("*.yaml")):
        if values.stem == "base":
            continue
        wanted = render(values)
        if lost := sorted(base.keys() - wanted.keys()):
            sys.exit(f"{values}: an overlay cannot take {lost} out of the base")
        added = [manifest for key, manifest in wanted.items() if key not in base]
        patches = [patch(base[key], wanted[key]) for key in base if base[key] != wanted[key]]
        files = {name: content for name, content in (("added.yaml", added), ("patches.yaml", patches)) if content}
        record: Manifest = {"resources": ["../../base", *(["added.yaml"] if added else [])]}
        if patches:
            record["patches"] = [{"path": "patches.yaml"}]
        put(folder / "overlays" / values.stem, files, record)


def render(values: Path) -> dict[Key, Manifest]:
    """Return the chart's objects by kind, namespace and name, without what only Helm reads: hooks, tests, and its own labels."""
    command = ["helm", "template", "landtide", str(CHART), "--namespace", NAMESPACE, "--values", str(values), "--skip-tests"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"helm template with {values}: {done.stderr.strip()}")
    manifests = [plain(manifest) for manifest in yaml.safe_load_all(done.stdout) if manifest]
    return {key(manifest): manifest for manifest in manifests if not manifest["metadata"]["name"].endswith("-unschedule")}


def key(manifest: Manifest) -> Key:
    """Return what tells an object from all others."""
    return manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def plain(node: Any) -> Any:
    """Drop Helm's annotations and labels, at any depth."""
    if isinstance(node, list):
        return [plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {name: plain(value) for name, value in node.items() if not name.startswith("helm.sh/")}
    kept.pop("app.kubernetes.io/managed-by", None)
    return {name: value for name, value in kept.items() if name != "annotations" or value}


def patch(old: Manifest, new: Manifest) -> Manifest:
    """Return the strategic merge patch that makes `new` out of `old`: only what differs, lists whole."""
    metadata = {name: new["metadata"][name] for name in ("name", "namespace") if name in new["metadata"]}
    difference = _difference(old, new)
    return {"apiVersion": new["apiVersion"], "kind": new["kind"], **difference, "metadata": {**metadata, **difference.get("metadata", {})}}


def _difference(old: Manifest, new: Manifest) -> Manifest:
    changed: Manifest = dict.fromkeys(old.keys() - new.keys())  # null takes a key out
    for name, value in new.items():
        if name in old and isinstance(value, dict) and isinstance(old[name], dict):
            if inner := _difference(old[name], value):
                changed[name] = inner
        elif name not in old or old[name] != value:
            changed[name] = value
    return changed


def put(folder: Path, files: dict[str, list[Manifest]], kustomization: Manifest) -> None:
    """Write a kustomization and its files."""
    folder.mkdir(parents=True)
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "kustomization.yaml").write_text(HEADER + dump(head | kustomization))
    for name, manifests in files.items():
        (folder / name).write_text(HEADER + "---\n".join(dump(manifest) for manifest in manifests))


def dump(manifest: Manifest) -> str:
    """Return an object as YAML, texts of several lines as blocks."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and never an alias: kustomize would keep it, people would look for it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def compare(folder: Path) -> int:
    """Say which file of manifests/ differs from what the chart makes; return the exit status."""
    made = {path.relative_to(folder) for path in folder.rglob("*.yaml")}
    there = {path.relative_to(MANIFESTS) for name in ("base", "overlays") for path in (MANIFESTS / name).rglob("*") if path.is_file()}
    differing = [path for path in sorted(made & there) if (folder / path).read_text() != (MANIFESTS / path).read_text()]
    for path in sorted(made ^ there) + differing:
        sys.stderr.write(f"manifests/{path} differs from the chart: run `make manifests`\n")
    return 1 if made ^ there or differing else 0


if __name__ == "__main__":
    sys.exit(main())
