"""The real images: what is in them, the whole pipeline in their containers, and the chart's pods run for real."""

import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import charts
import containers
import phenology
import pytest
import rasterio
import yaml
from charts import Manifest
from containers import STEPS, TRAIN, Podman, as_pod

from landtide import cli, models
from landtide.io import storage, table
from landtide.launch import driver, jobspec, manifests
from landtide.simulate import make_world
from landtide.train import TrainSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

SETTINGS = ("model.epochs=8", "extract.candidates=4000", "extract.draws=2", "compute.workers=1", "compute.threads=1")
"""A small model: this is about where the pipeline runs, not about what it reaches."""

TRAIN_LIMIT = 2.2e9
"""Bytes, uncompressed, of landtide-train with the CPU build of torch."""

IMAGE = {"image": {"registry": "localhost", "tag": containers.TAG}}
UNPINNED = ("landtide==", "torch==", "nvidia-", "triton==", "setuptools==")
"""landtide itself, and torch with what it alone asks for: the lock file leaves its build open."""

RESTRICTED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """podman with both images."""
    containers.require_podman()
    made = Podman(tmp_path_factory.mktemp("podman"))
    made.build_images()
    return made


def size(podman: Podman, image: str) -> int:
    return int(json.loads(podman.run("image", "inspect", image).stdout)[0]["Size"])


def test_images_are_as_small_as_promised(podman: Podman) -> None:
    build = podman.run("run", "--rm", "--network", "none", TRAIN, "python", "-c", "import torch; print(torch.version.cuda)").stdout.strip()
    if build != "None":
        pytest.skip(f"torch for CUDA {build} is several GB: the limit is for the build for CPUs")
    assert size(podman, STEPS) < size(podman, TRAIN) < TRAIN_LIMIT, {image: size(podman, image) for image in (STEPS, TRAIN)}


@pytest.mark.parametrize("image", [STEPS, TRAIN])
def test_an_image_runs_as_a_number_and_holds_no_tools(podman: Podman, image: str) -> None:
    record = json.loads(podman.run("image", "inspect", image).stdout)[0]
    assert record["Config"]["User"] == "10001:10001"
    labels = record["Labels"]
    assert labels["org.opencontainers.image.title"] == image.split("/")[1].split(":")[0]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"]
    assert labels["org.opencontainers.image.revision"] == podman.revision
    assert not [line for line in record["Config"]["Env"] if "PIP" in line or "CERT" in line or "PROXY" in line.upper()]
    look = "id -u; for tool in gcc cc make pip pip3 git curl wget; do command -v $tool; done; python -c 'import pip' 2>/dev/null; true"
    assert podman.run("run", "--rm", *RESTRICTED, "--network", "none", image, "bash", "-c", look).stdout.split() == ["10001"]


@pytest.mark.parametrize(
    ("image", "modules"), [(STEPS, "landtide.steps kfp.dsl kubernetes dask_kubernetes"), (TRAIN, "landtide.steps torch torchx skops")]
)
def test_an_image_has_the_pinned_libraries_and_no_others_of_development(podman: Podman, image: str, modules: str) -> None:
    code = (
        f"import importlib; [importlib.import_module(name) for name in {modules.split()}]\n"
        "from importlib.metadata import distributions\n"
        "print(*{f\"{d.name.lower().replace('_', '-')}=={d.version}\" for d in distributions()})"
    )
    found = set(podman.run("run", "--rm", *RESTRICTED, "--network", "none", image, "python", "-c", code).stdout.split())
    lines = (containers.REPOSITORY / "requirements.lock").read_text().splitlines()
    pinned = {line.lower().replace("_", "-") for line in lines if not line.startswith("#")}
    assert {one for one in found - pinned if not one.startswith(UNPINNED)} == set()
    assert not [one for one in found if one.startswith(("pytest==", "ruff==", "mypy==", "playwright==", "hypothesis=="))]


def test_the_command_line_works_without_a_writable_root(podman: Podman) -> None:
    script = "landtide init /tmp/a && landtide simulate /tmp/world --size 64 --years 2019 && landtide plan /tmp/world/study.yaml"
    done = podman.run("run", "--rm", *RESTRICTED, "--network", "none", TRAIN, "bash", "-c", script)
    assert "Compositing" in done.stdout


def upload(folder: Path, uri: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            storage.upload(path, storage.join(uri, str(path.relative_to(folder))))


def label_digests(published: str, folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every decoded label array of a published folder."""
    found = {}
    for name in storage.walk(published):
        if re.fullmatch(r"maps/.+/[0-9]{4}\.tif", name):
            storage.download(storage.join(published, name), folder / name)
            with rasterio.open(folder / name) as dataset:
                found[name] = hashlib.sha256(dataset.read(1).tobytes()).hexdigest()
    return found


def test_the_pipeline_in_containers_makes_the_labels_of_the_pipeline_in_processes(podman: Podman, s3: str, tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", size=96, years=(2018, 2019), seed=5, dates_per_year=18)
    upload(tmp_path / "world", f"{s3}/world")
    study_file = f"{s3}/world/{world.study.name}"

    words = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [sys.executable, "-m", "landtide.cli", "run", study_file, "--workspace", f"{s3}/processes", *words]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert plain.returncode == 0, plain.stderr

    study = cli.read_study(study_file, f"{s3}/containers", list(SETTINGS))
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"}
    inside = Podman(tmp_path / "podman", {**aws, **driver.thread_variables(study)})
    root = tmp_path / "kfp"
    root.mkdir()
    root.chmod(0o777)  # KFP lets every task write its outputs here, and the tasks are not root
    with inside.service() as address:
        own = {"DOCKER_HOST": address, "LANDTIDE_STEPS_IMAGE": STEPS, "LANDTIDE_TRAIN_IMAGE": TRAIN, "PYTHONPATH": python_path()}
        program = [sys.executable, str(Path(__file__).parent / "in_containers.py"), driver.new_run(study), str(root)]
        done = subprocess.run(program, capture_output=True, text=True, check=False, env={**os.environ, **own})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert done.stdout.count(f"Found image '{STEPS}'") >= 6
    assert done.stdout.count(f"Found image '{TRAIN}'") >= 4

    labels = label_digests(f"{s3}/containers/{study.name}/published", tmp_path / "a")
    assert len(labels) == 2
    assert labels == label_digests(f"{s3}/processes/{study.name}/published", tmp_path / "b")


def python_path() -> str:
    return os.pathsep.join([str(Path(__file__).parent), *(path for path in sys.path if path)])


def get(url: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return answer.status, answer.read()


@pytest.fixture
def store(podman: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Manifest, Manifest]]:
    """The chart's embedded store, running; yields the ConfigMap and the Secret by which pods find it. This process finds it, too."""
    trial = charts.render(IMAGE | {"study": charts.STUDY, "objectStore": {"embedded": {"enabled": True}}}, folder=tmp_path)
    keys = charts.find(trial, "Secret", "landtide-object-store")
    with podman.playing(as_pod(charts.find(trial, "Deployment", "landtide-store"))):
        endpoint = f"http://{podman.address('landtide-store')}:9000"
        for name, value in {**keys["stringData"], "AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        storage.aws_session.cache_clear()
        storage.s3_client.cache_clear()
        wait_for(f"{endpoint}/landtide")
        made = charts.render(IMAGE | {"study": charts.STUDY, "objectStore": {"endpoint": endpoint}}, folder=tmp_path)
        yield charts.find(made, "ConfigMap", "landtide-settings"), keys
    storage.aws_session.cache_clear()
    storage.s3_client.cache_clear()


def test_store_viewer_and_checks_of_the_chart_run_as_rendered(podman: Podman, store: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    made = charts.render(IMAGE | {"study": charts.STUDY}, folder=tmp_path)
    with podman.playing(*store, as_pod(charts.find(made, "Deployment", "landtide-viewer"))):
        site = f"http://{podman.address('landtide-viewer')}:8080"
        wait_for(f"{site}/healthz")
        storage.write_bytes("s3://landtide/meadows/published/index.html", b"a map")
        assert get(f"{site}/") == (200, b"a map")

        check = json.dumps(as_pod(charts.find(made, "Pod", "landtide-test-viewer")))
        check = check.replace("http://landtide-viewer.landtide.svc:80", site)  # no cluster, no names of services
        with podman.playing(yaml.safe_load(check)):
            assert podman.wait("landtide-test-viewer", "viewer")[0] == 0
        with podman.playing(*store, as_pod(charts.find(made, "Pod", "landtide-test-store"))):
            status, told = podman.wait("landtide-test-store", "store")
            assert status == 0, told
            assert "s3://landtide can be written to" in told


def test_a_training_job_runs_as_the_launcher_renders_it(podman: Podman, store: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    samples = phenology.samples(60, years=(2018, 2019))
    table.write_samples("s3://landtide/samples.parquet", samples)
    spec = TrainSpec(
        model="lstm",
        samples=("s3://landtide/samples.parquet",),
        legend=phenology.legend(4),
        bands=samples.bands,
        steps=phenology.STEPS,
        seed=5,
        output="s3://landtide/model",
        settings={"epochs": 4, "hidden": 16, "batch": 32},
    )
    storage.write_bytes("s3://landtide/spec.json", spec.to_json().encode())
    job = jobspec.JobSpec(
        kind="job",
        name="landtide-train-final",
        namespace="landtide",
        run_id="run",
        image=TRAIN,
        command=(*jobspec.TRAIN_COMMAND, "s3://landtide/spec.json"),
        resources=jobspec.Resources(cpu=1, memory=3 * 2**30, shared_memory=2**28),
        processes=2,
    )
    with podman.playing(*store, as_pod(manifests.render(job)[-1])):
        status, told = podman.wait("landtide-train-final", "main")
        assert status == 0, told
    for name in storage.walk("s3://landtide/model"):
        storage.download(f"s3://landtide/model/{name}", tmp_path / "model" / name)
    assert models.load(str(tmp_path / "model")).classes_seen == [1, 2, 3, 4]


def wait_for(url: str) -> None:
    """Wait until a server answers, whatever it says."""
    command = [
        "curl",
        "--silent",
        "--retry",
        "60",
        "--retry-delay",
        "1",
        "--retry-all-errors",
        "--max-time",
        "5",
        "--output",
        "/dev/null",
        url,
    ]
    assert subprocess.run(command, check=False, env={**os.environ, "NO_PROXY": "*", "no_proxy": "*"}).returncode == 0, url
