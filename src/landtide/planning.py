"""What a study will need, told before anything runs: images and GB from the catalog, hours from a short job, memory from the work's cut."""

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from landtide import composite as compositing
from landtide.core.errors import LandtideError
from landtide.core.study import Study
from landtide.io import storage
from landtide.launch.workers import open_pool
from landtide.retrieve import Checked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a study will need, told before anything runs."""

    checked: Checked
    rate: compositing.Rate | None
    """Of this machine; None = never measured here."""

    seconds: dict[tuple[str, int], float]
    """Of compositing a tile and year on this machine; empty where it was never measured."""

    peak: int
    """Bytes of the largest process while compositing."""

    cubes: int
    """Bytes of all cubes before they are packed; packed they take about 60 %."""

    @property
    def record(self) -> dict[str, Any]:
        """What `landtide.publish` holds against what it came to."""
        rows = [
            {
                "tile": one.tile,
                "year": one.year,
                "images": one.images,
                "bytes": one.bytes,
                "seconds": self.seconds.get((one.tile, one.year)),
            }
            for one in self.checked.planned
        ]
        return {"rows": rows, "peak_memory": self.peak}


def measured(study: Study, checked: Checked) -> Plan:
    """Say what a study will need, from its catalog and from a short job that is measured now.

    The rate that was measured is kept in the workspace, where it can be written, for the runs that follow.
    """
    compute = study.compute
    with TemporaryDirectory(prefix="landtide-plan-") as folder, open_pool(compute.workers, compute.threads, compute.memory) as pool:
        rate = compositing.measure(Path(folder), study.band_ids, study.composite, compute.memory, pool)
    try:
        storage.check_writable(study.workspace)
        storage.write_json(_rate_uri(study), {"samples": rate.samples, "cpu": rate.cpu, "settings": _rate_settings(study)})
    except (LandtideError, OSError) as error:  # a plan needs no workspace
        log.warning("the measured rate could not be kept for later runs: %s", error)
    return _forecast(study, checked, rate)


def forecast(study: Study, checked: Checked) -> Plan:
    """Say what a study will need by what is known already: the rate that the last `plan` measured with the same settings, if any."""
    try:
        kept = storage.read_json(_rate_uri(study))
    except FileNotFoundError:
        kept = {}
    fits = kept.get("settings") == _rate_settings(study)
    return _forecast(study, checked, compositing.Rate(kept["samples"], kept["cpu"]) if fits else None)


def _rate_uri(study: Study) -> str:
    return storage.join(study.workspace, study.name, "rate.json")


def _rate_settings(study: Study) -> dict[str, Any]:
    compute = study.compute
    return {"bands": list(study.band_ids), "composite": study.composite.model_dump(), "threads": compute.workers * compute.threads}


def _forecast(study: Study, checked: Checked, rate: compositing.Rate | None) -> Plan:
    tiles, compute = {tile.name: tile for tile in checked.tiles}, study.compute
    seconds, peak, cubes = {}, 0, 0
    for one in checked.planned:
        tile = tiles[one.tile]
        pixels = tile.shape[0] * tile.shape[1]
        if rate is not None:
            images = min(one.images, study.composite.clearest or one.images)
            seconds[one.tile, one.year] = pixels * images * len(study.band_ids) / rate.samples
        needed = compositing.peak_memory(
            tile,
            one.year,
            one.images,
            bands=study.band_ids,
            channels=len(study.band_ids) + len(study.channels) - len(study.stored_bands),
            settings=study.composite,
            memory=compute.memory,
            threads=compute.workers * compute.threads,
        )
        peak = max(peak, needed)
        cubes += pixels * study.composite.steps(one.year) * (2 * len(study.channels) + 1)
    return Plan(checked, rate, seconds, peak, cubes)
