"""From an old map to a list of its mistakes, and from people's reviews of it back to samples."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.mask

from landtide import cli
from landtide.core.legend import builtin_legend
from landtide.extract.oldmap import POINT_GROUP
from landtide.io.table import read_samples
from landtide.simulate import World, make_world

NAMES = builtin_legend("landtide10").names
SETTINGS = ("model.name=forest", "extract.candidates=1000", "extract.draws=1", "compute.workers=1")


def landtide(step: str, world: World, workspace: Path, *settings: str) -> int:
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    return cli.main([step, str(world.study), "--workspace", str(workspace), *words])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), size=96, years=(2019,), seed=5, dates_per_year=14)


@pytest.fixture(scope="module")
def audited(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of an audit."""
    workspace = tmp_path_factory.mktemp("workspace")
    assert landtide("audit", world, workspace) == 0
    return workspace


def reviewed(audited: Path, world: World, target: Path) -> tuple[gpd.GeoDataFrame, list[int]]:
    """Write the audit's outlines with the three largest polygons reviewed, as a person would who knows the truth."""
    layer = gpd.read_file(audited / "synthetic/published/audit/audit.gpkg")
    chosen = sorted(layer["pixels"].nlargest(3).index)
    for row in chosen:
        with rasterio.open(world.truth[2019]) as truth:
            inside, _ = rasterio.mask.mask(truth, [layer.geometry[row]], nodata=0)
        layer.loc[row, "reviewed_class"] = NAMES[int(np.bincount(inside[inside > 0]).argmax()) - 1]
    layer.to_file(target)
    return layer, chosen


def test_the_audit_is_published_and_a_second_one_redoes_nothing(audited: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    folder = audited / "synthetic/published/audit"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {"audit.gpkg", "audit.csv", "index.html"} <= set(before)
    assert landtide("audit", world, audited) == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert "already done" in capsys.readouterr().out.splitlines()[-1]


def test_reviews_come_back_as_samples_and_reference_points_do_not(audited: Path, world: World, tmp_path: Path) -> None:
    layer, chosen = reviewed(audited, world, tmp_path / "reviewed.gpkg")
    tested = layer.geometry[chosen[0]].representative_point()
    (tmp_path / "reference.csv").write_text(f"x,y,class\n{tested.x},{tested.y},1\n")
    before = set(audited.rglob("samples.parquet"))
    points = (f"points={tmp_path / 'reviewed.gpkg'}", f"evaluate.points={tmp_path / 'reference.csv'}")
    assert landtide("extract", world, audited, *points) == 0
    (made,) = set(audited.rglob("samples.parquet")) - before
    samples = read_samples(str(made))
    own = samples.polygon >= POINT_GROUP
    groups = np.unique(samples.polygon[own])
    assert [NAMES[samples.y[samples.polygon == group][0] - 1] for group in groups] == layer["reviewed_class"][chosen].tolist()
    assert samples.trust[own].min() >= 0.98
    assert set(samples.year[own]) == {2019}, "a review holds for the year that was looked at"
    assert (~own).sum() > own.sum(), "the old map still gives its own"
    assert np.abs(samples.xy[own] - [tested.x, tested.y]).max(axis=1).min() > 10, "not the reference point's pixel, nor one beside it"


def test_points_that_are_all_reference_points_are_refused_in_a_line(
    audited: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer, chosen = reviewed(audited, world, tmp_path / "reviewed.gpkg")
    tested = layer.geometry[chosen[0]].representative_point()
    (tmp_path / "same.csv").write_text(f"x,y,class\n{tested.x},{tested.y},1\n")
    assert landtide("extract", world, audited, f"points={tmp_path / 'same.csv'}", f"evaluate.points={tmp_path / 'same.csv'}") == 2
    assert "are reference points of `evaluate.points`" in capsys.readouterr().err
