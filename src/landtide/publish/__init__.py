"""Publication: maps, STAC catalog, styles, report, web map and audit in one static folder."""

from landtide.publish.audit import Audit, audit_content, publish_audit
from landtide.publish.site import Made, publish_run, published_content, published_id

__all__ = ["Audit", "Made", "audit_content", "publish_audit", "publish_run", "published_content", "published_id"]
