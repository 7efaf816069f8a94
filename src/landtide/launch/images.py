"""The two images that pods run in: named here, and overridden by the environment where a pipeline is compiled or a job is rendered."""

import os
from collections.abc import Mapping

import landtide

NAMES = ("landtide-steps", "landtide-train")
REGISTRY = "LANDTIDE_REGISTRY"
"""Prefix of both images, such as ``ghcr.io/agency``."""

TAG = "LANDTIDE_TAG"
"""Tag of both images; the default is landtide's version."""

OVERRIDE = {"landtide-steps": "LANDTIDE_STEPS_IMAGE", "landtide-train": "LANDTIDE_TRAIN_IMAGE"}
"""Whole reference of one image, such as ``ghcr.io/agency/landtide-steps@sha256:...``: goes before registry and tag."""


def reference(name: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the reference of an image, ``landtide-steps`` or ``landtide-train``; the environment is this process's where none is given."""
    environment = os.environ if environment is None else environment
    if whole := environment.get(OVERRIDE[name]):
        return whole
    registry = environment.get(REGISTRY, "").rstrip("/")
    return f"{registry + '/' if registry else ''}{name}:{environment.get(TAG) or landtide.__version__}"
