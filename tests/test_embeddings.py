"""Embeddings through the whole line: from rasters of a year by composite, samples and their validation to model and map."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.windows import Window
from test_end_to_end import landtide

from landtide.core.errors import InputError
from landtide.core.study import parse_study
from landtide.io import table
from landtide.io.embedding import Embedding, read_embedding
from landtide.retrieve import check, resolve_tiles
from landtide.simulate import World, make_world

CLASSES = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose study reads two bands, and embeddings that tell the class on 20 m pixels."""
    made = make_world(tmp_path_factory.mktemp("world"), size=128, years=(2018,), seed=5, dates_per_year=14)
    with rasterio.open(made.truth[2018]) as truth:
        classes, profile = truth.read(1), truth.profile
    coarse = classes[::2, ::2]
    told = (coarse[None] == np.arange(1, CLASSES + 1)[:, None, None]) + np.random.default_rng(1).normal(0, 0.1, (CLASSES, *coarse.shape))
    told[:, :10, :10] = np.nan
    size = {"height": coarse.shape[0], "width": coarse.shape[1], "transform": profile["transform"] @ rasterio.Affine.scale(2)}
    path = made.study.parent / "embedding.tif"
    with rasterio.open(path, "w", driver="GTiff", count=CLASSES, dtype="float32", nodata=np.nan, crs=profile["crs"], **size) as dataset:
        dataset.write(told.astype(np.float32))
    study = yaml.safe_load(made.study.read_text())
    study |= {"bands": ["B04", "B08"], "embeddings": {"rasters": {2018: "embedding.tif"}, "bands": CLASSES, "scale": 0.5}}
    made.study.write_text(yaml.safe_dump(study))
    return made


def test_embeddings_reach_samples_model_and_map(world: World, tmp_path: Path) -> None:
    settings = ("model.epochs=12", "extract.candidates=6000", "extract.draws=2", "compute.workers=1")
    words = [word for setting in settings for word in ("--set", setting)]
    done = landtide("run", str(world.study), "--workspace", str(tmp_path), *words)
    assert done.returncode == 0, done.stderr
    channels = ["B04", "B08", *(f"E{number:03d}" for number in range(1, CLASSES + 1))]
    samples = table.open_samples(str(next(tmp_path.rglob("stable/*/*/*/*/samples.parquet"))))
    assert list(samples.bands) == channels
    x = samples.read().x[:, :, 2:]
    known = ~np.isnan(x).all(axis=1)
    assert (np.nanmax(x, axis=1) == np.nanmin(x, axis=1))[known].all()
    cards = [json.loads(path.read_text()) for path in tmp_path.rglob("model.json")]
    assert len(cards) == 2
    assert all(card["bands"] == channels for card in cards)
    with rasterio.open(world.truth[2018]) as truth, rasterio.open(next(tmp_path.rglob("published/maps/*/2018.tif"))) as made:
        assert (truth.read(1) == made.read(1)).mean() > world.old_map_accuracy + 0.2


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"bands": 9}, "embedding.tif has 10 bands, and embeddings.bands is 9"),
        ({"rasters": {2018: "nowhere.tif"}}, "does not exist: correct embeddings.rasters"),
        ({"rasters": {2018: "study.yaml"}}, "cannot be read"),
        ({"rasters": {2018: "elsewhere.tif"}}, "lies beside tile 32TPS"),
        ({"rasters": {2018: "truth_2018.tif"}, "bands": 1}, None),
        ({"rasters": {2018: "bare.tif"}, "bands": 1}, "tells no no-data value"),
        ({"rasters": {2019: "embedding.tif"}}, "embeddings.rasters lacks 2018"),
    ],
)
def test_wrong_embeddings_are_told_before_anything_runs(changes: dict[str, Any], line: str | None, world: World) -> None:
    folder = world.study.parent
    with rasterio.open(world.truth[2018]) as truth:
        for name, shift, nodata in (("elsewhere", 500, 0), ("bare", 0, None)):
            grid = truth.transform @ rasterio.Affine.translation(shift, 0)
            options = {**truth.profile, "driver": "GTiff", "transform": grid, "nodata": nodata, "count": CLASSES if shift else 1}
            with rasterio.open(folder / f"{name}.tif", "w", **options):
                pass
    record = yaml.safe_load(world.study.read_text())
    record["embeddings"] |= changes
    if line is None:
        assert check(parse_study(yaml.safe_dump(record), str(folder), date(2026, 1, 1))).tiles
        return
    with pytest.raises(InputError, match=re.escape(line)):
        check(parse_study(yaml.safe_dump(record), str(folder), date(2026, 1, 1)))


def test_values_beyond_what_a_cube_holds_are_refused(world: World) -> None:
    tile, names = resolve_tiles(parse_study(world.study.read_text(), str(world.study.parent), date(2026, 1, 1)))[0], ("E001",) * CLASSES
    embedding = Embedding(str(world.study.parent / "embedding.tif"), names, 40.0, 0.0)
    with pytest.raises(InputError, match=r"a cube holds -3.2767 to 3.2767: give embeddings.scale"):
        read_embedding(embedding, tile, Window(0, 0, 128, 128))
