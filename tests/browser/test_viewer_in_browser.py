"""The web map and the report in a real browser: what a visitor sees and can do."""

import functools
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from landtide.core.legend import Legend, LegendClass
from landtide.core.tile import Tile
from landtide.io.raster import CogWriter
from landtide.publish.report import render
from landtide.publish.webmap import MapLayer, Site, write_viewer

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"
DESKTOP = {"width": 1200, "height": 800}
PHONE = {"width": 390, "height": 800}

pytest.importorskip("playwright", reason="playwright is not installed: make setup")
if not CHROMIUM.exists():
    pytest.skip("no /usr/bin/chromium: apt-get install chromium", allow_module_level=True)

from playwright.sync_api import sync_playwright  # noqa: E402


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def world():
    """Labels of 2020 and 2021 and of the old map, 400 x 600: left half 1, right half 2, a square of 3 that moves."""
    labels = {}
    for year, at in ((2012, 50), (2020, 150), (2021, 250)):
        values = np.ones((400, 600), np.uint8)
        values[:, 300:] = 2
        values[at : at + 60, 420:480] = 3
        values[:20, :20] = 0
        labels[year] = values
    return labels


@pytest.fixture(scope="module")
def site(tmp_path_factory, world):
    """The folder of a published web map."""
    folder = tmp_path_factory.mktemp("site")
    sources = tmp_path_factory.mktemp("sources")
    tile = Tile("31UFT", "EPSG:32631", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_800_000.0), (400, 600))
    legend = Legend("own", (LegendClass(1, "field", "#F2C14E"), LegendClass(2, HOSTILE, "#3F9142"), LegendClass(3, "lake", "#2B7BBA")))

    def save(name, values, nodata):
        path = sources / f"{name}.tif"
        with CogWriter(path, tile, dtype="uint8", nodata=nodata) as writer:
            writer.write(values, Window(0, 0, 600, 400))
        return str(path)

    layers = [MapLayer("old_map", tile, save("old", world[2012], 0), 2012)]
    for year in (2020, 2021):
        confidence = np.where(world[year] == 0, 255, np.where(world[year] == 3, 40, 90)).astype(np.uint8)
        layers.append(MapLayer("label", tile, save(f"l{year}", world[year], 0), year))
        layers.append(MapLayer("confidence", tile, save(f"c{year}", confidence, 255), year))
    write_viewer(str(folder), Site(f"Test {HOSTILE}", legend, tuple(layers), old_map="CORINE"))
    (folder / "report.html").write_text(render({"study": {"name": f"Test {HOSTILE}"}}))
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Address of the site on loopback, below a sub-path."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(site.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{site.name}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """Open a page, wait until its pictures have come; what the console says is in ``page.said``."""
    contexts = []

    def opened(url, *, wait=True, **settings):
        context = browser.new_context(**{"viewport": DESKTOP, **settings})
        contexts.append(context)
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(url)
        if wait:
            settle(page)
        return page

    yield opened
    for context in contexts:
        context.close()


def settle(page):
    """Wait until no picture is on its way and the map is drawn."""
    page.wait_for_function("[...landtide.pictures.entries.values()].every((entry) => entry.ready || entry.failed)")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def color_at(page, column, row):
    """Return the colour that the canvas shows for a map pixel."""
    return tuple(
        page.evaluate(
            """([column, row]) => {
                const canvas = document.getElementById("map"), [left, top] = landtide.map.toScreen([column, row]);
                return [...canvas.getContext("2d").getImageData(left * devicePixelRatio, top * devicePixelRatio, 1, 1).data];
            }""",
            [column, row],
        )
    )


FIELD, WOOD, LAKE = (242, 193, 78, 255), (63, 145, 66, 255), (43, 123, 186, 255)


def test_old_map_stands_left_and_new_map_right_of_the_divider(visit, address):
    page = visit(address)
    assert page.said == []
    assert page.inner_text("#left-name") == "CORINE 2012"
    assert page.inner_text("#right-name") == "Land cover 2021"
    assert color_at(page, 450.5, 280.5) == LAKE
    assert color_at(page, 450.5, 80.5) == WOOD
    page.evaluate("document.getElementById('divider').focus()")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    settle(page)
    assert color_at(page, 450.5, 80.5) == LAKE
    assert color_at(page, 450.5, 280.5) == WOOD


def test_year_button_changes_the_map_and_the_address_brings_it_back(visit, address):
    page = visit(address)
    page.click("#years button[value='2020']")
    page.select_option("#other", "")
    settle(page)
    assert color_at(page, 450.5, 180.5) == LAKE
    page.wait_for_function("location.hash.includes('year=2020')")
    again = visit(page.url)
    assert again.get_attribute("#years button[value='2020']", "aria-pressed") == "true"
    assert again.is_hidden("#divider")
    assert color_at(again, 450.5, 180.5) == LAKE


def test_class_that_is_switched_off_disappears(visit, address):
    page = visit(address + "#with=none")
    page.uncheck("#legend li:nth-child(3) input")
    settle(page)
    assert color_at(page, 450.5, 280.5)[3] == 0
    assert color_at(page, 100.5, 280.5) == FIELD


def test_unsure_pixels_are_set_back(visit, address):
    page = visit(address + "#with=none&least=60")
    assert color_at(page, 450.5, 280.5)[3] < 60
    assert color_at(page, 100.5, 280.5) == FIELD


def test_only_differences_to_the_old_map_are_left(visit, address):
    page = visit(address + "#changed=1&split=0.02")
    assert color_at(page, 450.5, 280.5) == LAKE
    assert color_at(page, 450.5, 80.5) == WOOD
    assert color_at(page, 550.5, 380.5)[3] < 60


def test_opacity_and_confidence_are_drawn(visit, address):
    page = visit(address + "#with=none&opacity=0.5")
    assert color_at(page, 100.5, 280.5)[3] == pytest.approx(128, abs=2)
    page = visit(address + "#with=none&show=confidence")
    strong, weak = color_at(page, 100.5, 280.5), color_at(page, 450.5, 280.5)
    assert sum(strong[:3]) > sum(weak[:3])
    assert page.is_visible("#ramp")


def test_click_tells_class_and_confidence_of_every_year(visit, address):
    page = visit(address)
    left, top = page.evaluate("landtide.map.toScreen([450.5, 280.5])")
    page.mouse.click(left, top)
    page.wait_for_selector("#pixel-rows tr:nth-child(3) .number:has-text('40 %')")
    rows = [row.inner_text().split("\t") for row in page.query_selector_all("#pixel-rows tr")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["CORINE 2012", HOSTILE, ""],
        ["2020", HOSTILE, "90 %"],
        ["2021", "lake", "40 %"],
    ]
    assert "604505 E, 5797195 N" in page.inner_text("#pixel-place")
    page.keyboard.press("Escape")
    assert page.is_hidden("#pixel")


def test_keyboard_pans_zooms_and_reads_the_middle(visit, address):
    page = visit(address)
    before = page.evaluate("({...landtide.state.view})")
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    after = page.evaluate("({...landtide.state.view})")
    assert after["x"] > before["x"]
    assert after["scale"] == pytest.approx(1.5 * before["scale"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#pixel-rows tr")


def test_wheel_zooms_about_the_pointer_and_drag_moves(visit, address):
    page = visit(address)
    place = page.evaluate("landtide.map.toScreen([450, 280])")
    page.mouse.move(*place)
    page.mouse.wheel(0, -300)
    page.wait_for_function("landtide.state.view.scale > 1.7")
    assert page.evaluate("landtide.map.toScreen([450, 280])") == pytest.approx(place, abs=0.5)
    page.mouse.down()
    page.mouse.move(place[0] - 80, place[1] + 40, steps=4)
    page.mouse.up()
    assert page.evaluate("landtide.map.toScreen([450, 280])") == pytest.approx([place[0] - 80, place[1] + 40], abs=0.5)
    assert page.is_hidden("#pixel")


def test_class_name_with_markup_stays_text(visit, address):
    for page in (visit(address), visit(address + "report.html", wait=False)):
        assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
        assert page.title() != "broken in"
    assert HOSTILE in visit(address).inner_text("#legend")


def test_opened_as_a_file_the_map_is_drawn_and_says_what_is_off(visit, site):
    page = visit(f"file://{site}/index.html")
    assert page.said == []
    assert page.is_visible("#unreadable")
    assert page.query_selector_all("#legend input") == []
    page.select_option("#other", "label-2020")
    settle(page)
    picture = page.screenshot(clip={"x": 700, "y": 300, "width": 200, "height": 200})
    assert len(picture) > 500
    left, top = page.evaluate("landtide.map.toScreen([450.5, 280.5])")
    page.mouse.click(left, top)
    assert "604505 E" in page.inner_text("#pixel-place")


def test_phone_shows_the_map_and_folds_the_panel(visit, address):
    page = visit(address, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert page.is_hidden("#controls")
    assert page.is_visible("#years button")
    panel = page.locator("#panel").bounding_box()
    assert panel["y"] > 0.6 * PHONE["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.tap("#fold")
    assert page.is_visible("#legend")


def test_page_is_never_blank(visit, address, site):
    missing = visit(address + "index.html", wait=False, java_script_enabled=False)
    assert "needs JavaScript" in missing.content()
    text = (site / "index.html").read_text()
    (site / "without.html").write_text(text.replace("layers.js?", "lost.js?"))
    assert "layers.js is missing" in visit(address + "without.html", wait=False).inner_text("#status")
    record = json.loads((site / "layers.json").read_text())
    for layer in record["scenes"][0]["layers"]:
        layer["id"] += "-lost"
    (site / "lost.js").write_text(f"window.LANDTIDE_LAYERS = {json.dumps(record)};")
    page = visit(address + "without.html")
    assert "could not be loaded" in page.inner_text("#status")
    assert page.is_visible("#legend")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_fits_a_phone_without_moving_sideways(visit, address, scheme):
    page = visit(address + "report.html", wait=False, viewport=PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.said == []
