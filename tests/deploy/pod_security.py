"""The restricted Pod Security Standard, field by field, as a function over pod specs.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (policy level "restricted", which includes "baseline").
"""

from collections.abc import Iterator
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = {"RuntimeDefault", "Localhost"}
APPARMOR = {"RuntimeDefault", "Localhost"}
SELINUX_TYPES = {"container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}


def violations(pod: dict[str, Any], annotations: dict[str, str] | None = None) -> list[str]:
    """Return what a pod's spec does against the standard, a line each; empty = it passes."""
    return [
        *_host(pod),
        *_volumes(pod),
        *_pod_context(pod.get("securityContext") or {}),
        *_apparmor_annotations(annotations or {}),
        *(line for container in containers(pod) for line in _container(container, pod.get("securityContext") or {})),
    ]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all containers of a pod, the ephemeral and the first ones too."""
    return [item for kind in ("initContainers", "containers", "ephemeralContainers") for item in pod.get(kind) or []]


def pods_of(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every pod spec within a manifest of whatever kind, with the path to it."""
    if manifest.get("kind") == "Pod":
        yield "spec", manifest["spec"]
    yield from _templates(manifest, "")


def _templates(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        template = node.get("template")
        if isinstance(template, dict) and isinstance(template.get("spec"), dict) and "containers" in template["spec"]:
            yield f"{path}.template.spec".lstrip("."), template["spec"]
        for key, value in node.items():
            yield from _templates(value, f"{path}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _templates(value, f"{path}[{number}]")


def _host(pod: dict[str, Any]) -> Iterator[str]:
    yield from (f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
    if pod.get("hostUsers") is True:
        yield "hostUsers is set"
    for name in (pod.get("securityContext") or {}).get("sysctls") or []:
        if name["name"] not in SYSCTLS:
            yield f"sysctl {name['name']} is not safe"


def _volumes(pod: dict[str, Any]) -> Iterator[str]:
    for volume in pod.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(sorted(kinds - VOLUMES))}"


def _pod_context(context: dict[str, Any]) -> Iterator[str]:
    yield from _shared_context("pod", context)
    if context.get("runAsUser") == 0:
        yield "pod: runAsUser is root"


def _container(container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    context, name = container.get("securityContext") or {}, container["name"]
    yield from _shared_context(name, context)
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if context.get("runAsUser") == 0:
        yield f"{name}: runAsUser is root"
    if (context.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type") not in SECCOMP:
        yield f"{name}: no seccomp profile"
    yield from _capabilities(name, context.get("capabilities") or {})
    if context.get("procMount", "Default") != "Default":
        yield f"{name}: procMount {context['procMount']}"
    yield from (f"{name}: host port {port['hostPort']}" for port in container.get("ports") or [] if port.get("hostPort"))
    yield from _probes(container)


def _capabilities(name: str, capabilities: dict[str, Any]) -> Iterator[str]:
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{name}: capabilities are not all dropped"
    added = set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}
    if added:
        yield f"{name}: adds {', '.join(sorted(added))}"


def _shared_context(name: str, context: dict[str, Any]) -> Iterator[str]:
    """Yield what pod and container can both get wrong."""
    if (context.get("seccompProfile") or {"type": "RuntimeDefault"}).get("type") not in SECCOMP:
        yield f"{name}: seccomp {context['seccompProfile'].get('type')}"
    if context.get("runAsNonRoot") is False:
        yield f"{name}: runAsNonRoot is false"
    if (context.get("appArmorProfile") or {"type": "RuntimeDefault"}).get("type") not in APPARMOR:
        yield f"{name}: AppArmor {context['appArmorProfile'].get('type')}"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type") not in SELINUX_TYPES | {None, ""} or selinux.get("user") or selinux.get("role"):
        yield f"{name}: SELinux options {selinux}"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{name}: Windows host process"


def _apparmor_annotations(annotations: dict[str, str]) -> Iterator[str]:
    for key, value in annotations.items():
        allowed = value in ("runtime/default", "") or value.startswith("localhost/")
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and not allowed:
            yield f"annotation {key}: {value}"


def _probes(container: dict[str, Any]) -> Iterator[str]:
    """Yield probes and hooks that name a host: since Kubernetes 1.34 the baseline level refuses them."""
    places = {key: container.get(key) or {} for key in ("livenessProbe", "readinessProbe", "startupProbe")}
    places |= {f"lifecycle.{key}": hook or {} for key, hook in (container.get("lifecycle") or {}).items()}
    for place, handler in places.items():
        yield from (
            f"{container['name']}: {place} names a host" for how in ("httpGet", "tcpSocket") if (handler.get(how) or {}).get("host")
        )
