"""Publication: maps, STAC catalog, styles, report and web map in one static folder."""

from landtide.publish.site import Made, publish_run, published_content, published_id

__all__ = ["Made", "publish_run", "published_content", "published_id"]
