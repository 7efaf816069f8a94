"""The retrieval table: images and size a tile and year."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

GIGABYTE = 1e9


@dataclass(frozen=True)
class SizeTable:
    """``tile | num 2018 | size 2018 [GB] | num 2019 | ... | total``, as text for people."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """One a tile, then the total of all tiles where there are several."""

    def to_dict(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}


def size_table(records: Iterable[dict[str, Any]]) -> SizeTable:
    """Return the table of retrieval reports, or of plans: records with ``tile``, ``year``, ``images`` and ``bytes``."""
    known = {(record["tile"], int(record["year"])): (int(record["images"]), int(record["bytes"])) for record in records}
    tiles = sorted({tile for tile, _ in known})
    years = sorted({year for _, year in known})
    columns = ["tile", *(text for year in years for text in (f"num {year}", f"size {year} [GB]")), "total"]
    rows = [_row(tile, [known.get((tile, year), (0, 0)) for year in years]) for tile in tiles]
    if len(tiles) > 1:
        sums = [[known.get((tile, year), (0, 0)) for tile in tiles] for year in years]
        rows.append(_row("total", [(sum(num for num, _ in cells), sum(size for _, size in cells)) for cells in sums]))
    return SizeTable(tuple(columns), tuple(rows))


def _row(name: str, cells: list[tuple[int, int]]) -> tuple[str, ...]:
    texts = [text for num, size in cells for text in (str(num), gigabytes(size))]
    return (name, *texts, f"{sum(num for num, _ in cells)} images, {gigabytes(sum(size for _, size in cells))} GB")


def gigabytes(size: float) -> str:
    """Return bytes in GB with three significant figures, so that small areas do not read as nothing."""
    value = size / GIGABYTE
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1e-4 else f"{value:.1g}"
