"""The HTML report: what a reader finds in it, whatever part of the record is there."""

import copy
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from landtide.core.legend import builtin_legend
from landtide.core.report import AccuracyReport
from landtide.publish import words
from landtide.publish.charts import Bar, Estimate, bars, color, columns, curves, stack, whiskers
from landtide.publish.report import as_maps, render, write_report
from landtide.publish.webmap import Site, write_viewer

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
VOID = {"meta", "img", "link", "br", "hr", "input", "circle", "line", "rect", "path"}


class Checker(HTMLParser):
    """Collects tags and text, and fails where a tag is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def parsed(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    checker.text = " ".join(" ".join(checker.text).split())
    return checker


def accuracy(names, spoil=0):
    size = len(names)
    counts = np.full((size, size), 2 + spoil) + np.diag(np.full(size, 90))
    share = counts / counts.sum()
    known = np.full(size, 0.9)
    known_error = np.full(size, 0.02)
    return AccuracyReport(
        classes=tuple(names),
        counts=counts,
        proportions=share,
        overall=float(share.trace()),
        overall_error=0.01,
        users=np.r_[known[:-1], np.nan],
        users_error=np.r_[known_error[:-1], np.nan],
        producers=known,
        producers_error=known_error,
        f1=known,
        area=share.sum(axis=0) * 1000,
        area_error=known_error * 100,
        kappa=0.8,
        protocol="300 points, post-stratified",
    ).to_dict()


@pytest.fixture
def record():
    legend = builtin_legend("landtide8")
    names = list(legend.names)
    size = len(names)
    view = {
        "legend": "landtide8",
        "classes": [{"name": item.name, "color": item.color} for item in legend.classes],
        "new": accuracy(names),
        "old": accuracy([*names, "no single class"], 5),
        "old_translated": None,
        "gain": 0.2,
        "gain_ci95": 0.03,
    }
    hectares = [100.0 * (at + 1) for at in range(size)]
    table = (np.eye(size) * 90 + 1).tolist()
    evaluation = {
        "version": 1,
        "legend": legend.to_dict(),
        "years": [2020, 2021],
        "tiles": [{"name": "31UFT", "crs": "EPSG:32631", "rows": 600, "columns": 700, "hectares": 4200.0}],
        "headline": {
            "kind": "accuracy",
            "source": "points",
            "year": 2021,
            "new": 0.871,
            "new_ci95": 0.012,
            "old": 0.634,
            "old_ci95": 0.021,
            "gain": 0.237,
            "gain_ci95": 0.02,
            "sentence": "The map of 2021 is right on 87.1 %.",
        },
        "assessments": [
            {
                "id": "points-2021",
                "kind": "accuracy",
                "source": "points",
                "name": "lucas.csv",
                "year": 2021,
                "design": "poststratified",
                "used": 300,
                "left_out": [{"reason": "no data in the map", "units": 12}],
                "notes": ["class snow: few points"],
                "views": [view],
            },
        ],
        "areas": {
            "classes": names,
            "years": [{"year": year, "hectares": hectares, "no_data": 5.0, "do_not_know": 0.0} for year in (2020, 2021)],
            "tiles": [],
            "old_map": {"hectares": hectares, "no_data": 0.0, "no_single_class": 33.0},
        },
        "temporal": {
            "pixels": 420_000,
            "all_years": 0.812,
            "pairwise": 0.853,
            "pairs": [{"from": 2020, "to": 2021, "pixels": 420_000, "agreement": 0.853}],
            "flips": None,
            "transitions": [{"from": 2020, "to": 2021, "hectares": table}],
        },
        "old_map": {
            "agreement": [{"year": 2021, "pixels": 1, "agreement": 0.701, "agreement_translated": 0.755}],
            "rows": [*names, "no single class"],
            "columns": names,
            "transitions": [{"year": 2021, "hectares": [*table, [4.0] * size]}],
        },
        "metrics": {},
        "notes": [],
    }
    return {
        "study": {"name": "test", "years": [2020, 2021], "tiles": ["31UFT"], "model": "lstm", "bands": ["NDVI"], "text": "name: test\n"},
        "run": {"id": "run-7", "version": "0.1.0", "finished": "2026-01-01", "seconds": 250.0, "versions": {"python": "3.11"}},
        "warnings": ["class snow is not trained"],
        "evaluation": evaluation,
        "refused": [
            {
                "stage": "old map",
                "report": {
                    "stage": "old_map",
                    "classes": [
                        {
                            "label": 1,
                            "name": "urban",
                            "polygons": 41,
                            "kept_polygons": 20,
                            "refused": {"share": 11, "margin": 10},
                            "floors": None,
                            "series": 900,
                            "samples": 612,
                        },
                        {
                            "label": 8,
                            "name": "snow",
                            "polygons": 0,
                            "kept_polygons": 0,
                            "refused": {},
                            "floors": None,
                            "series": 0,
                            "samples": 0,
                            "why_none": "no polygon in the area",
                        },
                    ],
                    "refused_polygons": [
                        {
                            "tile": "31UFT",
                            "code": 211,
                            "class": "crop",
                            "area_ha": 88.5,
                            "bbox": [4.0, 52.0, 4.5, 52.5],
                            "reason": "margin",
                            "why": "nearer to another class than to its own",
                            "dominant_share": 0.7,
                            "distance": 12.0,
                        }
                    ],
                    "excluded_codes": [{"code": 313, "name": "Mixed forest", "area_ha": 456.0}],
                    "lines": ["urban: 612 samples"],
                },
            }
        ],
        "retrieval": [
            {
                "tile": "31UFT",
                "year": year,
                "images": 60,
                "bytes": 61_500_000_000,
                "assets_without_size": 0,
                "mask": "SCL",
                "acquisitions": [
                    {"id": "a", "datetime": "x", "cloud_cover": None, "radiometry": ["offset -1000 applies"], "offset": [-0.1]}
                ],
                "set_aside": [{"id": "S2A_bad", "reason": "B04 is truncated"}],
            }
            for year in (2020, 2021)
        ],
        "plan": {
            "rows": [
                {
                    "tile": "31UFT",
                    "year": 2021,
                    "planned": {"images": 30, "bytes": 4e9, "seconds": None},
                    "actual": {"images": 29, "bytes": 3.9e9, "seconds": 300.0, "peak_memory": 2.5e9},
                }
            ],
            "peak_memory": 3.1e9,
        },
        "composite": [
            {
                "tile": "31UFT",
                "pixels": 100,
                "empty": 0.01,
                "settings": {},
                "mask": None,
                "periods": [{"name": f"2021-{month:02d}", "acquisitions": 3, "observed": month / 12} for month in range(1, 13)],
                "acquisitions": [],
            }
        ],
        "training": [
            {
                "stage": "lstm",
                "report": {
                    "seed": 7,
                    "samples": 5000,
                    "polygons": 80,
                    "samples_a_class": {"urban": 612},
                    "settings": {},
                    "device": "cpu",
                    "curve": [
                        {"epoch": 1, "loss": 1.5, "validation": 1.4, "accuracy": 0.5},
                        {"epoch": 2, "loss": 0.9, "validation": None, "accuracy": None},
                    ],
                },
            }
        ],
    }


def test_reader_is_told_of_a_network_that_hardly_learnt(record):
    record["training"][0]["report"]["doubt"] = "model lstm has hardly learnt: of labels set apart it meets 20%"
    assert "has hardly learnt: of labels set apart it meets 20%" in parsed(render(record)).text


def test_reader_finds_accuracy_before_and_after_first(record):
    text = parsed(render(record)).text
    assert text.index("class snow is not trained") < text.index("Overall accuracy, new map 2021")
    assert "87.1 % ± 1.2" in text
    assert "63.4 % ± 2.1" in text
    assert "+23.7 ± 2.0 points" in text
    assert text.index("87.1 % ± 1.2") < text.index("Confusion matrix of the new map")


def test_every_section_is_told(record):
    text = parsed(render(record)).text
    for words_found in (
        "lucas.csv",
        "12 left out: no data in the map",
        "landtide8",
        "no single class",
        "Same class in all years 81.2 %",
        "70.1 % of the pixels agree (75.5 % where the old map names a single class)",
        "21 of 41 polygons of the old map were refused",
        "none: no polygon in the area",
        "313 Mixed forest 456 ha",
        "nearer to another class than to its own",
        "120 images, 123 GB",
        "S2A_bad B04 is truncated",
        "offset -1000 applies",
        "2021-01: 8.3 %",
        "best epoch 1",
        "name: test",
        "run-7",
    ):
        assert words_found in text, words_found


def test_page_is_self_contained_and_forbids_scripts(record):
    page = render(record)
    tags = parsed(page).tags
    assert not [tag for tag, _ in tags if tag in ("script", "link", "iframe")]
    policy = next(attrs["content"] for tag, attrs in tags if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert all(attrs["src"].startswith("data:") for tag, attrs in tags if tag == "img")
    assert not re.findall(r"https?://|@import|url\(", page)


@pytest.mark.parametrize("missing", ["run", "warnings", "evaluation", "refused", "retrieval", "plan", "composite", "training"])
def test_missing_part_is_said_and_the_rest_stands(record, missing):
    whole = parsed(render(record)).text
    del record[missing]
    text = parsed(render(record)).text
    assert text != whole
    assert "Provenance" in text


def test_plan_stands_beside_what_it_came_to(record):
    text = parsed(render(record)).text
    assert "Planned, and what it came to" in text
    assert "0.97" in text  # 29 of 30 images
    assert "The time was not planned" in text
    record["plan"]["rows"][0]["planned"]["seconds"] = 150.0
    text = parsed(render(record)).text
    assert "2.00" in text
    assert "not planned" not in text


def test_record_of_nothing_but_a_name_says_what_is_missing():
    text = parsed(render({"study": {"name": "bare"}})).text
    for sentence in (
        "No evaluation was made",
        "No map has been counted",
        "No extraction report",
        "No retrieval report",
        "No training report",
    ):
        assert sentence in text


def test_agreement_is_not_called_accuracy(record):
    record["evaluation"]["headline"] |= {"kind": "agreement", "old": None, "old_ci95": None, "gain": None, "gain_ci95": None}
    text = parsed(render(record)).text
    assert "Agreement with the old map, new map 2021" in text
    assert "is not accuracy" in text


def test_single_year_and_no_reference_still_render(record):
    evaluation = record["evaluation"]
    evaluation["temporal"] = evaluation["old_map"] = None
    evaluation["assessments"] = []
    evaluation["headline"] = {
        "kind": "none",
        "source": None,
        "year": None,
        "new": None,
        "new_ci95": None,
        "old": None,
        "old_ci95": None,
        "gain": None,
        "gain_ci95": None,
        "sentence": "There is nothing to compare the maps with.",
    }
    text = parsed(render(record)).text
    assert "There is nothing to compare the maps with." in text
    assert "One year only" in text


def poisoned(value):
    """Return a record with every text replaced by a hostile one, but for those that the schema fixes."""
    if isinstance(value, dict):
        fixed = ("kind", "legend", "design", "classes_fixed")
        return {
            (HOSTILE if key == "urban" else key): (item if key in fixed and isinstance(item, str) else poisoned(item))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return f"{HOSTILE}{value}" if isinstance(value, str) else value


def test_hostile_names_paths_and_colours_stay_text(record):
    page = render(poisoned(copy.deepcopy(record)))
    checker = parsed(page)
    assert not [tag for tag, _ in checker.tags if tag in ("script", "img")]
    assert "alert('x')" in checker.text
    for _, attrs in checker.tags:
        assert not [name for name in attrs if name.startswith("on")]


def test_report_takes_its_maps_from_the_web_map_beside_it(tmp_path, record, world, legend):
    write_viewer(str(tmp_path), Site("x", legend, world.layers, old_map="CORINE"))
    write_report(str(tmp_path), record)
    tags = parsed((tmp_path / "report.html").read_text()).tags
    alts = [attrs["alt"] for tag, attrs in tags if tag == "img"]
    assert alts == ["CORINE 2012", "Land cover 2021", "Confidence 2021", "Satellite image 2021", "Land cover 2020", "Confidence 2020"]
    assert (tmp_path / "report.json").exists()


def test_report_without_a_web_map_says_so(tmp_path, record):
    write_report(str(tmp_path), record)
    assert "No picture of the maps was made" in (tmp_path / "report.html").read_text()


def test_maps_travel_inside_the_page():
    (told,) = as_maps([{"title": "x", "image": b"\x01\x02", "media_type": "image/png"}])
    assert told == {"title": "x", "src": "data:image/png;base64,AQI="}


def positions(markup, attribute):
    return [float(found) for found in re.findall(rf'{attribute}="([0-9.]+)%?"', str(markup))]


def test_whiskers_stand_where_the_numbers_are():
    drawn = whiskers([Estimate(0.75, 0.1, "new", "new: 75 %")])
    assert positions(drawn, "cx") == [75.0]
    assert '<line class="whisker new" x1="65.0%" x2="85.0%"' in drawn
    assert 'aria-label="new: 75 %"' in drawn


def test_whiskers_end_at_the_edge_and_an_unknown_number_has_none():
    assert 'x1="0.0%" x2="100.0%"' in whiskers([Estimate(0.5, 0.9)])
    assert "circle" not in whiskers([Estimate(None)])


def test_bars_are_as_tall_as_their_share_of_the_largest():
    heights = positions(bars([Bar("2020", 50.0), Bar("2021", 100.0), Bar("2022", 0.0)], "#112233", "x"), " height")
    assert heights[1] / heights[2] == pytest.approx(0.5, abs=0.01)
    assert heights[3] <= 0.5


def test_stack_adds_up_to_the_whole():
    widths = positions(stack([("a", 1.0, "#000000"), ("b", 3.0, "#000000")], "x"), " width")
    assert widths[1:] == [25.0, 75.0]


def test_curve_is_interrupted_where_a_value_is_missing():
    path = re.search(r' d="([^"]+)"', curves([("train", [1.0, None, 0.5, 0.2])], "x"))[1]
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert curves([("train", [None])], "x") == ""


def test_columns_of_zero_do_not_divide_by_it():
    assert "rect" in columns([("a", 0.0, "x")], 0.0, "x")


def test_colour_that_is_none_becomes_grey():
    assert color("#12aBf0") == "#12aBf0"
    assert color('red"onload="x') == "#8a9693"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (words.percent(0.93216, 0.011), "93.2 ± 1.1 %"),
        (words.percent(None), "–"),
        (words.points(-0.05), "−5.0 points"),
        (words.hectares(1234567.8, 12.0), "1\u202f234\u202f568 ± 12 ha"),
        (words.hectares(3.21), "3.2 ha"),
        (words.gigabytes(559e9), "559"),
        (words.gigabytes(12_300_000), "0.0123"),
        (words.share(0.001), "<1 %"),
        (words.duration(59.6), "60 s"),
        (words.duration(4012), "67 min"),
        (words.duration(8000), "2 h 13 min"),
        (words.count(1610838), "1\u202f610\u202f838"),
    ],
)
def test_numbers_read_as_people_write_them(made, text):
    assert made == text


def test_templates_travel_with_the_package():
    import landtide.publish

    folder = Path(landtide.publish.__file__).parent
    assert {path.name for path in (folder / "templates").iterdir()} == {
        "audit.html",
        "index.html",
        "parts.html",
        "report.css",
        "report.html",
        "tuning.html",
    }
    assert {path.suffix for path in (folder / "viewer").iterdir()} == {".js", ".css"}
