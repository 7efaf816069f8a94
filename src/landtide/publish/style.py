"""QGIS styles: a map opens in QGIS with the legend's colours and names."""

from xml.etree import ElementTree

from landtide.core.landcover import DO_NOT_KNOW
from landtide.core.legend import Legend

DO_NOT_KNOW_COLOR = "#808080"
CONFIDENCE_RAMP = ((0, "#B2182B"), (25, "#EF8A62"), (50, "#FDDBC7"), (75, "#92C5DE"), (100, "#2166AC"))
"""Red where the model guessed, blue where it was sure: readable with the common colour-vision deficiencies. Source: ColorBrewer RdBu."""


def label_style(legend: Legend) -> str:
    """Return the .qml of a label map: one colour and name a class; 0, no data, stays transparent."""
    root, renderer = _document("paletted")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for label, item in enumerate(legend.classes, start=1):
        _entry(palette, "paletteEntry", str(label), item.color, item.name)
    _entry(palette, "paletteEntry", str(DO_NOT_KNOW), DO_NOT_KNOW_COLOR, "do not know")
    return _text(root)


def confidence_style() -> str:
    """Return the .qml of a confidence map, 0 to 100 per cent."""
    root, renderer = _document("singlebandpseudocolor", classificationMin="0", classificationMax="100")
    shader = ElementTree.SubElement(ElementTree.SubElement(renderer, "rastershader"), "colorrampshader")
    settings = {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0", "minimumValue": "0", "maximumValue": "100"}
    for key, value in settings.items():
        shader.set(key, value)
    for per_cent, color in CONFIDENCE_RAMP:
        _entry(shader, "item", str(per_cent), color, f"{per_cent} %")
    return _text(root)


def _document(kind: str, **attributes: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    """Return the root and the renderer. Only what QGIS 3 needs: the rest it fills with its own defaults."""
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", {"type": kind, "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": "", **attributes}
    )
    ElementTree.SubElement(renderer, "rasterTransparency")
    ElementTree.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ElementTree.SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    ElementTree.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ElementTree.SubElement(root, "blendMode").text = "0"
    return root, renderer


def _entry(parent: ElementTree.Element, tag: str, value: str, color: str, label: str) -> None:
    ElementTree.SubElement(parent, tag, value=value, color=color.lower(), alpha="255", label=label)


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{body}\n"
