"""Publish maps, report and web map."""

from typing import Optional

from kfp import dsl

from components import images


@dsl.component(base_image=images.STEPS, install_kfp_package=False)
def publish(
    study: str,
    retrieved: list[str],
    cubes: list[str],
    samples: str,
    model: str,
    maps: list[str],
    evaluation: str,
    report: dsl.Output[dsl.HTML],
    preliminary: Optional[str] = None,  # noqa: UP045 - kfp 2.17 reads "str | None" as the name of an artifact
    stable: Optional[str] = None,  # noqa: UP045 - kfp 2.17 reads "str | None" as the name of an artifact
) -> str:
    """Return the URI of the published folder."""
    from pathlib import Path

    from landtide import steps

    uri, html = steps.publish(study, retrieved, cubes, samples, model, maps, evaluation, preliminary=preliminary, stable=stable)
    Path(report.path).write_text(html, encoding="utf-8")
    return uri
