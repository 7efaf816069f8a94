"""Workers as pods and as jobs of Slurm: what is asked of the cluster, and real jobs on a real Slurm."""

import importlib.resources
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import yaml
from dask_kubernetes.operator.validation import validate_cluster_name
from distributed import LocalCluster

from landtide.core.compute import Compute, SlurmWorkers
from landtide.core.errors import InputError, LandtideError
from landtide.core.study import Study, parse_study
from landtide.launch.clusters import BatchWorkers, cluster_of
from landtide.launch.dask_pods import PodWorkers, cluster_spec
from landtide.launch.workers import open_pool

GIB = 2**30


def study(**keys: Any) -> Study:
    text = "name: s\narea: {bbox: [1, 2, 3, 4]}\nyears: [2020]\nsource: {catalog: c.json}\npoints: p.csv\n"
    return parse_study(text, "/data", date(2026, 1, 1), keys)


def test_the_study_chooses_where_workers_run():
    assert cluster_of(study(), "run-1") is None
    assert isinstance(cluster_of(study(compute={"cluster": "kubernetes"}), "run-1"), PodWorkers)
    slurm = cluster_of(study(compute={"cluster": "slurm", "slurm": {"queue": "cpu"}, "patience": "PT5M"}), "run-1")
    assert slurm == BatchWorkers(SlurmWorkers(queue="cpu"), 300)
    with pytest.raises(InputError, match=r"compute.cluster"):
        study(compute={"cluster": "pbs"})


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema of a DaskCluster, as the operator's own wheel ships it."""
    folder = importlib.resources.files("dask_kubernetes.operator") / "deployment/helm/dask-kubernetes-operator/crds"
    definition = yaml.safe_load((folder / "daskcluster.yaml").read_text())
    (version,) = [one for one in definition["spec"]["versions"] if one["name"] == "v1"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def strict(node: Any) -> Any:
    """Return an OpenAPI schema in which unknown keys are errors, as the API server drops them in silence."""
    if isinstance(node, dict):
        made = {key: strict(value) for key, value in node.items()}
        if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in made:
            made["additionalProperties"] = False
        if made.get("x-kubernetes-int-or-string"):
            made = {"type": ["integer", "string"]}
        return made
    return [strict(one) for one in node] if isinstance(node, list) else node


def test_the_dask_cluster_is_one_that_the_operator_takes(schema):
    made = study(
        kubernetes={
            "namespace": "maps",
            "image": "registry.example/landtide-train:1",
            "pull_secret": "pull",
            "node_selector": {"pool": "cpu"},
            "tolerations": [{"key": "spot", "operator": "Exists"}],
        }
    )
    spec = cluster_spec(made, "20260101T000000-abcd", "landtide-1", 2, 8 * GIB)
    checked = strict(schema)
    checked["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    jsonschema.validate(spec, checked)
    validate_cluster_name(spec["metadata"]["name"])
    broken = {**spec, "spec": {**spec["spec"], "workers": {}}}
    with pytest.raises(jsonschema.ValidationError, match="workers"):
        jsonschema.validate(broken, checked)


def test_dask_pods_have_the_rights_and_limits_of_the_others():
    spec = cluster_spec(study(kubernetes={"image": "i:1"}), "run-1", "landtide-1", 2, 8 * GIB)
    assert spec["spec"]["idleTimeout"] > 0  # the operator removes what a killed step has left
    for part in ("worker", "scheduler"):
        pod, labels = spec["spec"][part]["spec"], spec["spec"][part]["metadata"]["labels"]
        (container,) = pod["containers"]
        assert labels == {"app.kubernetes.io/part-of": "landtide", "landtide.io/run-id": "run-1"}
        assert pod["automountServiceAccountToken"] is False
        assert container["image"] == "i:1"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["args"][:2] == ["dask", "worker"] if part == "worker" else container["args"][0] == "dask-scheduler"
        secret = next(one for one in container["env"] if one["name"] == "AWS_SECRET_ACCESS_KEY")
        assert secret["valueFrom"]["secretKeyRef"]["name"] == "landtide-object-store"
    worker = spec["spec"]["worker"]["spec"]["containers"][0]
    assert worker["resources"]["limits"] == {"cpu": "2", "memory": "8Gi"}
    assert worker["args"][worker["args"].index("--memory-limit") + 1] == str(8 * GIB)
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in worker["env"]
    assert {"name": "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL", "value": "False"} in worker["env"]
    assert {one["containerPort"] for one in spec["spec"]["scheduler"]["spec"]["containers"][0]["ports"]} == {8786, 8787}


class Recorded(LocalCluster):
    """A cluster without workers in the place of the operator's, which notes what is done with it."""

    done: ClassVar[list[str]] = []

    def __init__(self, **options: Any) -> None:
        self.done.append(f"made in {options['namespace']}")
        super().__init__(n_workers=0, processes=False, dashboard_address=None)

    def adapt(self, minimum: int, maximum: int) -> None:
        self.done.append(f"adapts {minimum} to {maximum}")

    def __exit__(self, *error: Any) -> None:
        self.done.append("closed")
        super().__exit__(*error)


def test_a_cluster_without_a_worker_is_given_up_and_closed(monkeypatch):
    import dask_kubernetes.operator

    monkeypatch.setattr(dask_kubernetes.operator, "KubeCluster", Recorded)
    Recorded.done.clear()
    chosen = cluster_of(study(compute={"cluster": "kubernetes", "patience": 1}, kubernetes={"namespace": "maps"}), "run-1")
    with pytest.raises(LandtideError, match=r"no worker came within 1 s .*kubectl describe pods"), open_pool(3, 1, GIB, chosen) as pool:
        list(pool.map(abs, range(5)))
    assert Recorded.done == ["made in maps", "adapts 1 to 3", "closed"]


def test_a_job_of_slurm_asks_for_what_the_study_says(tmp_path):
    slurm = SlurmWorkers(
        queue="cpu", account="land", walltime="PT90M", directives=("--qos=long",), prologue=("module load python",), interface="lo"
    )
    with BatchWorkers(slurm, 60).cluster(4, 6 * GIB, str(tmp_path)) as cluster:
        script = cluster.job_script()
    for line in ("-p cpu", "-A land", "--cpus-per-task=4", "--mem=6G", "-t 01:30:00", "--qos=long"):
        assert f"#SBATCH {line}" in script, script
    assert script.index("module load python") < script.index("export OMP_NUM_THREADS=4") < script.index(sys.executable)
    assert "--lifetime 4860s" in script
    assert "--nthreads 1" in script
    assert Compute(cluster="slurm").slurm.walltime == 7200


def test_without_sbatch_the_user_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="no sbatch"), open_pool(2, 1, GIB, BatchWorkers(SlurmWorkers(), 5)) as pool:
        list(pool.map(abs, range(3)))


CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/run/munge.socket
CryptoType=crypto/munge
SlurmctldPidFile={home}/run/slurmctld.pid
SlurmdPidFile={home}/run/slurmd-%n.pid
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool/%n
SlurmctldLogFile={home}/log/slurmctld.log
SlurmdLogFile={home}/log/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
PropagateResourceLimits=NONE
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
KillWait=5
MinJobAge=600
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=60 State=UP OverSubscribe=NO
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A real Slurm on this machine: one controller, two nodes, ended with the test."""
    lacking = [
        name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]
    if lacking or os.geteuid() != 0:
        pytest.skip(f"needs root and Debian's slurmctld, slurmd, slurm-client, munge (lacking: {', '.join(lacking) or 'root'})")
    home = Path(f"/tmp/landtide-slurm-{secrets.token_hex(4)}")  # short: a socket's path may have 107 characters
    for name in ("run", "log", "state", "spool/n1", "spool/n2"):
        (home / name).mkdir(parents=True)
    home.chmod(0o755)
    key = home / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    first = 21000 + secrets.randbelow(8000)
    (home / "slurm.conf").write_text(CONFIG.format(host=socket.gethostname().split(".")[0], home=home, ports=(first, first + 1, first + 2)))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(home / "slurm.conf")
    run = {name: f"{home}/run/{name}" for name in ("munge.socket", "munged.pid", "munge.seed")}
    subprocess.run(["/usr/sbin/munged", f"--key-file={key}", f"--socket={run['munge.socket']}", f"--pid-file={run['munged.pid']}",
                    f"--log-file={home}/log/munged.log", f"--seed-file={run['munge.seed']}", "--force"], check=True)  # fmt: skip
    try:
        for command in (["slurmctld", "-c"], ["slurmd", "-N", "n1"], ["slurmd", "-N", "n2"]):
            subprocess.run([f"/usr/sbin/{command[0]}", *command[1:]], check=True)
        deadline = time.monotonic() + 60
        while subprocess.run(["sinfo", "-h", "-t", "idle", "-o", "%D"], capture_output=True, text=True, check=False).stdout.strip() != "2":
            assert time.monotonic() < deadline, (home / "log" / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.2)
        yield
    finally:
        for pid in (home / "run").glob("*.pid"):
            subprocess.run(["kill", pid.read_text().strip()], check=False)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(home, ignore_errors=True)


def where(_: int) -> tuple[str | None, str | None]:
    time.sleep(0.3)
    return os.environ.get("SLURM_JOB_ID"), os.environ.get("OMP_NUM_THREADS")


def refuse(value: int) -> int:
    if value == 3:
        raise InputError(f"value {value} is wrong")
    return value


def jobs_left() -> str:
    return subprocess.run(["squeue", "-h", "-t", "RUNNING,PENDING"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_tasks_run_as_jobs_of_slurm_and_none_is_left(slurm, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")  # where the workers find `where`
    chosen = BatchWorkers(SlurmWorkers(queue="main", walltime="PT5M", interface="lo"), 240)
    with open_pool(2, 1, 700 * 2**20, chosen) as pool:
        seen = list(pool.map(where, range(30)))
        jobs = {job for job, _ in seen}
        assert None not in jobs
        assert 1 <= len(jobs) <= 2
        assert {threads for _, threads in seen} == {"1"}
        with pytest.raises(InputError, match="value 3 is wrong"):
            list(pool.map(refuse, range(6)))
    deadline = time.monotonic() + 60
    while jobs_left() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert jobs_left() == ""
