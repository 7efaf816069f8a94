"""Copernicus Data Space: its S3 with its own endpoint and keys, beside a workspace on another store."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import botocore.exceptions
import numpy as np
import pytest
from made import TILE, make_study, red, run_fetch
from made_safe import write_jp2

from landtide.core.errors import InputError
from landtide.io import s3, storage
from landtide.io.raster import open_raster, read_on_grid
from landtide.retrieve import resolve_tiles
from landtide.retrieve.search import find

PRODUCT = "Sentinel-2/MSI/L2A/2020/05/01/S2A_MSIL2A_20200501T100031_N0500_R122_T31UFS_20200501T150000.SAFE"


@pytest.fixture
def cdse(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A second S3 server with a bucket ``eodata``, whose address and keys stand in variables of their own; yields its endpoint."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"CDSE_S3_ENDPOINT": endpoint, "CDSE_S3_ACCESS_KEY": f"cdse-{uuid.uuid4().hex[:6]}", "CDSE_S3_SECRET_KEY": "cdse-secret"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="owner", aws_secret_access_key="owner", region_name="us-east-1")
    client.create_bucket(Bucket="eodata")
    yield endpoint
    server.stop()


def upload(endpoint: str, key: str, path: Path) -> None:
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="o", aws_secret_access_key="o", region_name="us-east-1")
    client.upload_file(str(path), "eodata", key)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The store of the workspace, in a process of its own: moto's servers of one process share their memory."""
    import subprocess
    import sys
    import time

    program = "import sys\nfrom moto.server import main\nmain(['-H', '127.0.0.1', '-p', sys.argv[1]])"
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", program, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "ours",
        "AWS_SECRET_ACCESS_KEY": "ours-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    for remembered in (storage.aws_session, storage.s3_client):
        remembered.cache_clear()
    for _ in range(100):
        try:
            storage.s3_client().create_bucket(Bucket="ours")
            break
        except Exception as error:
            if server.poll() is not None:
                raise
            last = error
            time.sleep(0.1)
    else:
        raise last
    yield "s3://ours/work"
    server.terminate()
    server.wait(10)
    for remembered in (storage.aws_session, storage.s3_client):
        remembered.cache_clear()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def item() -> dict:
    """An item as CDSE writes them (STAC 1.1, an asset a band and resolution, raster fields on the asset), of a synthetic product."""
    assets = {}
    for key, metres in (("B04_10m", 10), ("SCL_20m", 20)):
        shape = [side * 10 // metres for side in TILE.shape]
        west, _, _, north = TILE.bounds
        assets[key] = {
            "href": f"s3://eodata/{PRODUCT}/GRANULE/X/IMG_DATA/R{metres}m/{key}.jp2",
            "type": "image/jp2",
            "nodata": 0,
            "data_type": "uint16" if key.startswith("B") else "uint8",
            "proj:shape": shape,
            "proj:transform": [metres, 0, west, 0, -metres, north],
            **({"raster:scale": 1e-4, "raster:offset": -0.1} if key.startswith("B") else {}),
        }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": PRODUCT.rsplit("/", 1)[1].removesuffix(".SAFE"),
        "geometry": TILE.footprint(),
        "bbox": list(TILE.lonlat_bounds()),
        "properties": {
            "datetime": "2020-05-01T10:00:31Z",
            "constellation": "sentinel-2",
            "platform": "sentinel-2a",
            "processing:version": "05.00",
            "grid:code": "MGRS-31UFS",
            "proj:code": TILE.crs,
            "eo:cloud_cover": 3.0,
        },
        "links": [],
        "assets": assets,
        "collection": "sentinel-2-l2a",
    }


def test_two_stores_are_read_and_written_side_by_side(tmp_path: Path, cdse: str, workspace: str):
    image, classes = red(5, low=1200, high=1600), np.full((TILE.shape[0] // 2, TILE.shape[1] // 2), 4, np.uint8)
    for key, array, metres in (("B04_10m", image, 10), ("SCL_20m", classes, 20)):
        write_jp2(tmp_path / f"{key}.jp2", array, metres)
        upload(cdse, f"{PRODUCT}/GRANULE/X/IMG_DATA/R{metres}m/{key}.jp2", tmp_path / f"{key}.jp2")
    catalog = tmp_path / "items.json"
    catalog.write_text(json.dumps({"type": "FeatureCollection", "features": [item()]}))
    study = make_study(tmp_path, source={"catalog": str(catalog)}, mask={"asset": "SCL"}, workspace=workspace)
    (tile,) = resolve_tiles(study)
    features, report, _ = run_fetch(study, tile, 2020)
    asset = features[0]["assets"]["B04"]
    assert asset["href"].startswith(f"{workspace}/test/cache/")
    assert (asset["raster:scale"], asset["raster:offset"]) == (1e-4, -0.1)
    assert np.array_equal(read_on_grid(asset["href"], tile, fill=0), image)
    assert report["set_aside"] == []
    with pytest.raises(InputError, match="bucket of s3://other/x does not exist"):  # any other bucket is the workspace's store
        storage.read_bytes("s3://other/x")
    keys = {entry["Key"] for entry in s3.client_of("s3://eodata/x").list_objects_v2(Bucket="eodata")["Contents"]}
    assert all(key.startswith("Sentinel-2/") for key in keys)


def test_gdal_and_boto3_read_the_archive_by_its_own_keys(tmp_path: Path, cdse: str, workspace: str):
    write_jp2(tmp_path / "a.jp2", red(1), 10)
    upload(cdse, "a.jp2", tmp_path / "a.jp2")
    with open_raster("s3://eodata/a.jp2") as dataset:
        assert np.array_equal(dataset.read(1), red(1))
    assert storage.size("s3://eodata/a.jp2") == (tmp_path / "a.jp2").stat().st_size
    assert s3.session_of("s3://eodata/a.jp2").get_credentials().secret_key == "cdse-secret"
    assert s3.session_of("s3://ours/a").get_credentials().secret_key == "ours-secret"
    assert s3.custom_endpoint(s3.client_of("s3://eodata/a.jp2")) == cdse


def test_the_archive_is_at_its_public_address_and_without_keys_left_to_the_ordinary_ones(monkeypatch: pytest.MonkeyPatch):
    for name in ("CDSE_S3_ENDPOINT", "CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert s3.archive_of("s3://eodata/x") is None
    monkeypatch.setenv("CDSE_S3_ACCESS_KEY", "k")
    monkeypatch.setenv("CDSE_S3_SECRET_KEY", "s")
    assert s3.custom_endpoint(s3.client_of("s3://eodata/x")) == "https://eodata.dataspace.copernicus.eu"
    assert s3.archive_of("s3://mine/x") is None


def test_refused_keys_of_the_archive_are_named(s3: str, monkeypatch: pytest.MonkeyPatch):
    error = botocore.exceptions.ClientError({"Error": {"Code": "InvalidAccessKeyId"}}, "GetObject")
    with (
        pytest.raises(InputError, match="set CDSE_S3_ACCESS_KEY and CDSE_S3_SECRET_KEY to the keys of CDSE"),
        storage.s3_errors("s3://eodata/x"),
    ):
        raise error
    with pytest.raises(InputError, match="set AWS_ACCESS_KEY_ID"), storage.s3_errors(f"{s3}/x"):
        raise error


def test_recorded_items_of_cdse_lead_to_the_archive(shared: Path, tmp_path: Path, stac_api):
    answer = json.loads((shared / "data/stac/responses/cdse_2020_N0500_featurecollection.json").read_text())
    url, _ = stac_api([answer])
    study = make_study(tmp_path, source={"api": url, "collection": "c", "max_cloud": 100}, area={"tiles": ["36NYH"]}, mask=None)
    (tile,) = resolve_tiles(study)
    one = find(study, tile, 2020).acquisitions[0]
    assert one.item.assets[one.assets["B04"]].href.startswith("s3://eodata/")
