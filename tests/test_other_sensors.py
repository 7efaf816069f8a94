"""HLS and Landsat from their items to maps. Items and pixels are SYNTHETIC: a simulated world, packed as the products' guides say.

The world's pixels stand for 30 m here. The oracle is the world itself: what its dates show where the packed mask says clear, in numpy.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from landtide import retrieve, steps
from landtide.core.bands import HLS_BANDS
from landtide.core.study import parse_study
from landtide.core.tile import Tile
from landtide.io import manifest, storage
from landtide.io.cube import open_cube
from landtide.simulate import SyntheticWorld, draw_old_map, world
from landtide.simulate.scene import Acquisition
from landtide.simulate.spectra import BANDS

YEAR = 2020
GRID = Tile("31UFS", "EPSG:32631", (30.0, 0.0, 600_000.0, 0.0, -30.0, 5_700_000.0), (128, 128))
WHOLE = Window(0, 0, 128, 128)
PLACES = [BANDS.index(name) for name in HLS_BANDS]


@dataclass(frozen=True)
class Look:
    """One date of the world."""

    acquisition: Acquisition
    value: np.ndarray
    """(6, h, w) reflectance of `HLS_BANDS`."""

    scl: np.ndarray
    """(h, w) scene classes, 0 outside the swath."""

    @property
    def day(self) -> date:
        return self.acquisition.moment.date()


def bits_of(scl: np.ndarray, bits: dict[int, tuple[int, ...]]) -> np.ndarray:
    """Return (h, w) int64 with a bit set wherever the scene class is one of its classes."""
    return sum((np.isin(scl, classes).astype(np.int64) << bit for bit, classes in bits.items()), np.zeros(scl.shape, np.int64))


# What a granule is: name, assets by key (array, no data), and which pixels of it are clear.
Granule = tuple[str, dict[str, tuple[np.ndarray, float]], np.ndarray]


def hls(number: int, look: Look) -> Granule:
    """Pack a date as HLS v2 (user guide, tables of bands and of Fmask): every second one is of Landsat, with Landsat's own band numbers."""
    sensor = "L30" if number % 2 else "S30"
    keys = {"L30": ("B02", "B03", "B04", "B05", "B06", "B07"), "S30": HLS_BANDS}[sensor]
    outside = look.scl == 0
    fmask = bits_of(look.scl, {1: (8, 9), 3: (3,), 4: (11,), 5: (6,)})
    fmask[::7] |= 0b1100_0000  # high aerosol, which is no cloud
    fmask[(fmask & 2 == 0) & (np.roll(fmask & 2, 1, axis=0) > 0)] |= 0b100  # beside cloud
    numbers = np.where(outside, -9999, np.rint(look.value * 1e4)).astype(np.int16)
    assets = {key: (numbers[k], -9999.0) for k, key in enumerate(keys)}
    strange = np.full(look.scl.shape, 27_000, np.int16)  # temperatures, or a band that the other sensor lacks
    assets |= dict.fromkeys(("B10", "B11") if sensor == "L30" else ("B05", "B06", "B07"), (strange, -9999.0))
    assets["Fmask"] = (np.where(outside, 255, fmask).astype(np.uint8), 255.0)
    name = f"HLS.{sensor}.T31UFS.{look.acquisition.moment:%Y%jT%H%M%S}.v2.0"
    return name, assets, ~outside & (fmask & 0b1110 == 0)


def landsat(number: int, look: Look) -> Granule:
    """Pack a date as Landsat Collection 2 Level-2 (LSDS-1619): scale 2.75e-5, offset -0.2, QA_PIXEL of 16 bits."""
    outside = look.scl == 0
    qa = bits_of(look.scl, {2: (10,), 3: (8, 9), 4: (3,), 5: (11,), 7: (6,)})
    qa |= np.where(qa & 0b1_1110 == 0, 1 << 6, 0) | 1 << 8 | (1 << 10) | (1 << 12)  # clear; low confidence of cloud, shadow and snow
    numbers = np.where(outside, 0, np.clip(np.rint((look.value + 0.2) / 2.75e-5), 1, 65_455)).astype(np.uint16)
    keys = ("blue", "green", "red", "nir08", "swir16", "swir22")
    assets = {key: (numbers[k], 0.0) for k, key in enumerate(keys)}
    assets["qa_pixel"] = (np.where(outside, 1, qa).astype(np.uint16), 1.0)
    day = f"{look.day:%Y%m%d}"
    return f"LC{8 + number % 2:02}_L2SP_199025_{day}_{day}_02_T1_SR", assets, ~outside & (qa & 0b1_1110 == 0)


@dataclass(frozen=True)
class Series:
    """A year of one sensor on disk."""

    study: Path
    months: list[list[np.ndarray]]
    """For each month the dates, (6, h, w) with NaN where not clear."""


@pytest.fixture(scope="module")
def ground() -> tuple[SyntheticWorld, list[Look]]:
    made = world(GRID.shape[0], (YEAR,), 5, dates_per_year=36)
    looks = []
    for acquisition in made.acquisitions:
        seen = made.observe(acquisition)
        value = np.moveaxis(seen.reflectance[..., PLACES], 2, 0)
        scl = seen.scl.repeat(2, 0).repeat(2, 1)
        looks.append(Look(acquisition, value, np.where(seen.inside, scl, 0)))
    return made, looks


def write(path: Path, array: np.ndarray, nodata: float) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "height": array.shape[0], "width": array.shape[1], "dtype": array.dtype, "nodata": nodata}
    with rasterio.open(path, "w", **profile, crs=GRID.crs, transform=GRID.affine, tiled=True, blockxsize=64, blockysize=64) as dataset:
        dataset.write(array, 1)
    return str(path)


def make(folder: Path, made: SyntheticWorld, looks: list[Look], pack: Callable[[int, Look], Granule], mask: dict) -> Series:
    """Write the granules, a catalog of items as bare as the providers', the old map, and a study."""
    features, months = [], [[] for _ in range(12)]
    for number, look in enumerate(looks):
        name, assets, clear = pack(number, look)
        months[look.day.month - 1].append(np.where(clear, look.value, np.nan))
        features.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": name,
                "geometry": GRID.footprint(),
                "bbox": list(GRID.lonlat_bounds()),
                "properties": {"datetime": f"{look.acquisition.moment:%Y-%m-%dT%H:%M:%SZ}", "eo:cloud_cover": 20},
                "links": [],
                "assets": {key: {"href": write(folder / name / f"{key}.tif", *told), "type": "image/tiff"} for key, told in assets.items()},
            }
        )
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    write(folder / "old_map.tif", draw_old_map(made).on_world, -1)
    record = {
        "name": "other",
        "area": {"catalog-extent": True},
        "years": [YEAR],
        "source": {"catalog": "items.json"},
        "bands": list(HLS_BANDS),
        "mask": mask,
        "composite": {"gaps": "none", "outliers": "keep"},
        "old_map": {"uri": "old_map.tif", "year": made.base_year, "crosswalk": "corine"},
        "extract": {"method": "paris", "candidates": 6000, "draws": 1},
        "model": {"name": "forest"},
        "compute": {"workers": 1},
    }
    (folder / "study.json").write_text(json.dumps(record))
    return Series(folder / "study.json", months)


HLS_MASK = {"asset": "Fmask", "bits": [1, 2, 3], "dilate": "0 m"}
LANDSAT_MASK = {"asset": "qa_pixel", "bits": [0, 1, 2, 3, 4], "dilate": "0 m"}


def composited(folder: Path, series: Series) -> tuple[str, str, str]:
    """Retrieve and composite a series; return the run's study and the manifests of both steps."""
    study = parse_study(series.study.read_text(), str(folder), date(2026, 1, 1))
    uri = str(folder / "run" / "study.json")
    storage.write_json(uri, {"study": study.model_dump(mode="json", by_alias=True, exclude_unset=True)})
    (tile,) = retrieve.resolve_tiles(study)
    retrieved = steps.retrieve(uri, tile.name)
    return uri, retrieved, steps.composite(uri, retrieved)


@pytest.mark.parametrize(("pack", "mask", "rounding"), [(hls, HLS_MASK, 1e-4), (landsat, LANDSAT_MASK, 1.2e-4)], ids=["hls", "landsat"])
def test_a_year_of_items_becomes_the_reflectance_that_was_packed(
    tmp_path: Path, ground: tuple[SyntheticWorld, list[Look]], pack: Callable[[int, Look], Granule], mask: dict, rounding: float
) -> None:
    series = make(tmp_path, *ground, pack, mask)
    (made,) = json.loads(composited(tmp_path, series)[2]).values()
    cube = open_cube(manifest.read(made).assets["cube"].href)
    assert (cube.bands, cube.tile.pixel_size) == (HLS_BANDS, 30)
    values, counts = cube.read(WHOLE), cube.read_count(WHOLE)
    for month, dates in enumerate(series.months):
        stack = np.stack(dates)  # (n, 6, h, w)
        seen = np.isfinite(stack[:, 0]).sum(axis=0)
        np.testing.assert_array_equal(counts[month], seen)
        np.testing.assert_array_equal(np.isfinite(values[month]), np.broadcast_to(seen > 0, values[month].shape))
        np.testing.assert_allclose(values[month][:, seen > 0], np.nanmedian(stack[:, :, seen > 0], axis=0), atol=rounding)


def test_both_sensors_of_hls_lead_to_a_better_map(tmp_path: Path, ground: tuple[SyntheticWorld, list[Look]]) -> None:
    made, _ = ground
    series = make(tmp_path, *ground, hls, HLS_MASK)
    uri, retrieved, cubes = composited(tmp_path, series)
    model = steps.train(uri, "final", steps.extract(uri, [retrieved], [cubes]))
    (mapped,) = json.loads(steps.classify(uri, model, cubes)).values()
    with rasterio.open(manifest.read(mapped).assets["label"].href) as dataset:
        right = dataset.read(1) == made.truth(YEAR)
    assert right.mean() > draw_old_map(made).accuracy + 0.05
