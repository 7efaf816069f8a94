"""The chart: what it makes under every kind of values, and what it refuses."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import charts
import kubeflow_trainer_api.models as trainer
import kubernetes_validate
import pod_security
import pytest
import yaml
from charts import STUDY, Manifest, find, render

from landtide.core.study import parse_study
from landtide.launch import installation

KUBERNETES = "1.36"
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "ClusterTrainingRuntime"}

MATRIX: dict[str, Manifest] = {
    "defaults": {},
    "a study": {"study": STUDY},
    "a schedule": {"study": STUDY, "schedule": {"enabled": True}},
    "standalone KFP": {"study": STUDY, "schedule": {"enabled": True}, "pipelines": {"runNamespace": "kubeflow"}},
    "a trial": {"study": STUDY, "objectStore": {"embedded": {"enabled": True}}},
    "keys made here": {
        "objectStore": {"endpoint": "http://minio.storage:9000", "secret": {"create": True, "accessKeyId": "a", "secretAccessKey": "b"}}
    },
    "a role": {
        "study": STUDY,
        "objectStore": {"auth": "role"},
        "runner": {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}}},
        "viewer": {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}}},
    },
    "accounts made elsewhere": {
        "study": STUDY,
        "schedule": {"enabled": True, "serviceAccount": {"create": False, "name": "ours"}},
        "runner": {"serviceAccount": {"create": False}},
        "viewer": {"serviceAccount": {"create": False}},
    },
    "slurm-bridge": {"study": STUDY, "hpc": {"bridge": "slurm-bridge"}, "jobs": {"namespace": "landtide-hpc", "createNamespace": True}},
    "interlink": {"study": STUDY, "hpc": {"bridge": "interlink"}},
    "hpk": {"study": STUDY, "hpc": {"bridge": "hpk"}},
    "a runtime": {"jobs": {"runtime": {"create": True, "gangScheduler": "coscheduling"}}},
    "a runtime by volcano": {"jobs": {"runtime": {"create": True, "gangScheduler": "volcano", "nodes": 4}}},
    "plain jobs only": {"jobs": {"backends": ["job"], "gang": False}, "dask": {"enabled": False}},
    "a private registry by digest": {
        "study": STUDY,
        "schedule": {"enabled": True},
        "image": {
            "registry": "registry.example.org:5000/land/",
            "stepsDigest": "sha256:" + "a" * 64,
            "pullSecret": "pull",
            "pullPolicy": "Always",
        },
        "jobs": {"runtime": {"create": True}},
    },
    "an ingress": {
        "study": STUDY,
        "viewer": {
            "replicas": 3,
            "ingress": {"enabled": True, "host": "maps.example.org", "className": "nginx", "tlsSecret": "tls", "annotations": {"a/b": "c"}},
        },
        "networkPolicy": {"viewerFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]},
    },
    "no policies": {"study": STUDY, "networkPolicy": {"enabled": False}, "viewer": {"podDisruptionBudget": {"enabled": False}}},
    "a place of its own": {
        "study": STUDY,
        "schedule": {"enabled": True},
        "placement": {
            "nodeSelector": {"pool": "small"},
            "tolerations": [{"key": "small", "operator": "Exists"}],
            "priorityClassName": "low",
        },
        "namespace": {"create": True, "podSecurity": "baseline"},
        "settings": {"extra": {"GDAL_CACHEMAX": 512, "HTTPS_PROXY": "http://proxy.example.org:3128"}},
    },
}


@pytest.fixture(scope="module", params=MATRIX)
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Manifest]]:
    """One case of the matrix: its name and its objects."""
    return request.param, render(MATRIX[request.param], folder=tmp_path_factory.mktemp("values"))


def pods(manifests: list[Manifest]) -> list[tuple[str, Manifest]]:
    return [(f"{m['kind']}/{m['metadata']['name']} {path}", pod) for m in manifests for path, pod in pod_security.pods_of(m)]


def test_every_object_passes_the_schemas_of_kubernetes(rendered: tuple[str, list[Manifest]]) -> None:
    for manifest in rendered[1]:
        if manifest["kind"] != "ClusterTrainingRuntime":
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_objects_are_told_apart_and_know_their_namespace(rendered: tuple[str, list[Manifest]]) -> None:
    keys = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in rendered[1]]
    assert len(keys) == len(set(keys))
    assert all((namespace is None) == (kind in CLUSTER_WIDE) for kind, namespace, _ in keys)
    assert all(m["metadata"]["labels"]["app.kubernetes.io/part-of"] == "landtide" for m in rendered[1])


def test_every_pod_passes_the_restricted_standard(rendered: tuple[str, list[Manifest]]) -> None:
    for name, pod in pods(rendered[1]):
        assert pod_security.violations(pod) == [], name


def test_every_pod_can_run_with_a_read_only_root_and_numeric_user(rendered: tuple[str, list[Manifest]]) -> None:
    for name, pod in pods(rendered[1]):
        assert pod["securityContext"]["runAsUser"] == 10001, name
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], name
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert volumes == {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}, name


def test_every_pod_says_what_it_needs(rendered: tuple[str, list[Manifest]]) -> None:
    for name, pod in pods(rendered[1]):
        if "ClusterTrainingRuntime" in name:
            continue  # the TrainJob brings them
        for container in pod["containers"]:
            assert set(container["resources"]["limits"]) >= {"cpu", "memory"}, name


def test_only_the_test_of_the_rights_gets_a_token(rendered: tuple[str, list[Manifest]]) -> None:
    with_token = [name for name, pod in pods(rendered[1]) if pod["automountServiceAccountToken"] is not False]
    assert with_token == ["Pod/landtide-test-rights spec"]


def test_the_selectors_find_their_pods_and_only_theirs(rendered: tuple[str, list[Manifest]]) -> None:
    labels = {m["metadata"]["name"]: m["spec"]["template"]["metadata"]["labels"] for m in rendered[1] if m["kind"] == "Deployment"}
    for manifest in rendered[1]:
        if manifest["kind"] not in ("Deployment", "Service", "PodDisruptionBudget"):
            continue
        selector = manifest["spec"]["selector"]
        wanted = selector.get("matchLabels", selector)
        found = [name for name, own in labels.items() if wanted.items() <= own.items()]
        assert found == [manifest["metadata"]["name"]]


def test_what_a_pod_refers_to_is_there(rendered: tuple[str, list[Manifest]]) -> None:
    case, manifests = rendered
    there = {(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests}
    for manifest in manifests:
        namespace = manifest["metadata"].get("namespace")
        for _, pod in pod_security.pods_of(manifest):
            account = pod.get("serviceAccountName")
            assert account is None or "elsewhere" in case or ("ServiceAccount", namespace, account) in there
            for container in pod["containers"]:
                for source in container.get("envFrom", []):
                    if "configMapRef" in source:
                        assert ("ConfigMap", namespace, source["configMapRef"]["name"]) in there
            for volume in pod["volumes"]:
                if "configMap" in volume:
                    assert ("ConfigMap", namespace, volume["configMap"]["name"]) in there


def test_no_rule_asks_for_everything(rendered: tuple[str, list[Manifest]]) -> None:
    roles = [m for m in rendered[1] if m["kind"] in ("Role", "ClusterRole")]
    assert roles
    for rule in (rule for role in roles for rule in role["rules"]):
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        if rule["resources"] in (["secrets"], ["configmaps"]):
            assert rule["resourceNames"]
            assert rule["verbs"] == ["get"]
        assert not {"pods/exec", "roles", "rolebindings"} & set(rule["resources"])
        assert not ({"pods", "secrets"} & set(rule["resources"]) and {"create", "delete"} & set(rule["verbs"]))


def test_every_binding_is_of_a_role_that_is_there(rendered: tuple[str, list[Manifest]]) -> None:
    roles = {
        (m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in rendered[1] if m["kind"] in ("Role", "ClusterRole")
    }
    for binding in (m for m in rendered[1] if m["kind"] in ("RoleBinding", "ClusterRoleBinding")):
        assert (binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"]) in roles


def granted(role: Manifest) -> set[installation.Right]:
    return {
        installation.Right(verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("backends", [["pytorchjob", "trainjob", "job"], ["job"], []])
@pytest.mark.parametrize("more", [True, False])
def test_the_role_is_what_helm_test_asks_for_and_no_more(backends: list[str], more: bool, tmp_path: Path) -> None:
    made = render({"jobs": {"backends": backends, "gang": more}, "dask": {"enabled": more}}, folder=tmp_path)
    assert granted(find(made, "Role", "landtide-jobs")) == set(installation.rights(backends, gang=more, dask=more))


def test_slurm_bridge_brings_the_right_to_make_pod_groups(tmp_path: Path) -> None:
    values = MATRIX["slurm-bridge"]
    made = render(values | {"jobs": values["jobs"] | {"gang": False}}, folder=tmp_path)
    role = find(made, "Role", "landtide-jobs", "landtide-hpc")
    assert installation.Right("create", "scheduling.x-k8s.io", "podgroups") in granted(role)
    test = find(made, "Pod", "landtide-test-rights")
    assert "--gang" in test["spec"]["containers"][0]["command"]


def test_the_runtime_has_no_field_that_trainer_does_not_know(tmp_path: Path) -> None:
    for case in ("a runtime", "a runtime by volcano", "a private registry by digest"):
        made = find(render(MATRIX[case], folder=tmp_path), "ClusterTrainingRuntime", "landtide-torch")
        assert trainer.TrainerV1alpha1ClusterTrainingRuntime.from_dict(made).to_dict() == made


def test_the_trainer_models_would_drop_a_misspelt_field(tmp_path: Path) -> None:
    made = find(render(MATRIX["a runtime"], folder=tmp_path), "ClusterTrainingRuntime", "landtide-torch")
    made["spec"]["mlPolicy"]["numNode"] = 1
    assert trainer.TrainerV1alpha1ClusterTrainingRuntime.from_dict(made).to_dict() != made


def test_the_schedule_job_runs_the_command_line_on_the_study_of_the_values(tmp_path: Path) -> None:
    made = render(MATRIX["a schedule"] | {"schedule": {"enabled": True, "cron": "30 2 * * 1"}}, folder=tmp_path)
    job = find(made, "Job", "landtide-schedule")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["landtide", "schedule", "/study/study.yaml", "--cron", "30 2 * * 1"]
    token = job["spec"]["template"]["spec"]["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]
    assert token["audience"] == "pipelines.kubeflow.org"
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["env"] == [{"name": "KF_PIPELINES_SA_TOKEN_PATH", "value": f"{mounted['token']}/{token['path']}"}]
    removal = find(made, "Job", "landtide-unschedule")
    assert removal["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert removal["spec"]["template"]["spec"]["containers"][0]["command"] == ["landtide", "unschedule", "/study/study.yaml"]


def study_of(manifests: list[Manifest]) -> Any:
    return yaml.safe_load(find(manifests, "ConfigMap", "landtide-study")["data"]["study.yaml"])


def test_the_study_gets_the_keys_of_its_cluster_and_keeps_its_own(tmp_path: Path) -> None:
    own = STUDY | {"workspace": "s3://other/place", "kubernetes": {"memory": "16GiB", "runtime": "mine"}}
    values = MATRIX["slurm-bridge"] | {
        "study": own,
        "image": {"pullSecret": "pull"},
        "pipelines": {"runNamespace": "team-a", "namespace": "kfp"},
    }
    study = study_of(render(values, folder=tmp_path))
    assert {key: study[key] for key in STUDY} == STUDY
    assert (study["workspace"], study["runner"], study["hpc"]) == ("s3://other/place", "kubernetes", {"bridge": "slurm-bridge"})
    assert study["kubernetes"] == {
        "namespace": "team-a",
        "jobs_namespace": "landtide-hpc",
        "service_account": "landtide-runner",
        "object_store": "landtide-object-store",
        "settings": "landtide-settings",
        "runtime": "mine",
        "kubeflow": "kfp",
        "api": "http://ml-pipeline.kfp.svc:8888",
        "pull_secret": "pull",
        "memory": "16GiB",
    }


@pytest.mark.parametrize("case", [case for case, values in MATRIX.items() if "study" in values])
def test_landtide_itself_takes_the_study_that_the_chart_writes(case: str, tmp_path: Path) -> None:
    text = find(render(MATRIX[case], folder=tmp_path), "ConfigMap", "landtide-study")["data"]["study.yaml"]
    assert parse_study(text, "/study", date(2026, 1, 1)).name == "meadows"


def test_the_viewer_serves_where_the_study_publishes(tmp_path: Path) -> None:
    def command(values: Manifest) -> list[str]:
        return find(render(values, folder=tmp_path), "Deployment", "landtide-viewer")["spec"]["template"]["spec"]["containers"][0][
            "command"
        ]

    assert command({"study": STUDY})[2] == "s3://landtide/meadows/published"
    assert command({"study": STUDY | {"workspace": "s3://b/p/"}})[2] == "s3://b/p/meadows/published"
    assert command({"viewer": {"published": "s3://b/there"}})[2] == "s3://b/there"
    assert not [m for m in render({}, folder=tmp_path) if m["kind"] == "Deployment"], "without a study there is nothing to show"


def test_the_steps_may_reach_kfp_the_store_dns_and_https_and_nothing_else(tmp_path: Path) -> None:
    policy = find(render(MATRIX["keys made here"], folder=tmp_path), "NetworkPolicy", "landtide-runs")["spec"]
    ports = [sorted({port["port"] for port in rule.get("ports", [])}) for rule in policy["egress"]]
    assert ports == [[], [53], [8080, 8333, 8887, 8888, 9000], [9000], [443, 6443]]
    assert policy["egress"][0]["to"] == policy["ingress"][0]["from"], "open to all ports: only pods of landtide's own"
    assert policy["egress"][0]["to"][0]["podSelector"] == {"matchLabels": {"app.kubernetes.io/part-of": "landtide"}}


def test_the_embedded_store_is_reached_by_landtide_alone_and_reaches_nobody(tmp_path: Path) -> None:
    policy = find(render(MATRIX["a trial"], folder=tmp_path), "NetworkPolicy", "landtide-store")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy
    assert policy["ingress"][0]["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == ["landtide"]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("https://s3.example.org", 443),
        ("http://s3.example.org", 80),
        ("http://minio.storage.svc:9000/", 9000),
        ("https://s3.example.org:8443", 8443),
    ],
)
def test_the_port_of_the_object_store_is_open(endpoint: str, port: int, tmp_path: Path) -> None:
    made = render({"objectStore": {"endpoint": endpoint}}, folder=tmp_path)
    egress = find(made, "NetworkPolicy", "landtide-runs")["spec"]["egress"]
    assert [{"port": port}] in [rule.get("ports") for rule in egress]
    assert find(made, "ConfigMap", "landtide-settings")["data"]["AWS_ENDPOINT_URL"] == endpoint


def test_images_come_from_the_registry_and_by_digest_where_given(tmp_path: Path) -> None:
    made = render(MATRIX["a private registry by digest"], folder=tmp_path)
    settings = find(made, "ConfigMap", "landtide-settings")["data"]
    assert settings["LANDTIDE_STEPS_IMAGE"] == "registry.example.org:5000/land/landtide-steps@sha256:" + "a" * 64
    assert settings["LANDTIDE_TRAIN_IMAGE"] == "registry.example.org:5000/land/landtide-train:0.1.0"
    for name, pod in pods(made):
        assert pod["imagePullSecrets"] == [{"name": "pull"}], name
        assert {container["imagePullPolicy"] for container in pod["containers"]} == {"Always"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"viewr": {}}, "viewr"),
        ({"viewer": {"replica": 2}}, "replica"),
        ({"objectStore": {"secret": {"acessKeyId": "x"}}}, "acessKeyId"),
        ({"hpc": {"bridge": "slurm"}}, "hpc/bridge"),
        ({"schedule": {"cron": "monthly"}}, "schedule/cron"),
        ({"objectStore": {"workspace": "/data"}}, "objectStore/workspace"),
        ({"image": {"stepsDigest": "sha256:abc"}}, "image/stepsDigest"),
        ({"pipelines": {"namespace": "Kube_Flow"}}, "pipelines/namespace"),
        ({"viewer": {"resources": {"limits": {"memory": "lots"}}}}, "memory"),
        ({"hpc": {"bridge": "slurm-bridge"}}, "jobs.namespace"),
        ({"schedule": {"enabled": True}}, "schedule.enabled needs study"),
        ({"study": {"years": [2021]}}, "study.name is missing"),
        ({"jobs": {"createNamespace": True}}, "jobs.createNamespace needs jobs.namespace"),
        ({"objectStore": {"embedded": {"enabled": True}, "endpoint": "http://a"}}, "not both"),
        ({"objectStore": {"embedded": {"enabled": True}, "auth": "role"}}, "knows no roles"),
        ({"objectStore": {"secret": {"create": True}}}, "accessKeyId and secretAccessKey"),
        ({"objectStore": {"auth": "role", "secret": {"create": True, "accessKeyId": "a", "secretAccessKey": "b"}}}, "choose one"),
        ({"study": STUDY, "viewer": {"ingress": {"enabled": True}}}, "viewer.ingress.host"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_values_are_refused_and_named(values: Manifest, complaint: str, tmp_path: Path) -> None:
    done = charts.template(values, folder=tmp_path)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_every_value_is_in_the_schema_and_every_table_of_the_schema_is_closed() -> None:
    schema = json.loads((charts.CHART / "values.schema.json").read_text())
    values = yaml.safe_load((charts.CHART / "values.yaml").read_text())
    open_tables = {
        "study",
        "global",
        "annotations",
        "nodeSelector",
        "extra",
        "ipBlock",
        "namespaceSelector",
        "podSelector",
        "limits",
        "requests",
    }

    def walk(node: Manifest, own: Any, path: str) -> None:
        if "properties" not in node:
            return
        assert node["additionalProperties"] is False, path
        if isinstance(own, dict):
            assert set(own) | {"global"} >= set(node["properties"]) or not path.count("/"), path
        for key, inner in node["properties"].items():
            inner = schema["$defs"][inner["$ref"].rsplit("/", 1)[1]] if "$ref" in inner else inner
            if inner.get("type") == "object" and key not in open_tables:
                assert "properties" in inner, f"{path}/{key}"
            walk(inner, (own or {}).get(key), f"{path}/{key}")

    walk(schema, values, "")


def test_lint_finds_nothing(tmp_path: Path) -> None:
    for number, values in enumerate(MATRIX.values()):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(values))
        done = charts.run("helm", "lint", "--strict", str(charts.CHART), "--values", str(path))
        assert done.returncode == 0, done.stdout
        assert "[WARNING]" not in done.stdout + done.stderr


def notes(values: Manifest, folder: Path) -> str:
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    done = charts.run(
        "helm", "install", "landtide", str(charts.CHART), "--namespace", "landtide", "--dry-run=client", "--values", str(path)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


def test_the_notes_tell_the_next_command(tmp_path: Path) -> None:
    plain = notes({}, tmp_path)
    assert "helm test landtide --namespace landtide" in plain
    assert "kubectl create secret generic landtide-object-store --namespace landtide" in plain
    assert "landtide submit STUDY" in plain
    scheduled = notes(MATRIX["standalone KFP"], tmp_path)
    assert scheduled.count("kubectl create secret generic") == 2, "one for the viewer's namespace, one for that of the runs"
    assert "kubectl logs --namespace landtide job/landtide-schedule" in scheduled
    assert "port-forward --namespace landtide service/landtide-viewer" in scheduled
    assert "kubectl create secret" not in notes(MATRIX["a trial"], tmp_path)
    assert "https://maps.example.org/" in notes(MATRIX["an ingress"], tmp_path)
