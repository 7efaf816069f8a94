"""The second extraction: what does not change, in all years, balanced."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from landtide.core.errors import InputError
from landtide.core.period import Period
from landtide.core.study import Extract
from landtide.extract import stable
from landtide.extract.stable import stable_places
from landtide.io import manifest, storage, table
from tests.extract.conftest import LEGEND, Bench, Here, PolygonWorld, polygon_world


def labelled(world: PolygonWorld, vote: float = 1.0) -> pd.DataFrame:
    rows, columns = (values.ravel() for values in np.mgrid[: world.truth.shape[0], : world.truth.shape[1]])
    frame = pd.DataFrame({"tile": "t", "row": rows, "column": columns, "old_label": world.old.ravel().astype(np.uint8)})
    frame["presumed"], frame["trust"] = world.truth.ravel().astype(np.uint8), np.float32(0.9)
    for year in (2018, 2019):
        frame[f"label_{year}"], frame[f"vote_{year}"] = world.truth.ravel().astype(np.uint8), np.float32(vote)
    return frame


def run(bench: Bench, world: PolygonWorld, frame: pd.DataFrame, **settings: Any) -> tuple[Any, dict[str, Any]]:
    first = bench.extract(world)
    uri = str(bench.folder / "first.parquet")
    table.write_samples(uri, first.samples)
    Path(bench.folder / "labels.parquet").write_bytes(table.encode_frame(frame))
    key = manifest.Key(str(bench.folder), "s", "stable", "all", "2018", "id")
    with manifest.writing(key, period=Period.of_year(2018)) as out:
        stable(
            labels_uri=str(bench.folder / "labels.parquet"),
            samples_uri=uri,
            cubes={"t": {year: str(bench.folder / f"{year}.zarr") for year in (2018, 2019)}},
            legend=LEGEND,
            settings=Extract(**settings),
            seed=1,
            out=out,
            pool=Here(),
        )
    return table.read_samples(out.item.assets["samples"].href), storage.read_json(out.item.assets["refused"].href)


def test_places_that_change_their_label_are_left_out():
    world = polygon_world(1, years=2)
    frame = labelled(world)
    frame.loc[:99, "label_2019"] = frame.loc[:99, "label_2019"] % 4 + 1
    found = stable_places(frame, [2018, 2019], 4, 0.6)
    assert found.place.min() >= 100
    assert len(found.place) == len(frame) - 100


def test_unsure_places_are_left_out_where_a_class_has_enough_sure_ones():
    world = polygon_world(2, years=2)
    frame = labelled(world)
    frame.loc[:999, "vote_2019"] = np.float32(0.4)
    assert stable_places(frame, [2018, 2019], 4, 0.0).place.min() >= 1000


def test_the_vote_floor_is_lowered_for_a_class_that_is_never_sure():
    frame = labelled(polygon_world(3, years=2))
    frame.loc[frame.label_2018 == 2, ["vote_2018", "vote_2019"]] = np.float32(0.65)
    found = stable_places(frame, [2018, 2019], 4, 0.0)
    assert found.floors[2] == 0.6
    assert found.floors[1] == 0.8


def test_a_year_without_observation_neither_helps_nor_harms():
    frame = labelled(polygon_world(4, years=2))
    frame.loc[:49, ["label_2018", "vote_2018"]] = 0
    frame.loc[:9, ["label_2019", "vote_2019"]] = 0
    place = stable_places(frame, [2018, 2019], 4, 0.0).place
    assert place.min() == 10


def test_samples_are_pairs_of_place_and_year_with_right_labels(bench: Bench):
    world = polygon_world(5, years=2)
    samples, record = run(bench, world, labelled(world), per_class=300)
    column = ((samples.xy[:, 0] - 500_000) // 10).astype(int)
    row = ((5_000_000 - samples.xy[:, 1]) // 10).astype(int)
    assert samples.origin == "stable"
    assert (samples.y == world.truth[row, column]).all()
    assert (samples.year == 2018).sum() == (samples.year == 2019).sum()
    assert samples.x == pytest.approx(world.x[samples.year - 2018, :, :, row, column], abs=1e-4)
    assert record["stage"] == "stable"
    assert [item["name"] for item in record["classes"]] == ["water", "crop", "forest", "town"]


def test_a_class_without_stable_place_keeps_its_first_samples_and_the_report_says_so(bench: Bench):
    world = polygon_world(6, years=2)
    frame = labelled(world)
    frame.loc[frame.label_2019 == 4, "label_2019"] = np.uint8(1)
    samples, record = run(bench, world, frame)
    assert (samples.y == 4).sum() >= 10
    assert any("first extraction kept" in line for line in record["lines"])


def test_one_class_left_is_an_input_error(bench: Bench):
    world = polygon_world(7, years=2)
    frame = labelled(world)
    for year in (2018, 2019):
        frame[f"label_{year}"] = np.uint8(1)
    with pytest.raises(InputError, match="fewer than two classes"):
        run(bench, world, frame, trust=1.0)
