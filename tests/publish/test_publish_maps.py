"""The published folder: maps, styles and STAC catalog, read back by pystac, rasterio and an XML reader."""

import hashlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pystac
import pytest
import rasterio
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from rasterio.windows import Window

from landtide.core.errors import LandtideError
from landtide.core.legend import Legend, LegendClass, builtin_legend
from landtide.core.period import Period
from landtide.core.tile import Tile
from landtide.io.manifest import Key, tile_of, writing
from landtide.io.raster import CogWriter
from landtide.publish.maps import write_maps
from landtide.publish.stac import class_list, read_acquisitions, write_catalog
from landtide.publish.style import confidence_style, label_style

LEGEND = builtin_legend("landtide10")
TILES = [
    Tile("33TVL", "EPSG:32633", (10.0, 0.0, 465_000.0, 0.0, -10.0, 5_080_000.0), (600, 520)),
    Tile("33TWL", "EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_080_000.0), (64, 64)),
]
YEARS = (2018, 2019)


def make_map(workspace: Path, tile: Tile, year: int) -> pystac.Item:
    """Write what `classify` leaves for one tile and year."""
    key = Key(str(workspace), "demo", "classify", tile.name, str(year), f"{year}{tile.name}")
    labels = np.random.default_rng(year).integers(0, 11, tile.shape).astype(np.uint8)
    colours = {0: (0, 0, 0, 0)} | {label: (*item.rgb, 255) for label, item in enumerate(LEGEND.classes, start=1)}
    sources = [f"{workspace}/demo/composite/{tile.name}/{year}/abc/item.json"]
    with writing(key, period=Period.of_year(year), tile=tile, properties={"landtide:model": "m-1"}, derived_from=sources) as out:
        with CogWriter(
            out.scratch / "label.tif", tile, dtype="uint8", nodata=0, colormap=colours, categories=["no data", *LEGEND.names]
        ) as cog:
            cog.write(labels, Window(0, 0, tile.shape[1], tile.shape[0]))
        with CogWriter(out.scratch / "confidence.tif", tile, dtype="uint8", nodata=255) as cog:
            cog.write((labels * 9).astype(np.uint8), Window(0, 0, tile.shape[1], tile.shape[0]))
        for name in ("label", "confidence"):
            out.upload(out.scratch / f"{name}.tif", f"{name}.tif")
            out.add_asset(name, f"{name}.tif", media_type="image/tiff; application=geotiff; profile=cloud-optimized")
    return out.item


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("work")
    return workspace, {(tile.name, year): make_map(workspace, tile, year) for tile in TILES for year in YEARS}


def publish(published: str, manifests) -> str:
    maps = write_maps(published, manifests, LEGEND)
    acquisitions = {(tile.name, year): [f"https://example.com/{tile.name}/{year}/a.json"] for tile in TILES for year in YEARS}
    return write_catalog(published, study="demo", legend=LEGEND, maps=maps, acquisitions=acquisitions)


@pytest.fixture(scope="module")
def published(manifests):
    folder = manifests[0] / "demo" / "published"
    folder.mkdir()
    (folder / "report.json").write_text("{}")
    publish(str(folder), manifests[1])
    return folder


@pytest.fixture(scope="module")
def catalog(published):
    return pystac.Catalog.from_file(str(published / "catalog.json"))


def test_every_map_is_found_through_the_catalog_and_opens(catalog, manifests):
    items = list(catalog.get_items(recursive=True))
    assert {(item.properties["landtide:tile"], item.properties["landtide:year"]) for item in items} == set(manifests[1])
    for item in items:
        with rasterio.open(item.assets["label"].get_absolute_href()) as dataset:
            assert dataset.crs.to_string() == item.properties["proj:code"]
            assert list(dataset.transform)[:6] == item.properties["proj:transform"]
            assert list(dataset.shape) == item.properties["proj:shape"]
            assert dataset.nodata == item.assets["label"].extra_fields["nodata"] == 0
            assert dataset.colormap(1)[6][:3] == LEGEND.classes[5].rgb
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        with rasterio.open(item.assets["confidence"].get_absolute_href()) as dataset:
            assert dataset.nodata == item.assets["confidence"].extra_fields["nodata"] == 255


def test_large_maps_have_overviews(published):
    with rasterio.open(published / "maps" / "33TVL" / "2018.tif") as dataset:
        assert dataset.overviews(1)


def test_category_names_lie_where_gdal_looks(published):
    root = ElementTree.parse(published / "maps" / "33TVL" / "2018.tif.aux.xml").getroot()
    assert [category.text for category in root.iter("Category")] == ["no data", *LEGEND.names]


def test_records_hold_to_the_stac_standard(catalog):
    jsonschema = pytest.importorskip("jsonschema")
    from pystac.validation.local_validator import get_local_schema_cache

    schemas = get_local_schema_cache()
    for record in (catalog, *catalog.get_children(), *catalog.get_items(recursive=True)):
        value = record.to_dict(include_self_link=False, transform_hrefs=False)
        kind = {"Catalog": "catalog", "Collection": "collection", "Feature": "item"}[value["type"]]
        uri = next(key for key in schemas if f"v1.1.0/{kind}-spec/" in key)
        registry = _registry(schemas)
        jsonschema.Draft7Validator(schemas[uri], registry=registry).validate(value)


def _registry(schemas):
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    return Registry().with_resources((uri, Resource.from_contents(schema, default_specification=DRAFT7)) for uri, schema in schemas.items())


def test_extensions_are_readable_by_pystac(catalog, published):
    item = next(item for item in catalog.get_items(recursive=True) if item.id == "demo-33TVL-2018")
    classes = ClassificationExtension.ext(item.assets["label"]).classes
    assert [(item.value, item.color_hint) for item in classes[1:11]] == [(i + 1, c.color[1:]) for i, c in enumerate(LEGEND.classes)]
    assert classes[0].nodata
    assert ProjectionExtension.ext(item).epsg == 32633
    digest = hashlib.sha256((published / "maps/33TVL/2018.tif").read_bytes()).hexdigest()
    assert FileExtension.ext(item.assets["label"]).checksum == "1220" + digest
    assert FileExtension.ext(item.assets["label"]).size == (published / "maps/33TVL/2018.tif").stat().st_size


def test_pixel_can_be_traced_to_its_acquisitions(catalog, manifests):
    item = next(item for item in catalog.get_items(recursive=True) if item.id == "demo-33TWL-2019")
    hrefs = [link.href for link in item.links if link.rel == "derived_from"]
    assert "https://example.com/33TWL/2019/a.json" in hrefs
    assert hrefs[0] == "../../../classify/33TWL/2019/201933TWL/item.json"
    folder = Path(item.get_self_href()).parent
    assert (folder / hrefs[0]).resolve() == Path(manifests[1]["33TWL", 2019].get_self_href()).resolve()


def test_links_are_relative_and_resolve(published, catalog):
    for record in (catalog, *catalog.get_children(), *catalog.get_items(recursive=True)):
        for link in record.links:
            if link.rel in ("root", "parent", "collection", "child", "item"):
                assert Path(link.get_absolute_href()).exists(), link
    for path in published.rglob("*.json"):
        assert str(published) not in path.read_text()


def test_collection_spans_all_maps_and_lists_what_lies_beside_them(catalog):
    collection = next(iter(catalog.get_children()))
    assert collection.extent.temporal.intervals[0][0].year == 2018
    assert collection.extent.temporal.intervals[0][1].year == 2019
    west, south, east, north = collection.extent.spatial.bboxes[0]
    for tile in TILES:
        box = tile.lonlat_bounds()
        assert west <= box[0]
        assert south <= box[1]
        assert east >= box[2]
        assert north >= box[3]
    assert set(collection.assets) == {"report"}  # no report.html and no viewer in this folder


def test_publishing_again_leaves_the_same_bytes(manifests, published):
    before = {path: path.read_bytes() for path in published.rglob("*") if path.is_file()}
    publish(str(published), manifests[1])
    assert {path: path.read_bytes() for path in published.rglob("*") if path.is_file()} == before


def test_catalog_is_written_last(manifests, tmp_path, monkeypatch):
    from landtide.io import storage

    order = []
    real = storage.write_bytes
    monkeypatch.setattr(storage, "write_bytes", lambda uri, data: (order.append(uri), real(uri, data)))
    publish(str(tmp_path), manifests[1])
    assert order[-1].endswith("catalog.json")


def test_map_that_changed_after_its_manifest_is_refused(tmp_path):
    item = make_map(tmp_path, TILES[1], 2020)
    with Path(item.assets["label"].href).open("ab") as file:
        file.write(b"x")
    with pytest.raises(LandtideError, match="has changed since it was made"):
        write_maps(str(tmp_path / "published"), {(TILES[1].name, 2020): item}, LEGEND)


def test_publishes_to_s3(s3, manifests):
    from landtide.io import storage

    chosen = {key: item for key, item in manifests[1].items() if key == ("33TWL", 2018)}
    maps = write_maps(f"{s3}/demo/published", chosen, LEGEND)
    write_catalog(f"{s3}/demo/published", study="demo", legend=LEGEND, maps=maps)
    assert storage.read_json(f"{s3}/demo/published/catalog.json")["id"] == "demo-catalog"
    assert storage.sha256(f"{s3}/demo/published/maps/33TWL/2018.tif") == maps[0].files["label"].sha256


def test_tile_is_read_from_the_manifest(manifests):
    assert tile_of(manifests[1]["33TVL", 2018]) == TILES[0]


def test_acquisitions_are_named_by_self_link_or_id(tmp_path):
    from landtide.io import storage

    uri = str(tmp_path / "items.json")
    features = [{"id": "a", "links": [{"rel": "self", "href": "https://x/a.json"}]}, {"id": "b", "links": []}]
    storage.write_json(uri, {"type": "FeatureCollection", "features": features})
    assert read_acquisitions(uri) == ["https://x/a.json", "b"]


def test_class_names_are_unique_slugs_even_in_other_scripts():
    legend = Legend(
        "x", (LegendClass(1, "草地", "#00FF00"), LegendClass(2, "Wald (alt)", "#006600"), LegendClass(3, "wald alt", "#007700"))
    )
    names = [item["name"] for item in class_list(legend)]
    assert names == ["no-data", "class-1", "class-2", "class-3", "do-not-know"]
    assert all(item["title"] for item in class_list(legend))


def test_qgis_style_has_a_colour_and_name_a_class():
    root = ElementTree.fromstring(label_style(LEGEND).split("\n", 1)[1])
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    assert renderer.get("type") == "paletted"
    entries = {entry.get("value"): (entry.get("color"), entry.get("label")) for entry in renderer.iter("paletteEntry")}
    expected = {str(label): (item.color.lower(), item.name) for label, item in enumerate(LEGEND.classes, start=1)}
    assert entries == {**expected, "254": ("#808080", "do not know")}
    assert "0" not in entries  # no data stays transparent


def test_qgis_style_survives_signs_that_xml_reserves():
    legend = Legend("x", (LegendClass(1, 'crop <& "fallow">', "#FFCC00"), LegendClass(2, "wood", "#006600")))
    root = ElementTree.fromstring(label_style(legend).split("\n", 1)[1])
    assert next(entry.get("label") for entry in root.iter("paletteEntry")) == 'crop <& "fallow">'


def test_confidence_style_spans_0_to_100():
    root = ElementTree.fromstring(confidence_style().split("\n", 1)[1])
    values = [int(item.get("value") or -1) for item in root.iter("item")]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 100)
