"""Maps from a model and cubes: what stands in the files, whatever the windows, workers and gaps."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import phenology
import pytest
import rasterio
from rasterio.windows import Window

from landtide import models
from landtide.classify import at_candidates, consistency, maps, tile_maps, windows
from landtide.core.cube import NODATA, encode
from landtide.core.errors import InputError
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io import cube, manifest, table
from landtide.launch.workers import open_pool
from landtide.train import TrainSpec
from landtide.train.job import train

TILE = Tile("31UFT", "EPSG:32631", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_700_000.0), (150, 170))
YEARS = (2018, 2019)
MEMORY = 2**30


class Here:
    """A pool that works in this process."""

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return map(fn, items)


def truth(year: int) -> np.ndarray:
    """(H, W) labels 1..4 in stripes; one corner changes in the second year."""
    labels = np.repeat(np.arange(170) // 43 + 1, 150).reshape(170, 150).T.copy()
    if year == YEARS[1]:
        labels[:40, :40] = 3
    return labels


def write_cube(folder: Path, year: int, bands: tuple[str, ...] = phenology.BANDS, noise: float = 0.02) -> str:
    """Write a cube whose rows 100.. were never observed, and whose pixel (50, 60) is NaN although counted."""
    uri = str(folder / f"{year}.zarr")
    periods = Period.of_year(year).split("P1M")
    cube.create_cube(uri, TILE, periods, bands)
    labels = truth(year).reshape(-1)
    rng = np.random.default_rng(year)
    x = phenology.curves(labels, rng.normal(0, 8, len(labels)), rng.normal(0, 0.05, len(labels)))
    x += rng.normal(0, noise, x.shape)
    composite = encode(np.moveaxis(x.reshape(150, 170, 12, -1), (2, 3), (0, 1))[:, : len(bands)])
    count = np.full((12, 150, 170), 2, np.uint8)
    composite[:, :, 100:], count[:, 100:] = NODATA, 0
    composite[:, :, 50, 60] = NODATA
    cube.write_window(uri, Window(0, 0, 170, 150), composite, count)
    return uri


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model of each kind and the cubes of two years."""
    folder = tmp_path_factory.mktemp("scene")
    samples = str(folder / "samples.parquet")
    table.write_samples(samples, phenology.samples(100, years=YEARS, draws=3))
    settings: dict[str, dict[str, Any]] = {
        "svm": {"c": 10.0, "gamma": 1.0},
        "lstm": {"epochs": 4, "hidden": 16, "convolution": 16, "batch": 32},
    }
    settings["carried"] = {**settings["lstm"], "years": "carried"}
    settings["window"] = {"epochs": 4, "width": 16, "layers": 1, "heads": 2, "batch": 32, "years": "window", "stride": 4}
    trained = {}
    for name, chosen in settings.items():
        spec = TrainSpec(
            model={"carried": "lstm", "window": "transformer"}.get(name, name),
            samples=(samples,),
            legend=phenology.legend(5),
            bands=phenology.BANDS,
            steps=12,
            seed=1,
            output=str(folder / name),
            settings=chosen,
        )
        trained[name] = str(train(spec))
    return {"models": trained, "cubes": {year: write_cube(folder, year) for year in YEARS}}


def classify(folder: Path, scene: dict[str, Any], *, model: str = "lstm", pool: Any = None, **changes: Any) -> dict[int, dict[str, str]]:
    """Classify the scene; return the URIs of each year's assets."""
    keys = {year: manifest.Key(str(folder), "s", "classify", TILE.name, str(year), "0" * 16) for year in scene["cubes"]}
    options: dict[str, Any] = {"probabilities": False, "consistency": "none", "memory": MEMORY, "threads": 1, **changes}
    with (
        manifest.writing(keys[2018], period=Period.of_year(2018), tile=TILE) as first,
        manifest.writing(keys[2019], period=Period.of_year(2019), tile=TILE) as second,
    ):
        outs = {2018: first, 2019: second}
        tile_maps(model_uri=scene["models"][model], cubes=scene["cubes"], tile=TILE, outs=outs, pool=pool or Here(), **options)
    items = {year: manifest.read(f"{key.uri}/item.json") for year, key in keys.items()}
    return {year: {name: asset.href for name, asset in item.assets.items()} for year, item in items.items()}


def read(uri: str, band: int = 1) -> np.ndarray:
    with rasterio.open(uri) as dataset:
        return np.asarray(dataset.read(band))


@pytest.mark.parametrize("model", ["svm", "lstm"])
def test_maps_show_the_truth_and_nothing_where_nothing_was_seen(model: str, scene: dict[str, Any], tmp_path: Path) -> None:
    assets = classify(tmp_path, scene, model=model)
    for year in YEARS:
        label, confidence = read(assets[year]["label"]), read(assets[year]["confidence"])
        blind = np.zeros(TILE.shape, bool)
        blind[100:] = blind[50, 60] = True
        assert (label[blind] == 0).all()
        assert (confidence[blind] == 255).all()
        assert (label[~blind] > 0).all()
        assert (confidence[~blind] <= 100).all()
        assert (label[~blind] == truth(year)[~blind]).mean() > 0.9


def test_the_label_file_carries_colours_names_and_grid(scene: dict[str, Any], tmp_path: Path) -> None:
    assets = classify(tmp_path, scene)
    with rasterio.open(assets[2018]["label"]) as dataset:
        assert dataset.nodata == 0
        assert dataset.crs.to_epsg() == 32631
        assert dataset.transform == TILE.affine
        assert dataset.colormap(1)[2][:3] == (0, 0, 0xAA)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert "class 4" in dataset.tags()["CATEGORY_NAMES"]
    item = manifest.read(f"{tmp_path}/s/classify/31UFT/2018/{'0' * 16}/item.json")
    assert item.assets["label"].extra_fields["classification:classes"][1] == {
        "value": 1,
        "name": "class_1",
        "title": "class 1",
        "color_hint": "00AA00",
    }


def test_probabilities_agree_with_label_and_confidence(scene: dict[str, Any], tmp_path: Path) -> None:
    assets = classify(tmp_path, scene, probabilities=True)[2018]
    with rasterio.open(assets["probability"]) as dataset:
        shares = dataset.read()
        assert dataset.descriptions == phenology.legend(5).names
    label, confidence = read(assets["label"]), read(assets["confidence"])
    np.testing.assert_array_equal(shares.max(axis=0), confidence)
    seen = label > 0
    assert (np.abs(shares.astype(int).sum(axis=0)[seen] - 100) <= 2).all()
    assert (np.take_along_axis(shares, label[None].astype(int) - 1, axis=0)[0][seen] == confidence[seen]).all()
    assert (shares[:, ~seen] == 255).all()
    assert (shares[4][seen] == 0).all()  # never seen in training


@pytest.mark.parametrize(
    ("model", "method"), [("svm", "none"), ("svm", "hmm"), ("lstm", "none"), ("lstm", "hmm"), ("carried", "none"), ("window", "none")]
)
def test_windows_do_not_show_in_the_maps(model: str, method: str, scene: dict[str, Any], tmp_path: Path) -> None:
    def bytes_of(folder: str, memory: int) -> list[bytes]:
        assets = classify(tmp_path / folder, scene, model=model, memory=memory, consistency=method)
        return [read(assets[year][name]).tobytes() for year in YEARS for name in ("label", "confidence")]

    assert windows.window_size(1, years=2, steps=12, bands=4, classes=5) == 128
    assert windows.window_size(MEMORY, years=2, steps=12, bands=4, classes=5) > 170
    pixel = 12 * 4 * 18 + 5 * 4 * 4 * 2  # bytes
    assert windows.window_size(4 * 256**2 * pixel, years=2, steps=12, bands=4, classes=5) == 256
    assert windows.window_size(4 * 256**2 * pixel, years=2, steps=12, bands=4, classes=5, around=1) == 128
    wide = (256 + 2 * 24) ** 2 * 12 * 4 * 18 + 256**2 * 5 * 4 * 4 * 2
    assert windows.window_size(4 * wide, years=2, steps=12, bands=4, classes=5, around=24) == 256
    assert bytes_of("small", 1) == bytes_of("large", MEMORY)


@pytest.mark.parametrize("name", ["carried", "window"])
def test_maps_of_several_years_are_what_the_model_says_of_the_whole_series(name: str, scene: dict[str, Any], tmp_path: Path) -> None:
    model, at = models.load(scene["models"][name]), (np.repeat(np.arange(0, 99, 7), 20), np.tile(np.arange(3, 163, 8), 15))
    cubes = [cube.open_cube(scene["cubes"][year]) for year in YEARS]
    x = np.concatenate([one.read_pixels(*at) for one in cubes], axis=1)
    doy = np.broadcast_to(np.concatenate([one.doy for one in cubes]), x.shape[:2])
    share = model.predict_proba(x, doy, np.broadcast_to(np.repeat(YEARS, 12), x.shape[:2]))
    assets = classify(tmp_path, scene, model=name)
    for number, year in enumerate(YEARS):
        mapped = read(assets[year]["label"])[at]
        np.testing.assert_array_equal(mapped[mapped > 0], share[mapped > 0, number].argmax(axis=1) + 1)
        assert (mapped > 0).sum() > 250


def test_workers_do_not_show_in_the_maps(scene: dict[str, Any], tmp_path: Path) -> None:
    with open_pool(2, 1, 2**31) as pool:
        many = classify(tmp_path / "many", scene, memory=1, pool=pool)
    one = classify(tmp_path / "one", scene, memory=1)
    for year in YEARS:
        for name in ("label", "confidence"):
            np.testing.assert_array_equal(read(many[year][name]), read(one[year][name]))


def test_a_cube_of_other_bands_or_steps_is_named(scene: dict[str, Any], tmp_path: Path) -> None:
    cubes = {**scene["cubes"], 2019: write_cube(tmp_path, 2019, phenology.BANDS[:3])}
    with pytest.raises(
        InputError, match=r"12 steps a year of bands B03, B04, B08; model lstm \w+ was trained on 12 steps of B03, B04, B08, B11"
    ):
        classify(tmp_path, {**scene, "cubes": cubes})


def test_a_model_of_another_legend_is_refused(scene: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"was trained for legend 'invented' \(class 1, .*class 5\); the study has 'invented' \(class 1, class 2\)"
    ):
        classify(tmp_path, scene, legend=phenology.legend(2))
    assert not list(tmp_path.rglob("item.json"))


def test_candidates_get_a_label_and_vote_for_each_year(scene: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 150, 400), rng.integers(0, 170, 400)
    frame = pd.DataFrame({"tile": "31UFT", "row": rows, "column": columns, "old_label": np.full(400, 2, np.uint8)})
    frame.loc[390:, "tile"] = "31UGT"  # a tile without cubes
    (tmp_path / "candidates.parquet").write_bytes(table.encode_frame(frame))
    key = manifest.Key(str(tmp_path), "s", "classify", "all", "2018", "1" * 16)
    with manifest.writing(key, period=Period.of_year(2018)) as out:
        at_candidates(
            model_uri=scene["models"]["svm"],
            candidates_uri=str(tmp_path / "candidates.parquet"),
            cubes={"31UFT": scene["cubes"]},
            out=out,
            pool=Here(),
        )
    found = table.read_frame(manifest.read(f"{key.uri}/item.json").assets["labels"].href)
    pd.testing.assert_frame_equal(found[["tile", "row", "column", "old_label"]], frame)
    assets = classify(tmp_path, scene, model="svm")
    for year in YEARS:
        label = read(assets[year]["label"])[rows, columns]
        label[390:] = 0
        np.testing.assert_array_equal(found[f"label_{year}"], label)
        assert found[f"label_{year}"].dtype == np.uint8
        assert found[f"vote_{year}"].dtype == np.float32
        assert ((found[f"vote_{year}"] > 0) == (label > 0)).all()
        assert found[f"vote_{year}"].max() == 1


def test_forward_backward_agrees_with_the_sum_over_all_paths() -> None:
    rng = np.random.default_rng(3)
    K, Y = 3, 4
    share = rng.dirichlet(np.ones(K), (5, Y)).astype(np.float32)
    prior = np.array([0.5, 0.3, 0.2])
    observed = rng.random((5, Y)) > 0.3
    move = np.full((K, K), (1 - consistency.STAY) / (K - 1)) + np.eye(K) * (consistency.STAY - (1 - consistency.STAY) / (K - 1))
    expected = np.zeros((5, Y, K))
    for n in range(5):
        emission = np.where(observed[n][:, None], np.maximum(share[n], consistency.FLOOR) / prior, 1.0)
        for path in np.ndindex(*[K] * Y):
            mass = prior[path[0]] * np.prod([emission[t, k] for t, k in enumerate(path)])
            mass *= np.prod([move[a, b] for a, b in pairwise(path)])
            for t, k in enumerate(path):
                expected[n, t, k] += mass
    expected /= expected.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(consistency.smooth(share, prior, observed), expected, atol=1e-5)


def test_one_year_alone_stays_as_it_is_and_unseen_classes_stay_at_zero() -> None:
    share = np.array([[[0.6, 0.3, 0.0, 0.1]]], np.float32)
    got = consistency.smooth(share, np.array([0.5, 0.4, 0.0, 0.1]), np.ones((1, 1), bool))
    np.testing.assert_allclose(got, share, atol=1e-6)


def test_smoothing_undoes_a_flip_and_keeps_a_lasting_change() -> None:
    def years(*labels: int) -> np.ndarray:
        return np.array([[[0.9, 0.1] if label == 1 else [0.1, 0.9] for label in labels]], np.float32)

    prior, seen = np.array([0.5, 0.5]), np.ones((1, 4), bool)
    assert (consistency.smooth(years(1, 1, 2, 1), prior, seen).argmax(axis=2) == 0).all()
    assert consistency.smooth(years(1, 1, 2, 2), prior, seen).argmax(axis=2).tolist() == [[0, 0, 1, 1]]


def test_a_missing_year_leans_on_its_neighbours_and_still_gets_no_label(scene: dict[str, Any], tmp_path: Path) -> None:
    share = np.array([[[0.9, 0.1], [0.0, 0.0], [0.8, 0.2]]], np.float32)
    got = consistency.smooth(share, np.array([0.5, 0.5]), np.array([[True, False, True]]))
    assert got[0, 1, 0] > 0.8
    assets = classify(tmp_path, scene, consistency="hmm")
    assert (read(assets[2018]["label"])[100:] == 0).all()
    assert (read(assets[2018]["confidence"])[100:] == 255).all()


def test_legend_names_become_names_that_stac_allows() -> None:
    legend = phenology.legend(2)
    renamed = dataclasses.replace(legend, classes=(dataclasses.replace(legend.classes[0], name="crop (not irrigated)"), legend.classes[1]))
    assert [row["name"] for row in maps.classes_of(renamed)] == ["no_data", "crop_not_irrigated", "class_2"]
    assert maps.category_names(renamed) == ["no data", "crop (not irrigated)", "class 2"]


def test_a_model_is_loaded_once_a_process(scene: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = models.load
    monkeypatch.setattr(models, "load", lambda uri: calls.append(uri) or real(uri))
    maps.predict.load_model.cache_clear()
    job = maps.Job(scene["models"]["svm"], scene["cubes"], "none", False, 1)
    work = functools.partial(maps.classify_window, job)
    for window in TILE.windows(128)[:2]:
        work(window)
    assert calls == [scene["models"]["svm"]]
