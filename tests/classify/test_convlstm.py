"""Images read whole: training on patches around samples, maps of windows, both years."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import phenology
import pytest
from rasterio.windows import Window
from test_classify import TILE, YEARS, classify, read, truth, write_cube

from landtide import models
from landtide.core.samples import SampleSet
from landtide.io import cube, table
from landtide.train import TrainSpec
from landtide.train.data import read as read_data
from landtide.train.group import Group
from landtide.train.job import train
from landtide.train.patches import Patches, mark
from landtide.train.spec import Optimisation


def samples(cubes: dict[int, str], count: int = 300) -> SampleSet:
    """Return the same places of the scene in both years, labelled with its truth; the rows that were never observed are left out."""
    rng = np.random.default_rng(0)
    row, column = rng.integers(0, 98, count), rng.integers(0, 170, count)
    parts = []
    for year in YEARS:
        one = cube.open_cube(cubes[year])
        plain = phenology.samples(count, classes=1, years=(year,))
        parts.append(
            dataclasses.replace(
                plain,
                x=one.read_pixels(row, column),
                y=truth(year)[row, column].astype(np.uint8),
                xy=np.stack(TILE.affine @ (column + 0.5, row + 0.5), axis=1),
                polygon=(row // 16 * 100 + column // 16).astype(np.int64),
            )
        )
    return SampleSet.concatenate(parts)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("images")
    cubes = {year: write_cube(folder, year, noise=0.05) for year in YEARS}
    table.write_samples(str(folder / "samples.parquet"), samples(cubes))
    trained = {}
    for years in ("separate", "carried"):
        spec = TrainSpec(
            model="convlstm",
            samples=(str(folder / "samples.parquet"),),
            legend=phenology.legend(5),
            bands=phenology.BANDS,
            steps=12,
            seed=1,
            output=str(folder / years),
            settings={"hidden": 8, "epochs": 12, "patience": 12, "patch": 16, "years": years, "learning_rate": 1e-2},
            cubes={TILE.name: {str(year): uri for year, uri in cubes.items()}},
        )
        trained[years] = str(train(spec))
    return {"models": trained, "cubes": cubes, "spec": spec}


def test_samples_are_marked_where_they_lie_in_the_cube(scene: dict[str, Any]) -> None:
    spec = scene["spec"]
    data = read_data(spec)
    marked = mark(spec, data, 24)
    for sample in (0, 17, 299, 301):
        _, top, left = marked.where[marked.patch[sample]]
        row, column = np.array([top + marked.row[sample]]), np.array([left + marked.column[sample]])
        x = cube.open_cube(scene["cubes"][int(data.year[sample])]).read_pixels(row, column)[0]
        np.testing.assert_allclose(data.x[sample], (x - data.mean) / data.std, atol=1e-4)
        assert truth(int(data.year[sample]))[row[0], column[0]] == data.y[sample]


def test_few_patches_are_shown_often_enough_to_learn_from(scene: dict[str, Any]) -> None:
    few = Patches(scene["spec"], Optimisation(batch=4, epochs=20), Group(), patch=64, most=600, carried=True)
    assert few.steps == 25  # of 500 in all
    shown = Counter(patch.numpy().tobytes() for batch in few.batches(0) for patch in batch.target)
    assert sum(shown.values()) == 25 * 4
    assert len(shown) == 5  # one of six is set apart
    assert min(shown.values()) > 10


@pytest.mark.parametrize("years", ["separate", "carried"])
def test_maps_show_the_truth_better_than_noise_allows_a_pixel(years: str, scene: dict[str, Any], tmp_path: Path) -> None:
    assets = classify(tmp_path, scene, model=years)
    for year in YEARS:
        label = read(assets[year]["label"])
        blind = np.zeros(TILE.shape, bool)
        blind[100:] = blind[50, 60] = True
        assert (label[blind] == 0).all()
        assert (label[~blind] > 0).all()
        assert (label[~blind] == truth(year)[~blind]).mean() > 0.9


def test_windows_do_not_show_in_maps_of_images(scene: dict[str, Any], tmp_path: Path) -> None:
    small = classify(tmp_path / "small", scene, model="carried", memory=1)
    large = classify(tmp_path / "large", scene, model="carried", memory=2**30)
    for year in YEARS:
        assert (read(small[year]["label"]) == read(large[year]["label"])).mean() > 0.9999
        seen = read(small[year]["label"]) > 0
        apart = read(small[year]["confidence"]).astype(int) - read(large[year]["confidence"])
        assert np.abs(apart[seen]).max() <= 1  # per cent, of rounding


def test_what_stands_around_a_pixel_matters_as_far_as_the_halo(scene: dict[str, Any]) -> None:
    model = models.load(scene["models"]["separate"])
    assert model.halo == 12
    x = cube.open_cube(scene["cubes"][2018]).read(Window(0, 0, 60, 60))
    before, _ = model.image(x, phenology.DOY, None)
    near, far = x.copy(), x.copy()
    near[:, :, 30, 29] += 0.5
    far[:, :, 30 + 13, 30] += 0.5
    assert np.abs(model.image(near, phenology.DOY, None)[0] - before)[:, 30, 30].max() > 1e-4
    np.testing.assert_array_equal(model.image(far, phenology.DOY, None)[0][:, 30, 30], before[:, 30, 30])
