"""The whole line on a small synthetic world, as a user runs it: maps, a second run, S3, an interrupt, and broken input."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio

from landtide.simulate import World, make_world

SETTINGS = ("model.epochs=12", "extract.candidates=6000", "extract.draws=2", "compute.workers=1")
"""A small model: these tests are about the line, `benchmarks/accuracy.py` about what it reaches."""


def landtide(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "landtide.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, env={**os.environ, **(env or {})}, check=False)


def run(
    study: Path, workspace: str, env: dict[str, str] | None = None, settings: tuple[str, ...] = SETTINGS
) -> subprocess.CompletedProcess[str]:
    words = [word for setting in settings for word in ("--set", setting)]
    return landtide("run", str(study), "--workspace", workspace, *words, env=env)


def label_digests(maps: Path) -> dict[str, str]:
    """Return the SHA-256 of every decoded label array."""
    found = {}
    for path in sorted(maps.rglob("[0-9][0-9][0-9][0-9].tif")):
        with rasterio.open(path) as dataset:
            found[path.name] = hashlib.sha256(dataset.read(1).tobytes()).hexdigest()
    return found


def manifests(workspace: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workspace.rglob("item.json")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), size=128, years=(2018, 2019), seed=5, dates_per_year=18)


@pytest.fixture(scope="module")
def done(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a run."""
    workspace = tmp_path_factory.mktemp("workspace")
    result = run(world.study, str(workspace))
    assert result.returncode == 0, result.stderr
    return workspace


def published(workspace: Path) -> Path:
    return workspace / "synthetic" / "published"


def test_new_maps_beat_the_old_map_by_a_wide_margin(done: Path, world: World) -> None:
    report = json.loads((published(done) / "report.json").read_text())
    for year, path in world.truth.items():
        with rasterio.open(path) as truth, rasterio.open(next(published(done).glob(f"maps/*/{year}.tif"))) as made:
            accuracy = float((truth.read(1) == made.read(1)).mean())
        assert accuracy > world.old_map_accuracy + 0.1
        told = next(one for one in report["assessments"] if one["source"] == "raster" and one["year"] == year)
        assert told["views"][0]["new"]["overall"] == pytest.approx(accuracy, abs=1e-9)
    assert report["headline"]["old"] == pytest.approx(world.old_map_accuracy, abs=0.05)


def test_catalog_leads_to_maps_that_open(done: Path) -> None:
    catalog = pystac.Catalog.from_file(str(published(done) / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert len(items) == 2
    for item in items:
        with rasterio.open(item.assets["label"].get_absolute_href()) as dataset:
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert dataset.colormap(1)[1][3] == 255
    for name in ("index.html", "report.html", "report.json", "layers.js"):
        assert (published(done) / name).stat().st_size > 0


def test_every_object_is_as_its_manifest_says(done: Path) -> None:
    checked = 0
    for path in done.rglob("objects.json"):
        for name, digest in json.loads(path.read_text()).items():
            assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == digest
            checked += 1
    assert checked > 20


def test_second_run_redoes_nothing(done: Path, world: World) -> None:
    before, labels = manifests(done), label_digests(published(done))
    result = run(world.study, str(done))
    assert result.returncode == 0, result.stderr
    steps = [line for line in result.stdout.splitlines() if line.startswith(("retrieve", "composite", "extract", "train", "classify"))]
    assert len(steps) >= 8
    assert all("already done" in line for line in steps), result.stdout
    assert manifests(done) == before
    assert label_digests(published(done)) == labels


def test_s3_gives_the_same_labels(done: Path, world: World, s3: str, tmp_path: Path) -> None:
    result = run(world.study, f"{s3}/work")
    assert result.returncode == 0, result.stderr
    saved = landtide("view", f"{s3}/work/synthetic/published", "--save", str(tmp_path / "site"))
    assert saved.returncode == 0, saved.stderr
    assert label_digests(tmp_path / "site") == label_digests(published(done))


def test_after_ctrl_c_nothing_lives_and_the_next_run_does_only_the_rest(done: Path, world: World, tmp_path: Path) -> None:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [sys.executable, "-m", "landtide.cli", "run", str(world.study), "--workspace", str(tmp_path), *settings]
    marked = {**os.environ, "LANDTIDE_TEST_MARK": tmp_path.name}
    child = subprocess.Popen(command, env=marked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 300
    while not list(tmp_path.rglob("composite/*/*/*/item.json")) and time.monotonic() < until:
        time.sleep(0.2)
    os.killpg(child.pid, signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert survivors(tmp_path.name) == []
    before = manifests(tmp_path)
    assert before
    result = run(world.study, str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert {path: stamp for path, stamp in manifests(tmp_path).items() if path in before} == before
    assert label_digests(published(tmp_path)) == label_digests(published(done))


def survivors(mark: str) -> list[int]:
    """Return the processes that carry the test's mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"LANDTIDE_TEST_MARK={mark}".encode() in environment:
                found.append(int(folder.name))
    return found


def test_a_truncated_image_is_set_aside_and_named(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world.folder, copy, ignore=shutil.ignore_patterns("work"))
    broken = sorted(copy.glob("items/*/B04.tif"))[3]
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    result = landtide("composite", str(copy / "study.yaml"), "--workspace", str(tmp_path / "w"))
    assert result.returncode == 0, result.stderr
    reports = [json.loads(path.read_text()) for path in (tmp_path / "w").rglob("retrieval.json")]
    assert broken.parent.name in json.dumps([report["set_aside"] for report in reports])
    assert len(list((tmp_path / "w").rglob("cube.zarr"))) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "landtide-test", str(folder)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_nothing_half_done_counts(world: World, small_disk: Path) -> None:
    result = landtide("composite", str(world.study), "--workspace", str(small_disk))
    assert result.returncode == 2, result.stderr
    assert "no space left" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(small_disk.rglob("composite/*/*/*/item.json"))


def test_a_setting_that_the_model_does_not_have_is_found_before_anything_runs(world: World, tmp_path: Path) -> None:
    result = run(world.study, str(tmp_path), settings=("model.name=forest", "model.tree=20"))
    assert result.returncode == 2
    assert "nearest: 'trees'" in result.stderr
    assert not manifests(tmp_path)


def test_a_workspace_that_is_no_folder_is_wrong_input(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = run(world.study, str(tmp_path / "file" / "work"))
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "workspace" in result.stderr


def test_wrong_credentials_are_wrong_input(world: World, tmp_path: Path) -> None:
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", "0"],
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "0", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = next(line.split()[-1] for line in server.stdout if "Running on" in line)
        keys = {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "wrong",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        result = run(world.study, "s3://bucket/work", keys)
    finally:
        server.kill()
        server.wait()
    assert result.returncode == 2, result.stderr
    assert "object store refuses access to s3://bucket/work" in result.stderr
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_pixel_never_seen_gets_no_class(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world.folder, copy, ignore=shutil.ignore_patterns("work"))
    for path in copy.glob("items/*/SCL.tif"):
        with rasterio.open(path) as dataset:
            values, profile = dataset.read(1), dataset.profile
        values[:10, :10] = 9
        path.unlink()
        with rasterio.open(path, "w", **{**profile, "driver": "GTiff"}) as dataset:
            dataset.write(values, 1)
    for path in copy.glob("items/*/*.json"):  # the checksums of the masks are no longer theirs
        record = json.loads(path.read_text())
        record["assets"]["SCL"].pop("file:checksum", None)
        path.write_text(json.dumps(record))
    result = run(copy / "study.yaml", str(tmp_path / "w"), settings=("model.name=forest", "model.trees=20"))
    assert result.returncode == 0, result.stderr
    for path in (tmp_path / "w").glob("synthetic/published/maps/*/20??.tif"):
        with rasterio.open(path) as dataset:
            labels = dataset.read(1)
        assert (labels[:20, :20] == 0).all()
        assert (labels[40:, 40:] > 0).all()
        assert np.count_nonzero(labels) > 0.8 * labels.size
