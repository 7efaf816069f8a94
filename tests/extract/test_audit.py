"""The auditor counts as NumPy counts, joins what borders cut, dates changes, and ranks polygons with wrong labels first."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from scipy import ndimage

from landtide.core.legend import identity_crosswalk
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.extract import audit_score
from landtide.extract.audit import LEAST, audit, judge
from landtide.extract.audit_counts import count, owned
from landtide.extract.audit_shapes import outlines
from landtide.extract.gather import survey
from landtide.io import cube, manifest, storage
from tests.extract.conftest import LEGEND, Here, polygon_world
from tests.extract.test_polygons import patches

YEARS = (2018, 2019, 2020)
NOTHING = pd.DataFrame({"tile": ["none"], "row": [0], "column": [0], "presumed": [1], "trust": [0.5]})
NO_VERDICT = pd.DataFrame({"tile": ["none"], "polygon": [0], "reason": ["kept"]})


def raster(path: Path, tile: Tile, values: np.ndarray, nodata: int = 0) -> str:
    shape = {"height": tile.shape[0], "width": tile.shape[1], "count": 1}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, crs=tile.crs, transform=tile.affine, nodata=nodata, **shape
    ) as target:
        target.write(values, 1)
    return str(path)


def grid(shape: tuple[int, int], *, east: int = 0, name: str = "t", crs: str = "EPSG:32633") -> Tile:
    """A tile whose corner lies ``east`` pixels beside that of the others."""
    return Tile(name, crs, (10.0, 0.0, 500_000.0 + 10 * east, 0.0, -10.0, 5_000_000.0), shape)


class Case:
    """Old codes and maps of one tile on disk."""

    def __init__(self, folder: Path, tile: Tile, codes: np.ndarray, labels: list[np.ndarray], sure: int | np.ndarray = 80) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tile, self.codes, self.labels = tile, codes, labels
        self.old = raster(folder / "old.tif", tile, codes.astype(np.int32))
        confidence = np.broadcast_to(np.asarray(sure, np.uint8), codes.shape)
        self.maps = tuple(
            (
                raster(folder / f"label{number}.tif", tile, label.astype(np.uint8)),
                raster(folder / f"sure{number}.tif", tile, np.ascontiguousarray(confidence), 255),
            )
            for number, label in enumerate(labels)
        )

    @property
    def survey(self):
        return survey(self.tile, self.old)


def judged(case: Case, candidates: pd.DataFrame = NOTHING, verdicts: pd.DataFrame = NO_VERDICT):
    return judge([case.survey], [case.tile.name], [case.maps], candidates, verdicts, identity_crosswalk(LEGEND), LEGEND, Here())


def test_counts_across_blocks_are_those_of_numpy(tmp_path):
    codes = patches(3, (1100, 40))
    labels = np.random.default_rng(1).integers(0, 5, codes.shape)
    case = Case(tmp_path, grid(codes.shape), codes, [labels], np.random.default_rng(2).integers(40, 100, codes.shape))
    found = count([case.survey], [case.maps], 4, Here())
    with rasterio.open(case.maps[0][1]) as dataset:
        sure = dataset.read(1)
    expected = []
    for code in (1, 2, 3):
        areas, number = ndimage.label(codes == code)
        for index in range(1, number + 1):
            own = areas == index
            mass = [round(float(sure[own & (labels == value)].sum()) / 100, 2) for value in (1, 2, 3, 4)]
            expected.append((code, int(own.sum()), int((own & (labels > 0)).sum()), *mass))
    told = [
        (int(code), int(pixels), int(seen), *(round(float(value), 2) for value in mass))
        for code, pixels, seen, mass in zip(found.code, found.pixels, found.seen[0], found.mass[0], strict=True)
    ]
    assert sorted(told) == sorted(expected)


def test_a_polygon_that_a_tile_border_cuts_is_one_and_overlap_counts_once(tmp_path):
    wide = np.full((20, 50), 2)
    wide[5:15, 10:45] = 1
    left, right = slice(0, 30), slice(24, 50)
    cases = [
        Case(tmp_path / name, grid((20, part.stop - part.start), east=part.start, name=name), wide[:, part], [wide[:, part]])
        for name, part in (("a", left), ("b", right))
    ]
    surveys = [case.survey for case in cases]
    found = count(surveys, [case.maps for case in cases], 4, Here())
    assert sorted(zip(found.code.tolist(), found.pixels.tolist(), strict=True)) == [(1, 350), (2, 650)]
    assert found.area[found.code == 1] == pytest.approx(3.5)
    assert found.mass[0, found.code == 1, 0] == pytest.approx(350 * 0.8)
    shapes = outlines(surveys, found.group, found.first_part, np.flatnonzero(found.code == 1), Here())
    assert shapes.area.tolist() == pytest.approx([35_000])
    assert shapes.iloc[0].bounds == pytest.approx((500_100, 4_999_850, 500_450, 4_999_950))


def test_ground_that_tiles_of_two_zones_share_belongs_to_the_first():
    first = Tile("a", "EPSG:32633", (10.0, 0.0, 699_000.0, 0.0, -10.0, 5_000_000.0), (200, 200))
    middle = rasterio.warp.transform("EPSG:32633", "EPSG:32634", [700_000], [4_999_000])
    second = Tile("b", "EPSG:32634", (10.0, 0.0, middle[0][0] - 500, 0.0, -10.0, middle[1][0] + 500), (100, 100))
    window = second.windows(100)[0]
    assert not owned(second, window, (first,)).any()
    assert owned(second, window, ()).all()


def test_outlines_across_blocks_have_the_area_of_their_pixels(tmp_path):
    codes = patches(9, (1060, 30))
    case = Case(tmp_path, grid(codes.shape), codes, [codes])
    found = count([case.survey], [case.maps], 4, Here())
    chosen = np.argsort(-found.pixels)[:5]
    shapes = outlines([case.survey], found.group, found.first_part, chosen, Here())
    assert shapes.area.tolist() == pytest.approx((found.pixels[chosen] * 100).tolist())


@pytest.mark.parametrize(
    ("leads", "number"),
    [([0, 0, 0], 3), ([1, 1, 1], 0), ([0, 1, 1], 1), ([0, 0, 1], 2), ([1, 1, 0], 3), ([1, 0, 1], 2)],
)
def test_the_year_of_change_is_the_first_of_an_unbroken_lead(leads, number):
    foreign = np.array(leads, float)[:, None] * 0.8 + 0.1
    told = audit_score.Shares(np.full((3, 1), 0.5), foreign, *(np.ones((3, 1), int),) * 2, *(np.ones((3, 1)),) * 2)
    assert audit_score.since(told).tolist() == [number]


def worlds_case(folder: Path, seed: int) -> tuple[Case, np.ndarray]:
    """An old map of which 30 % of the polygons bear another class's code, a new map right on 85 % of the pixels; and the wrong polygons."""
    world = polygon_world(seed, count=12, side=12, wrong=0.3)
    rng = np.random.default_rng(seed)
    confused = np.where(rng.random(world.truth.shape) < 0.15, rng.integers(1, 5, world.truth.shape), world.truth)
    case = Case(folder, grid(world.truth.shape), world.old, [confused] * 3)
    found = count(
        [case.survey],
        [tuple((raster(folder / f"t{n}.tif", case.tile, world.truth.astype(np.uint8)), case.maps[0][1]) for n in range(3))],
        4,
        Here(),
    )
    own = found.mass[-1, np.arange(len(found.code)), found.code - 1]
    other = found.mass[-1].copy()
    other[np.arange(len(found.code)), found.code - 1] = 0
    return case, other.max(axis=1) > own


def test_wrong_polygons_come_first_and_are_given_several_times_the_probability(tmp_path):
    wrong, probability = [], []
    for seed in (1, 2, 3):
        case, truth = worlds_case(tmp_path / str(seed), seed)
        wrong.append(truth)
        presumed = case.labels[0]
        rows, columns = (values.ravel()[::7] for values in np.indices(presumed.shape))
        places = pd.DataFrame({"tile": "t", "row": rows, "column": columns, "presumed": presumed[rows, columns], "trust": 0.85})
        probability.append(judged(case, places).probability)
    wrong, probability = np.concatenate(wrong), np.concatenate(probability)
    first = np.argsort(-probability)[: wrong.sum() // 2]
    assert wrong.sum() > 40
    assert wrong[first].mean() > 0.95
    assert probability[wrong].mean() > 2.5 * probability[~wrong].mean()


def run_audit(folder: Path, case: Case, *, map_year: int | None = 2012, most: int = 1000) -> dict[str, str]:
    cube_uri = str(folder / "cube.zarr")
    cube.create_cube(cube_uri, case.tile, Period.of_year(2018).split("P1M"), ("B02",))
    (folder / "places.parquet").write_bytes(NOTHING.to_parquet())
    (folder / "verdicts.parquet").write_bytes(NO_VERDICT.to_parquet())
    key = manifest.Key(str(folder), "s", "audit", "all", "2018", f"id{most}")
    with manifest.writing(key, period=Period.of_year(2018)) as out:
        audit(
            cubes={"t": cube_uri},
            maps={"t": dict(zip(YEARS, case.maps, strict=True))},
            old_maps={"t": case.old},
            candidates_uri=str(folder / "places.parquet"),
            verdicts_uri=str(folder / "verdicts.parquet"),
            crosswalk=identity_crosswalk(LEGEND),
            legend=LEGEND,
            map_year=map_year,
            most=most,
            out=out,
            pool=Here(),
        )
    return {name: asset.href for name, asset in out.item.assets.items()}


def dated_case(folder: Path) -> Case:
    """Three fields of 10 x 10 pixels and a sliver: one as mapped, one built on in 2020, one never what the map says."""
    codes = np.full((20, 40), 1)
    codes[5:15, 2:12], codes[5:15, 15:25], codes[5:15, 28:38], codes[0, 0] = 2, 3, 2, 3
    labels = [codes.copy() for _ in YEARS]
    labels[2][5:15, 15:25] = 4
    for label in labels:
        label[5:15, 28:38] = 3
    return Case(folder, grid(codes.shape), codes, labels, 95)


def test_the_list_tells_what_was_wrong_before_and_what_changed_when(tmp_path):
    paths = run_audit(tmp_path, dated_case(tmp_path))
    table = pd.read_csv(paths["csv"])
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert set(table["kind"][:2]) == {"another class before 2018", "outdated"}
    changed = table[table["kind"] == "outdated"].iloc[0]
    assert (changed["since"], changed["old_class"], changed["class_now"], changed["area_ha"]) == (2020, "forest", "town", 1.0)
    assert table["kind"][2:].tolist() == ["agrees", "agrees"]
    assert table["p_wrong"].is_monotonic_decreasing
    layer = gpd.read_file(paths["polygons"])
    assert layer["rank"].tolist() == [1, 2, 3, 4]
    assert {"reviewed_class", "comment"} <= set(layer.columns)
    assert layer.area.to_numpy() / 10_000 == pytest.approx(layer["area_ha"].to_numpy())
    summary = storage.read_json(paths["summary"])
    assert (summary["outdated"], summary["not_judged"]) == (1, 1), f"the sliver of less than {LEAST} pixels is not judged"


def test_a_map_of_a_mapped_year_was_wrong_from_the_start(tmp_path):
    table = pd.read_csv(run_audit(tmp_path, dated_case(tmp_path), map_year=2018)["csv"])
    assert set(table["kind"][:2]) == {"wrong from the start", "outdated"}


def test_only_the_first_get_an_outline(tmp_path):
    paths = run_audit(tmp_path, dated_case(tmp_path), most=2)
    assert len(gpd.read_file(paths["polygons"])) == 2
    assert len(pd.read_csv(paths["csv"])) == 4


def test_what_the_extraction_says_moves_the_probability(tmp_path):
    codes = np.full((20, 20), 1)
    codes[5:15, 5:15] = 2
    case = Case(tmp_path, grid(codes.shape), codes, [np.where(np.arange(20) % 2 == 0, codes, 3)] * 3)
    rows, columns = (values.ravel() for values in np.mgrid[5:15, 5:15])
    polygon = int(case.survey.polygons.code.tolist().index(2))

    def said(label: int, reason: str) -> float:
        places = pd.DataFrame({"tile": "t", "row": rows, "column": columns, "presumed": label, "trust": 0.9})
        verdicts = pd.DataFrame({"tile": ["t"], "polygon": [polygon], "reason": [reason]})
        return float(judged(case, places, verdicts).probability[polygon])

    assert said(3, "margin") > said(2, "kept") + 0.1
