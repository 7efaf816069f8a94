"""Whether an installation in a cluster can work: what ``helm test`` runs, one check a pod.

``python -m landtide.launch.installation {store URI | pipelines URL | rights NAMESPACE ... | viewer URL}`` prints a line a finding, and ends
with 0 where all is well and 1 where something is missing.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import requests

from landtide.core.errors import InputError, LandtideError
from landtide.io import storage
from landtide.launch.cluster import INSTALL
from landtide.launch.manifests import KINDS

PATIENCE = 30
"""Seconds that a service may take to answer."""

READ = ("get", "list", "watch")
OWN = ("create", *READ, "delete")

BACKENDS = ("pytorchjob", "trainjob", "job")
"""Kinds of job that a training may be started as."""

DASK = ("kubernetes.dask.org", "v1", "daskclusters")
DASK_SOURCE = "the Dask operator: helm install dask-operator dask-kubernetes-operator --repo https://helm.dask.org"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    line: str


@dataclass(frozen=True)
class Right:
    """What an account may do with a resource."""

    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}"


def rights(backends: list[str], *, gang: bool, dask: bool) -> list[Right]:
    """Return what the account of the steps does in the namespace of the jobs."""
    wanted = [Right(verb, "", resource) for resource in ("pods", "events") for verb in READ]
    wanted.append(Right("get", "", "pods/log"))
    for backend in backends:
        group, _, resource = KINDS[backend]
        wanted += [Right(verb, group, resource) for verb in OWN]
        wanted.append(Right("get", group, f"{resource}/status"))
    if gang:
        wanted += [Right(verb, "scheduling.x-k8s.io", "podgroups") for verb in ("create", "get", "list", "delete")]
    if dask:
        resources = ("daskclusters", "daskworkergroups", "daskworkergroups/scale", "daskautoscalers")
        wanted += [Right(verb, "kubernetes.dask.org", resource) for resource in resources for verb in (*OWN, "patch")]
        wanted += [Right(verb, "", "services") for verb in READ]
    return wanted


def check_rights(namespace: str, backends: list[str], *, gang: bool, dask: bool) -> Iterator[Finding]:
    """Ask the API server what this pod's account may do there, and which kinds it knows."""
    from kubernetes import client

    _connect()
    review = client.AuthorizationV1Api()
    lacking = []
    for right in (wanted := rights(backends, gang=gang, dask=dask)):
        resource, _, subresource = right.resource.partition("/")
        question = client.V1ResourceAttributes(
            namespace=namespace, verb=right.verb, group=right.group, resource=resource, subresource=subresource or None
        )
        body = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=question))
        if not review.create_self_subject_access_review(body).status.allowed:
            lacking.append(str(right))
    if lacking:
        yield Finding(False, f"the account may not {', '.join(lacking)} in namespace {namespace}: is the chart's Role bound to it?")
    else:
        yield Finding(True, f"the account has all {len(wanted)} rights in namespace {namespace}")
    known = {version.group_version for group in client.ApisApi().get_api_versions().groups for version in group.versions}
    for group, version, resource in [KINDS[name] for name in backends] + [KINDS["podgroup"]] * gang + [DASK] * dask:
        if f"{group}/{version}" in known:
            yield Finding(True, f"{resource}.{group}/{version} are known")
        else:
            source = DASK_SOURCE if group == DASK[0] else INSTALL.get(group, "a newer Kubernetes")
            yield Finding(False, f"{resource}.{group}/{version} are unknown here; take them out of the chart's values, or install {source}")


def _connect() -> None:
    """Find the API server: as a pod of the cluster, or by a kubeconfig."""
    from kubernetes import config

    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config()
        else:
            config.load_kube_config(config_file=os.environ.get("KUBECONFIG"))
    except config.ConfigException as error:
        raise InputError(f"no cluster ({error}): run this in a pod with a service account's token, or set KUBECONFIG") from error


def check_store(workspace: str) -> Iterator[Finding]:
    """Write and delete an object in the workspace. Raises InputError that says what is wrong with bucket or keys."""
    storage.check_writable(workspace)
    yield Finding(True, f"{workspace} can be written to and deleted from")


def check_pipelines(api: str) -> Iterator[Finding]:
    """Ask Kubeflow Pipelines how it is."""
    yield _answer(f"{api.rstrip('/')}/apis/v2beta1/healthz", "Kubeflow Pipelines")


def check_viewer(url: str) -> Iterator[Finding]:
    """Ask the web map's server how it is, and say whether there is a map yet."""
    health = _answer(f"{url.rstrip('/')}/healthz", "the web map's server")
    yield health
    if health.ok:
        published = requests.get(url, timeout=PATIENCE).ok
        yield Finding(True, "a web map is published" if published else "no run has published yet")


def _answer(url: str, what: str) -> Finding:
    try:
        status = requests.get(url, timeout=PATIENCE).status_code
    except requests.RequestException as error:
        return Finding(
            False, f"{what} does not answer at {url} ({type(error).__name__}): is it installed, and does a NetworkPolicy let us through?"
        )
    return Finding(status == 200, f"{what} answers at {url}" + ("" if status == 200 else f" with HTTP status {status}"))


def main(arguments: list[str] | None = None) -> int:
    """Run one check; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m landtide.launch.installation", description="Check an installation in a cluster.")
    commands = parser.add_subparsers(dest="check", required=True)
    for name in ("store", "pipelines", "viewer"):
        commands.add_parser(name).add_argument("target")
    to_rights = commands.add_parser("rights")
    to_rights.add_argument("target")
    to_rights.add_argument("--backends", default="", help="kinds of job, separated by commas")
    to_rights.add_argument("--gang", action="store_true")
    to_rights.add_argument("--dask", action="store_true")
    given = parser.parse_args(arguments)
    backends = [name for name in getattr(given, "backends", "").split(",") if name]
    if unknown := sorted(set(backends) - set(BACKENDS)):
        parser.error(f"--backends: {', '.join(unknown)} is none of {', '.join(BACKENDS)}")
    try:
        if given.check == "rights":
            findings = list(check_rights(given.target, backends, gang=given.gang, dask=given.dask))
        else:
            findings = list({"store": check_store, "pipelines": check_pipelines, "viewer": check_viewer}[given.check](given.target))
    except LandtideError as error:
        sys.stderr.write(f"missing {' '.join(str(error).split())}\n")
        return error.exit_status
    for finding in findings:
        sys.stdout.write(f"{'ok     ' if finding.ok else 'missing'} {finding.line}\n")
    return 0 if all(finding.ok for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
