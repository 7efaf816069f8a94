"""Say what a search for settings has found."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def tune_report(study: str, samples: str, meetings: list[str], report: dsl.Output[dsl.HTML]) -> str:
    """Return the URI of the search's manifest."""
    from pathlib import Path

    from landtide import learning

    uri, html = learning.tune_report(study, samples, meetings)
    Path(report.path).write_text(html, encoding="utf-8")
    return uri
