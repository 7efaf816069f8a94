"""Publication: maps, STAC catalog, styles, report and web map in one static folder."""

from landtide.publish.maps import PublishedMap, write_maps
from landtide.publish.report import write_report
from landtide.publish.stac import read_acquisitions, write_catalog
from landtide.publish.webmap import MapLayer, Site, write_viewer

__all__ = ["MapLayer", "PublishedMap", "Site", "read_acquisitions", "write_catalog", "write_maps", "write_report", "write_viewer"]
