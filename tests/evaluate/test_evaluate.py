"""The whole evaluation; oracles are hand counts, the published figures of the data, and scikit-learn."""

import json

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from small_maps import grid

from landtide.core.errors import InputError
from landtide.core.legend import builtin_crosswalk, builtin_legend, identity_crosswalk, parse_crosswalk, parse_legend
from landtide.core.period import Period
from landtide.core.study import Evaluate
from landtide.core.tile import Tile
from landtide.evaluate import check, evaluate, run
from landtide.io.manifest import Key, writing

TILE = grid("t", (80, 80))


def evaluated(pool, legend, labels, *, tile=TILE, old=None, crosswalk=None, **settings):
    return evaluate(
        maps={tile.name: labels},
        old_maps={tile.name: old} if old else {},
        crosswalk=crosswalk,
        legend=legend,
        tiles={tile.name: tile},
        settings=Evaluate(**settings),
        seed=7,
        pool=pool,
    )


@pytest.fixture
def truth():
    return np.random.default_rng(1).integers(1, 4, TILE.shape).astype(np.uint8)


def spoiled(truth, share, seed):
    """Return labels of which a share is wrong."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(truth.shape) < share, truth % 3 + 1, truth).astype(np.uint8)


def csv(tmp_path, tile, rows, columns, **fields):
    x, y = tile.affine * (columns + 0.5, rows + 0.5)
    path = tmp_path / "points.csv"
    pd.DataFrame({"x": x, "y": y, **fields}).to_csv(path, index=False)
    return str(path)


def test_old_map_is_scored_by_the_same_rule_and_its_mixed_codes_count_as_wrong(save, legend, pool, truth):
    codes = truth.astype(np.int32) * 100
    codes[:20] = 900  # a mixed code on a quarter of the area, right elsewhere
    crosswalk = parse_crosswalk("code,target\n100,field\n200,wood\n300,lake\n900,\n", "own", legend)
    new = spoiled(truth, 0.1, 2)
    record = evaluated(
        pool,
        legend,
        {2020: save("new", new, TILE)},
        old=save("old", codes, TILE),
        crosswalk=crosswalk,
        reference=save("truth", truth * 10, TILE),
    )
    view = record["assessments"][0]["views"][0]
    assert view["old"]["overall"] == pytest.approx(0.75)
    assert view["old"]["classes"][-1] == "no single class"
    assert "counts as wrong" in view["old"]["protocol"]
    assert view["old_translated"]["overall"] == 1
    assert "only where the old map names a class" in view["old_translated"]["protocol"]
    assert view["new"]["overall"] == pytest.approx((new == truth).mean())
    assert view["gain"] == pytest.approx((new == truth).mean() - 0.75)
    assert record["headline"]["old"] == view["old"]["overall"]
    assert record["areas"]["old_map"]["no_single_class"] == pytest.approx(16)
    agreement = record["old_map"]["agreement"][0]
    assert agreement["agreement"] == pytest.approx((new[20:] == truth[20:]).sum() / truth.size)
    assert agreement["agreement_translated"] == pytest.approx((new[20:] == truth[20:]).mean())


def test_without_reference_the_old_map_gives_agreement_and_no_accuracy(save, legend, pool, truth):
    new = spoiled(truth, 0.3, 2)
    old = save("old", truth * 10, TILE)
    record = evaluated(pool, legend, {2020: save("new", new, TILE)}, old=old, crosswalk=identity_crosswalk(legend))
    assert record["headline"]["kind"] == "agreement"
    assert "not accuracy" in record["headline"]["sentence"]
    assert record["headline"]["new"] == pytest.approx((new == truth).mean())
    assert record["headline"]["old"] is None
    assert not any("accuracy" in name for name in record["metrics"])
    assert "Agreement, not accuracy" in record["assessments"][0]["views"][0]["new"]["protocol"]


def test_without_anything_to_compare_with_areas_and_years_remain(save, legend, pool, truth):
    record = evaluated(pool, legend, {2019: save("a", truth, TILE), 2020: save("b", truth, TILE)})
    assert record["assessments"] == []
    assert record["headline"]["kind"] == "none"
    assert record["temporal"]["all_years"] == 1


def test_points_are_post_stratified_by_the_map(save, legend, pool, truth, tmp_path):
    """Three quarters of the points lie where the map says field: their share must not count more than field's area."""
    new = spoiled(truth, 0.2, 2)
    new[:40] = np.where(truth[:40] == 1, 1, new[:40])  # field is mapped better in the north
    rng = np.random.default_rng(3)
    rows, columns = (np.concatenate(part) for part in zip(*(_pick(new == k, n, rng) for k, n in ((1, 300), (2, 50), (3, 50))), strict=True))
    uri = csv(tmp_path, TILE, rows, columns, **{"class": truth[rows, columns] * 10})
    view = evaluated(pool, legend, {2020: save("new", new, TILE)}, points=uri)["assessments"][0]["views"][0]["new"]
    counts = np.array([[((new[rows, columns] == i) & (truth[rows, columns] == j)).sum() for j in (1, 2, 3)] for i in (1, 2, 3)])
    np.testing.assert_array_equal(view["counts"], counts)
    weight = np.bincount(new.ravel())[1:] / new.size
    assert view["overall"] == pytest.approx((weight * counts.diagonal() / counts.sum(axis=1)).sum())
    assert view["area"] == pytest.approx(64 * (weight[:, None] * counts / counts.sum(axis=1, keepdims=True)).sum(axis=0))
    assert "Olofsson" in view["protocol"]


def _pick(mask, count, rng):
    chosen = rng.choice(np.flatnonzero(mask), count, replace=False)
    return np.unravel_index(chosen, mask.shape)


def test_mapped_class_without_points_is_left_out_and_named(save, legend, pool, truth, tmp_path):
    rng = np.random.default_rng(3)
    rows, columns = _pick(truth < 3, 60, rng)
    uri = csv(tmp_path, TILE, rows, columns, **{"class": truth[rows, columns] * 10})
    assessment = evaluated(pool, legend, {2020: save("new", truth, TILE)}, points=uri)["assessments"][0]
    assert assessment["views"][0]["new"]["overall"] == 1
    assert f"{(truth == 3).mean():.2%} of the area" in assessment["notes"][0]


def test_points_outside_in_no_data_and_of_other_years_are_counted_and_named(save, legend, pool, truth, tmp_path):
    new = truth.copy()
    new[0] = 0
    rows, columns = np.array([0, 0, 5, 6, 7, 200, 9]), np.array([3, 4, 5, 6, 7, 5, 9])
    classes = [10, 10, *(truth[rows[2:5], columns[2:5]] * 10), 10, 10]
    uri = csv(tmp_path, TILE, rows, columns, **{"class": classes, "date": ["2020-05-01"] * 6 + ["2013-05-01"]})
    record = evaluated(pool, legend, {2020: save("new", new, TILE)}, points=uri)
    assessment = record["assessments"][0]
    assert assessment["used"] == 3
    assert assessment["left_out"] == [{"reason": "outside the tiles", "units": 1}, {"reason": "no data in the map", "units": 2}]
    assert record["notes"] == ["Points of years that are not mapped are not used: 2013 (1)"]


def test_points_match_the_pixel_they_lie_in_and_not_its_neighbour(save, legend, pool, tmp_path):
    checkers = (np.indices(TILE.shape).sum(axis=0) % 2 + 1).astype(np.uint8)
    rng = np.random.default_rng(4)
    rows, columns = rng.integers(0, 80, 200), rng.integers(0, 80, 200)
    x, y = TILE.affine * (columns + rng.uniform(0.05, 0.95, 200), rows + rng.uniform(0.05, 0.95, 200))
    path = tmp_path / "p.csv"
    pd.DataFrame({"x": x, "y": y, "class": checkers[rows, columns] * 10}).to_csv(path, index=False)
    assert evaluated(pool, legend, {2020: save("new", checkers, TILE)}, points=str(path))["headline"]["new"] == 1


def test_do_not_know_counts_as_wrong(save, legend, pool, truth):
    new = truth.copy()
    new[:8] = 254
    view = evaluated(pool, legend, {2020: save("new", new, TILE)}, reference=save("truth", truth * 10, TILE))["assessments"][0]["views"][0]
    assert view["new"]["overall"] == pytest.approx(0.9)
    assert "'do not know' counts as wrong" in view["new"]["protocol"]


def test_landtide10_is_also_reported_in_nine_and_eight_classes(save, pool):
    ten = builtin_legend("landtide10")
    rng = np.random.default_rng(1)
    truth = rng.choice([3, 4, 6, 7, 9], TILE.shape).astype(np.uint8)
    new = truth.copy()
    new[:10] = np.choose(np.searchsorted([3, 4, 6, 7, 9], truth[:10]), [4, 3, 7, 6, 9])  # crops and trees mixed up
    record = evaluated(pool, ten, {2020: save("new", new, TILE)}, reference=save("truth", truth, TILE))
    by_legend = {view["legend"]: view["new"]["overall"] for view in record["assessments"][0]["views"]}
    merged9, merged8 = (np.array([0, 1, 2, 3, 3, 5, *pair, 8, 9, 10]) for pair in ((6, 7), (6, 6)))
    expected = {"landtide10": (new == truth).mean(), "landtide9": (merged9[new] == merged9[truth]).mean(), "landtide8": 1.0}
    assert by_legend == pytest.approx(expected)
    assert merged8[new].tolist() == merged8[truth].tolist()


def test_worldcover_tree_names_no_class_of_ten_but_one_of_eight(save, pool):
    ten = builtin_legend("landtide10")
    truth = np.random.default_rng(1).choice([2, 6, 7, 9], TILE.shape).astype(np.uint8)
    worldcover = np.choose(np.searchsorted([2, 6, 7, 9], truth), [30, 10, 10, 80]).astype(np.uint8)
    record = evaluated(
        pool,
        ten,
        {2020: save("new", truth, TILE)},
        old=save("old", worldcover, TILE),
        crosswalk=builtin_crosswalk("worldcover", ten),
        reference=save("truth", truth, TILE),
    )
    views = {view["legend"]: view for view in record["assessments"][0]["views"]}
    assert views["landtide10"]["old"]["overall"] == pytest.approx(np.isin(truth, (2, 9)).mean())
    assert views["landtide8"]["old"]["overall"] == 1
    assert views["landtide8"]["old_translated"] is None


def test_corine_grid_codes_are_understood(save, pool):
    ten = builtin_legend("landtide10")
    truth = np.random.default_rng(1).choice([2, 6], TILE.shape).astype(np.uint8)
    codes = np.where(truth == 2, 18, 23).astype(np.int32)  # pastures, broad-leaved forest
    record = evaluated(
        pool,
        ten,
        {2020: save("new", truth, TILE)},
        old=save("old", codes, TILE),
        crosswalk=builtin_crosswalk("corine", ten),
        reference=save("truth", truth, TILE),
    )
    assert record["headline"]["old"] == 1


def test_legend_with_code_0_keeps_its_class(save, pool):
    binary = parse_legend("code,name,color\n0,no,#FFFFFF\n100,yes,#E0A800\n", "binary")
    truth = np.random.default_rng(1).choice([0, 100], TILE.shape).astype(np.uint8)
    labels = np.where(truth == 0, 1, 2).astype(np.uint8)
    record = evaluated(pool, binary, {2020: save("new", labels, TILE)}, reference=save("truth", truth, TILE, nodata=255))
    assert record["assessments"][0]["used"] == truth.size
    assert record["headline"]["new"] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reference": {2013: "x.tif"}}, "evaluate.reference is of 2013, the maps are of 2020"),
        ({"crosswalk": "missing.csv"}, "missing.csv is no file"),
    ],
)
def test_wrong_settings_are_one_clear_line(legend, settings, message):
    with pytest.raises(InputError, match=message):
        check(Evaluate(**settings), legend, [TILE], [2020])


def test_check_finds_what_is_wrong_before_the_work(legend, tmp_path):
    uri = csv(tmp_path, TILE, np.array([1]), np.array([1]), **{"class": [77]})
    with pytest.raises(InputError, match="hold class 77, which crosswalk 'identity' does not know"):
        check(Evaluate(points=uri), legend, [TILE], [2020])
    uri = csv(tmp_path, TILE, np.array([1]), np.array([1]), kind=[10])
    with pytest.raises(InputError, match="has no class column"):
        check(Evaluate(points=uri), legend, [TILE], [2020])
    with pytest.raises(InputError, match=r"gone\.tif cannot be read as a raster"):
        check(Evaluate(reference=str(tmp_path / "gone.tif")), legend, [TILE], [2020])


def test_class_names_stand_for_codes_in_points(legend, tmp_path):
    uri = csv(tmp_path, TILE, np.array([1, 2]), np.array([1, 2]), **{"class": ["Wood", "field"]})
    check(Evaluate(points=uri), legend, [TILE], [2020])


def test_run_writes_report_and_metrics(save, legend, pool, truth, tmp_path):
    key = Key(str(tmp_path / "work"), "study", "evaluate", "all", "2020", "0123456789abcdef")
    with writing(key, period=Period.of_year(2020)) as out:
        run(
            maps={"t": {2020: save("new", truth, TILE)}},
            old_maps={},
            crosswalk=None,
            legend=legend,
            tiles={"t": TILE},
            settings=Evaluate(reference=save("truth", truth * 10, TILE)),
            seed=7,
            out=out,
            pool=pool,
        )
    assert isinstance(out.item, pystac.Item)
    with open(out.item.assets["report"].href, encoding="utf-8") as file:  # noqa: PTH123
        record = json.load(file)
    assert record["headline"]["new"] == 1
    assert out.item.properties["landtide:metrics"] == record["metrics"]


@pytest.fixture
def slovenia(shared):
    folder = shared / "catalogs" / "slovenia"
    legend = parse_legend((folder / "legend.csv").read_text(), "slovenia")
    with rasterio.open(folder / "reference_2017.tif") as dataset:
        tile = Tile("slovenia", "EPSG:32633", tuple(dataset.transform)[:6], dataset.shape)
        return folder, legend, tile, dataset.read(1)


def test_slovenia_points_weighted_by_stratum_agree_with_the_register(slovenia, save, pool):
    """The old map is right on 0.770 of the register's pixels (README of the data): 300 weighted points must tell the same."""
    folder, legend, tile, codes = slovenia
    label = identity_crosswalk(legend).translate(codes, 0)
    record = evaluated(
        pool,
        legend,
        {2017: save("new", label, tile)},
        tile=tile,
        old=str(folder / "old_map.tif"),
        crosswalk=identity_crosswalk(legend),
        reference=str(folder / "reference_2017.tif"),
        points=str(folder / "reference_points.csv"),
    )
    raster, points = record["assessments"]
    assert (raster["id"], points["id"]) == ("raster-2017", "points-2017")
    assert raster["used"] == 9945
    assert raster["views"][0]["old"]["overall"] == pytest.approx(0.770, abs=5e-4)
    assert points["design"] == "stratified"
    view = points["views"][0]
    assert view["new"]["overall"] == 1
    assert abs(view["old"]["overall"] - 0.770) < view["old"]["overall_ci95"] < 0.07
    counts = np.array(view["old"]["counts"])
    assert counts.sum() == 300
    sizes = np.array([11, 7601, 1777, 358, 0, 0, 0, 198, 0, 0])
    asked = np.array([10, 120, 80, 50, 1, 1, 1, 40, 1, 1])
    assert view["old"]["overall"] == pytest.approx((sizes * counts.diagonal() / asked).sum() / 9945)
    assert view["old"]["area"] == pytest.approx(sizes * tile.pixel_area)
    producers = dict(zip(view["old"]["classes"], view["old"]["producers"], strict=True))
    # README, share of each class that the old map has right: forest 0.813, grassland 0.727, shrubland 0.277, artificial 0.414
    for name, share in {"forest": 0.813, "grassland": 0.727, "shrubland": 0.277, "artificial surface": 0.414}.items():
        half_width = view["old"]["producers_ci95"][view["old"]["classes"].index(name)]
        assert abs(producers[name] - share) < 1.3 * half_width
