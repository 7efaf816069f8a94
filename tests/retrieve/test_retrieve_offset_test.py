"""The pixel test on real series, as they are and with 1000 added: it must never answer wrongly."""

from pathlib import Path

import numpy as np
import pytest

from landtide.io.raster import open_raster
from landtide.io.stac import read_items
from landtide.retrieve.offset_test import Look, offset_in_pixels

CASES = {
    "l2a_scl_cube": (0, True),
    "southtyrol": (0, True),
    "belgium_a": (65535, False),
    "belgium_b": (65535, False),
    "slovenia": (0, True),
}


def pixels(href: str) -> np.ndarray:
    with open_raster(href) as dataset:
        return dataset.read(1)


def real_looks(shared: Path, catalog: str, every: int | None, *, masked: bool) -> tuple[list[Look], list[bool]]:
    """Return looks at a real, harmonised series; every n-th acquisition gets 1000 added, as baseline 04.00 does."""
    nodata = CASES[catalog][0]
    looks, shifted = [], []
    for number, item in enumerate(read_items(str(shared / "catalogs" / catalog / "collection.json"))):
        if "B02" not in item.assets:
            continue
        numbers = [pixels(item.assets[key].href).astype(np.float32) for key in ("B02", "B04", "B08")]
        bad = numbers[0] == nodata
        if masked and "SCL" in item.assets:
            bad |= np.isin(pixels(item.assets["SCL"].href), (0, 1, 3, 8, 9, 10))
        if masked and "CLM" in item.assets:
            bad |= pixels(item.assets["CLM"].href) == 1
        added = every is not None and number % every == 0
        bands = [np.where(bad, np.nan, (array + 1000 * added) * 1e-4) for array in numbers]
        looks.append(Look(item.id, item.datetime.timestamp() / 86_400, *bands))
        shifted.append(added)
    return looks, shifted


@pytest.mark.parametrize("every", [None, 1, 2, 3])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("catalog", sorted(CASES))
def test_no_real_acquisition_is_judged_wrongly(shared: Path, catalog: str, masked: bool, every: int | None):
    looks, shifted = real_looks(shared, catalog, every, masked=masked)
    answers = [verdict.answer for verdict in offset_in_pixels(looks, masked=masked)]
    wrong = [look.id for look, added, answer in zip(looks, shifted, answers, strict=True) if answer == ("absent" if added else "present")]
    assert wrong == []


def test_cloudy_harmonised_scenes_are_not_taken_for_scenes_with_offset(shared: Path):
    looks, _ = real_looks(shared, "l2a_scl_cube", None, masked=True)
    answers = [verdict.answer for verdict in offset_in_pixels(looks, masked=True)]
    assert answers.count("present") == 0
    assert answers.count("absent") == 3  # the three dates that show land, as the catalog's README counts them


def test_most_shifted_dates_are_found_where_others_are_clear(shared: Path):
    looks, shifted = real_looks(shared, "belgium_b", 2, masked=False)
    answers = [verdict.answer for verdict in offset_in_pixels(looks, masked=True)]
    assert [answer == "present" for answer in answers] == shifted


def simulated(offset: float, haze: float, *, seed: int, texture: float = 0.01) -> Look:
    """Return a clear dense forest, or one under haze that varies over the image."""
    draw = np.random.default_rng(seed)
    veil = haze * (1 + 0.5 * np.sin(np.linspace(0, 6, 4096)).reshape(64, 64)) if haze else 0.0
    bands = [level + draw.normal(0, texture, (64, 64)) + offset + veil for level in (0.03, 0.04, 0.35)]
    return Look(f"s{seed}", float(seed), *(band.astype(np.float32) for band in bands))


def test_clear_series_with_offset_is_found_without_a_date_before_it():
    looks = [simulated(0.1, 0, seed=seed) for seed in range(4)]
    assert [verdict.answer for verdict in offset_in_pixels(looks, masked=True)] == ["present"] * 4


def test_haze_is_not_an_offset():
    looks = [simulated(0.0, 0, seed=0), simulated(0.0, 0.1, seed=1), simulated(0.0, 0.12, seed=2)]
    assert [verdict.answer for verdict in offset_in_pixels(looks, masked=True)][1:] != ["present", "present"]
    assert all(verdict.answer != "present" for verdict in offset_in_pixels(looks, masked=True))


def test_a_single_bright_date_is_undecided():
    assert offset_in_pixels([simulated(0.1, 0, seed=0)], masked=True)[0].answer == "undecided"
