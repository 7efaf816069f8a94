"""The study file: everything that one land-cover update needs to know, checked before anything starts."""

import difflib
import re
from datetime import date
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from landtide.core import units
from landtide.core.bands import DEFAULT_BANDS, HLS_BANDS, SCL, band_id, is_reflectance
from landtide.core.cluster import Hpc, Kubernetes
from landtide.core.compute import Compute
from landtide.core.errors import InputError
from landtide.core.indices import Index, read_indices
from landtide.core.period import Period, parse_duration
from landtide.core.section import Section

Length = Annotated[float, BeforeValidator(lambda value: value if isinstance(value, float) else units.parse_length(value))]
"""Metres; written with a unit."""

Memory = Annotated[int, BeforeValidator(lambda value: value if isinstance(value, int) else units.parse_memory(value))]
"""Bytes; written with a unit."""

CLOUDLESS_BANDS = ("B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12")
"""That s2cloudless classifies by, in its order."""

FIRST_YEAR = 2015  # Sentinel-2A was launched in June 2015


def _check_duration(text: str) -> str:
    parse_duration(text)
    return text


class Area(Section):
    """Where; exactly one of the four."""

    catalog_extent: bool = Field(False, alias="catalog-extent")
    """The grid of the catalog's own items."""

    tiles: list[str] | None = None
    """MGRS names of Sentinel-2 tiles."""

    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north in WGS 84 degrees."""

    geojson: str | None = None
    """Path or URI of a GeoJSON file in WGS 84."""

    @model_validator(mode="after")
    def _one_of_four(self) -> "Area":
        given = [self.catalog_extent, self.tiles is not None, self.bbox is not None, self.geojson is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of catalog-extent, tiles, bbox, geojson")
        if self.bbox is not None and not (self.bbox[0] < self.bbox[2] and self.bbox[1] < self.bbox[3]):
            raise ValueError(f"bbox {list(self.bbox)} is not west, south, east, north with west < east and south < north")
        return self


class YearsFrom(Section):
    """From a year on, up to the last year that is over: for recurring runs."""

    first: int = Field(alias="from", ge=FIRST_YEAR)


class Requests(Section):
    """How servers are asked over http(s), for searches, tokens and images alike."""

    connections: int = Field(8, ge=1, le=64)
    """To one host at a time, from all processes of this machine. Public archives slow down or shut out who opens many more."""

    rate: float = Field(100.0, gt=0)
    """Requests a second to one host, from all processes of this machine; most archives bear it, some APIs ask for 5 or 10."""

    retries: int = Field(6, ge=0, le=20)
    """Of a request that fails in passing (429, 5xx, no answer, a body cut short), after a pause that doubles from half a second, or as
    long as the server asks for (Retry-After); six outlast half a minute."""


class Source(Section):
    """Where the acquisitions come from: a static catalog, a STAC API or a folder of images."""

    catalog: str | None = None
    """Path or URI of a static STAC collection, catalog or ItemCollection."""

    api: str | None = None
    """``earth-search``, ``cdse``, ``planetary-computer``, ``hls`` or the URL of a STAC API."""

    collection: str | None = None
    """Collection of the API; None = the Level-2A collection of the provider."""

    folder: str | None = None
    """Folder (or ``s3://`` prefix) of Sentinel-2 Level-2A products, ``.SAFE`` or zipped; with ``pattern``, of plain GeoTIFFs."""

    pattern: str | None = None
    """What the names of plain GeoTIFFs mean, such as ``{date}_{band}.tif``; ``{satellite}``, ``{sensor}``, ``{tile}`` and ``{any}`` too."""

    order: list[str] | None = None
    """Bands of plain GeoTIFFs that hold all bands of a date, in the files' order."""

    scale: float | None = Field(None, gt=0)
    """Of plain GeoTIFFs: value = number x scale + offset. None = as the file tells, else its numbers are the values."""

    offset: float | None = None
    nodata: float | None = None
    """Number that stands for no data in plain GeoTIFFs; None = as the file tells."""

    max_cloud: float = Field(80.0, ge=0, le=100)
    """Per cent. Scenes above it hold few clear pixels and cost as much to read as clear ones."""

    cache: Literal["auto", "always"] = "auto"
    """``auto`` keeps windows of remote assets in the workspace and reads local files in place; ``always`` keeps local ones too."""

    requests: Requests = Requests()

    @property
    def of_30_m(self) -> bool:
        """Whether the API gives images of 30 m, HLS or Landsat: then all work is done on 30 m."""
        return _kind(self.api, self.collection) is not None

    @model_validator(mode="after")
    def _one_of_three(self) -> "Source":
        if sum(given is not None for given in (self.catalog, self.api, self.folder)) != 1:
            raise ValueError("give exactly one of catalog, api, folder")
        plain = {name for name in ("order", "scale", "offset", "nodata") if getattr(self, name) is not None}
        if self.pattern is None and plain:
            raise ValueError(f"{', '.join(sorted(plain))} are for plain GeoTIFFs: give pattern, such as '{{date}}_{{band}}.tif'")
        if self.pattern is not None and self.folder is None:
            raise ValueError("pattern tells what the names in a folder mean: give folder")
        if self.pattern is not None and ("{band}" in self.pattern) == (self.order is not None):
            raise ValueError(f"pattern {self.pattern!r} names no {{band}}: give the files' bands in order, or {{band}} in the pattern")
        return self


DEFAULTS_30_M: dict[str, dict[str, Any]] = {
    # Bit 2 of Fmask and bit 1 of qa_pixel already reach beyond the clouds.
    "hls": {"bands": list(HLS_BANDS), "mask": {"asset": "Fmask", "bits": [1, 2, 3], "dilate": "0 m"}},
    "landsat": {"bands": list(HLS_BANDS), "mask": {"asset": "qa_pixel", "bits": [0, 1, 2, 3, 4], "dilate": "0 m"}},
}
"""Bands and mask of the sensors of 30 m. qa_pixel: fill, dilated cloud, cirrus, cloud, shadow."""


def _kind(api: Any, collection: Any) -> str | None:
    """Return which sensor of 30 m an API's collection is of, None where it is of none."""
    name = str(collection or api).lower() if api else ""
    return next((kind for kind in DEFAULTS_30_M if name.startswith(kind)), None)


class Mask(Section):
    """Which observations are dropped."""

    method: Literal["asset", "s2cloudless"] = "asset"
    """``s2cloudless`` finds clouds itself, by a classifier of pixels on ten bands of Level-1C, B10 among them (package s2cloudless). It
    sees no shadows; the second look finds them in part."""

    threshold: float = Field(0.4, gt=0, lt=1)
    """Cloud probability of s2cloudless from which a pixel is cloud; its authors' default."""

    asset: str = SCL
    drop: list[int] = [0, 1, 3, 8, 9, 10]
    """No data, saturated, cloud shadow, cloud (medium, high), cirrus; not 2 and 7 (they hit dark conifers and water) nor 11 (snow)."""

    bits: list[Annotated[int, Field(ge=0, le=15)]] | None = None
    """Of a bit mask such as HLS's Fmask (1 cloud, 2 beside cloud, 3 shadow, 4 snow, 5 water) or Landsat's qa_pixel, which has 16 bits:
    a pixel with any of these bits is dropped. In place of ``drop``."""

    dilate: Length = Field(60.0, validate_default=True)
    """Cloud edges and shadows reach beyond what SCL marks; 60 m is three of its 20 m pixels."""

    @property
    def codes(self) -> list[int]:
        """Codes that are dropped: ``drop``, or every number of the mask with one of ``bits``."""
        if self.bits is None:
            return self.drop
        width = 16 if self.asset.lower().startswith("qa_") or max(self.bits, default=0) > 7 else 8
        return [code for code in range(2**width) if any(code >> bit & 1 for bit in self.bits)]

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that the method reads."""
        return CLOUDLESS_BANDS if self.method == "s2cloudless" else ()

    @model_validator(mode="after")
    def _bits_or_codes(self) -> "Mask":
        of_assets = sorted({"asset", "drop", "bits"} & self.model_fields_set)
        if self.method != "asset" and of_assets:
            raise ValueError(f"mask.method {self.method} reads no mask asset: take out {', '.join(of_assets)}")
        if self.bits is not None and "drop" in self.model_fields_set:
            raise ValueError("give mask.drop (codes) or mask.bits (of a bit mask), not both")
        return self


class OldMap(Section):
    """The outdated map that labels come from."""

    uri: str
    year: int | None = None
    """Year that the map shows."""

    crosswalk: str = "corine"
    """``corine``, ``clcplus`` (CLC+ Backbone), ``worldcover``, ``lucas``, ``identity`` or the path of a CSV (code,target)."""

    accuracy: Length | None = None
    """Positional accuracy: polygons are eroded by it. None = 100 m for CORINE, else one pixel of the map."""

    layer: str | None = None
    """Layer of a GeoPackage; None = its first with polygons."""

    column: str | None = None
    """Column that holds the code in a vector map; None = the one that looks most like one (code_18, code, class ...), of
    several years' codes that of ``year``, else the latest."""


class Composite(Section):
    """How a year of observations becomes a regular series."""

    period: Annotated[str, AfterValidator(_check_duration)] = "P1M"
    first_month: int = Field(1, ge=1, le=12)
    """Month in which a year's series begins; other than January it is the twelve months that END in the year: with 12 and ``P3M`` the
    steps are the seasons from December to November, with 9 a year of winter crops."""

    clearest: int | None = Field(None, ge=2, le=73)
    """In place of ``period``: so many of the clearest dates of the year, evenly spread, as they were seen; each keeps its day of year.
    Sentinel-2 passes 73 times a year."""

    method: Literal["median", "medoid", "geomedian"] = "median"
    """``median`` of each band, the fastest; ``medoid``, the observation nearest to all others, and ``geomedian``, their geometric median,
    keep the relations between bands."""

    gaps: Literal["linear", "none"] = "linear"
    outliers: Literal["keep", "drop"] = "drop"
    """``drop`` takes a second look for missed cloud and shadow by the series of each pixel itself, where B02 and B11 are read."""

    @model_validator(mode="after")
    def _regular_or_clearest(self) -> "Composite":
        if self.clearest is not None and "period" in self.model_fields_set:
            raise ValueError(f"give composite.period ({self.period}) or composite.clearest ({self.clearest}), not both")
        return self

    def span(self, year: int) -> Period:
        """Return the twelve months that stand for a year."""
        first = year if self.first_month == 1 else year - 1
        return Period(date(first, self.first_month, 1), date(first + 1, self.first_month, 1))

    def steps(self, year: int) -> int:
        """Return the number of steps of a year."""
        return self.clearest or len(self.span(year).split(self.period))


class Extract(Section):
    """How samples are drawn from the old map."""

    method: Literal["landtide", "vocabulary", "paris", "cleanlab", "som", "ancestor", "raw"] = "landtide"
    """How the old map's labels are cleaned. ``landtide`` gives the best maps of them on simulated worlds (docs/accuracy.md); the others
    are there to be compared with, and for maps whose mistakes suit them."""

    per_class: int = Field(2000, ge=20)
    """Target of samples a class and draw; more add cost and little accuracy to an RBF-SVM."""

    trust: float = Field(0.6, ge=0, le=1)
    """Samples below this trust are not used for training."""

    draws: int = Field(5, ge=1, le=20)
    """Samples are drawn this many times, one classifier each; their vote is the preliminary label."""

    candidates: int = Field(60_000, ge=1000, le=1_000_000)
    """Pixels that receive preliminary labels in the first stage."""

    few: Literal["drop", "stop"] = "drop"
    """What to do with a class that keeps fewer than 10 samples: go on without it and report it, or stop."""


class Model(Section):
    """Which classifier makes the maps; its own settings follow as further keys."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Literal["svm", "forest", "lstm", "tempcnn", "ltae", "transformer", "convlstm", "ensemble"] = "lstm"

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @property
    def two_stage(self) -> bool:
        """Whether it learns from stable samples, which a preliminary SVM ensemble finds; SVM and forest learn from the old map at once."""
        return self.name not in ("svm", "forest")


class Train(Section):
    """Where training runs."""

    backend: Literal["local", "pytorchjob", "trainjob", "job"] = "local"
    """``local``: in the step itself. The others start pods: by the training operator, by Kubeflow Trainer, or as one plain Job."""

    nodes: int = Field(1, ge=1, le=256)
    """Machines; on this machine, torchrun agents beside each other."""

    processes: int = Field(1, ge=1, le=64)
    """Processes a node, each with its part of every batch; on a machine with GPUs, one for each."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    pretrained: str | None = None
    """Weights to start from: manifest (path or URI of ``item.json``) that `landtide pretrain` made. None = random weights."""


class Range(Section):
    """Values that a search may take between two ends."""

    low: float
    high: float
    log: bool = False
    """Whether the search moves by factors, as suits rates."""

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"range {self.low:g} to {self.high:g}: low must be below high, and above 0 where log is true")
        return self


class Tune(Section):
    """How `landtide tune` searches for the settings of the model."""

    trials: int = Field(30, ge=1)
    """Trainings begun; most of them are stopped early."""

    parallel: int = Field(1, ge=1, le=64)
    """Trials at a time: processes on this machine, pods elsewhere."""

    method: Literal["asha", "hyperband", "random"] = "asha"
    """``asha`` stops a trial at a rung unless it is among the best of those that have reached it, and waits for none; ``hyperband`` runs
    several such ladders with other first rungs; ``random`` draws settings and stops nothing. Source: Li et al. 2020, arXiv:1810.05934."""

    first: int = Field(3, ge=1)
    """Passes before the first rung: fewer, and noise decides who goes on."""

    reduction: int = Field(3, ge=2)
    """One in so many goes on to the next rung, which has as many times the passes."""

    budget: int | None = Field(None, ge=1)
    """Passes over the samples in all, after which no new trial begins; None = until ``trials`` are done."""

    space: dict[str, Range | list[int | float | str]] | None = None
    """Settings of the model to search: a range, or a list of values. None = a space of landtide's own for each model."""

    storage: str | None = None
    """Where trials meet: database URL (postgresql://, sqlite:///) or folder; None = a journal of objects in the workspace."""


class Pretrain(Section):
    """What a network learns before it sees a label."""

    method: Literal["contrastive", "masked", "both"] = "both"
    """``contrastive``: to know a pixel again by other dates and, where it is stable, in another year; ``masked``: to tell hidden steps."""

    places: int = Field(20_000, ge=1000)
    """Pixels that are drawn over all tiles, each with all its years."""

    epochs: int = Field(20, ge=1)
    batch: int = Field(512, ge=32)
    """Views are spread over the batch: small ones say little of how."""


class Continual(Section):
    """How a model goes on from an earlier one, and what it may forget."""

    model: str | None = Field(None, alias="from")
    """Manifest of the earlier model (path or URI of its ``item.json``); None = the first of a sequence, which only opens the ledger."""

    method: Literal["finetune", "replay", "ewc", "distill"] = "replay"
    """``finetune`` starts from the earlier weights; ``replay`` also mixes in a reservoir of earlier samples; ``ewc`` holds back the weights
    that mattered, ``distill`` the outputs. Replay is the strongest simple way in the literature."""

    strength: float | None = Field(None, gt=0)
    """Weight of what ``ewc`` and ``distill`` add to the loss; None = 1000 and 1."""

    replay: float = Field(0.05, gt=0, le=1)
    """Share of the earlier samples that go into the reservoir, classes alike; the literature keeps 1 to 5 % a year."""

    decay: float | None = Field(None, gt=0)
    """Years after which a sample counts 1/e as much as one of the last year; None = all count alike."""

    forget: float = Field(0.05, ge=0, le=1)
    """Most accuracy that may be lost on any earlier year, on polygons that no model of the sequence learns from; beyond it the model is
    refused, and what is published stays."""


class Consistency(Section):
    """How the maps of several years are made to agree."""

    method: Literal["none", "hmm"] = "hmm"
    """``hmm`` weighs each year's probabilities by those of the years beside it. On simulated worlds it removes nearly all A-B-A flips and
    loses no accuracy (docs/accuracy.md); a single year stays as it is."""


class Classify(Section):
    """What is written beside label and confidence."""

    probabilities: bool = False
    runtime: Literal["torch", "auto", "openvino"] = "torch"
    """What runs a network: ``openvino`` takes a part of PyTorch's time and gives the same label on 99.5 % of the pixels and more
    (docs/models.md); ``auto`` takes it where it is installed. PyTorch is the default: its maps do not depend on what is installed."""


class Evaluate(Section):
    """What the maps are scored against. None of it reaches training."""

    reference: str | dict[int, str] | None = None
    """Raster of the true classes, for ``year`` or as a table year: path."""

    points: str | None = None
    """Labelled points (Parquet, GeoPackage, CSV)."""

    crosswalk: str = "identity"
    year: int | None = None
    """Year of the reference and of points without a date; None = the last year of the study."""


class Audit(Section):
    """How far `landtide audit` lists the polygons of the old map."""

    most: int = Field(20_000, ge=1)
    """Polygons with an outline in ``audit.gpkg``, the surest first; the CSV lists all. More than an agency reviews in a year."""

    chips: int = Field(60, ge=0, le=500)
    """Polygons with pictures on the page: about 25 kB each, in one file that a browser opens at once."""


class Embeddings(Section):
    """Further channels of each pixel and year, the same at all steps, as a foundation model gives them."""

    rasters: dict[int, str]
    """Year -> raster, on any grid: the nearest pixel counts."""

    bands: int = Field(ge=1, le=1024)
    """Of each raster; the channels are named E001 and so on."""

    scale: float = Field(1.0, gt=0)
    """Value = number in the raster x scale + offset; -3.2767 to 3.2767 can be held, in steps of 0.0001."""

    offset: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"E{number:03d}" for number in range(1, self.bands + 1))


class Study(Section):
    """One study, with every path absolute."""

    name: str
    area: Area
    years: list[int] | YearsFrom
    source: Source
    bands: list[str] = list(DEFAULT_BANDS)
    indices: list[str | dict[str, str]] = []
    """Further bands, computed on the composites: well-known names (NDVI ...), or tables name: formula of bands."""

    embeddings: Embeddings | None = None
    mask: Mask | None = Mask()
    legend: str = "landtide10"
    old_map: OldMap | None = None
    points: str | None = None
    composite: Composite = Composite()
    extract: Extract = Extract()
    model: Model = Model()
    train: Train = Train()
    tune: Tune = Tune()
    continual: Continual | None = None
    pretrain: Pretrain = Pretrain()
    consistency: Consistency = Consistency()
    classify: Classify = Classify()
    evaluate: Evaluate = Evaluate()
    audit: Audit = Audit()
    compute: Compute = Compute()
    runner: Literal["local", "kubernetes"] = "local"
    kubernetes: Kubernetes = Kubernetes()
    hpc: Hpc = Hpc()
    workspace: str = "./work"
    seed: int = Field(7, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_30_m(cls, record: Any) -> Any:
        """Give the bands and the mask that HLS and Landsat have, where they are not asked for."""
        source = record.get("source") if isinstance(record, dict) else None
        kind = _kind(source.get("api"), source.get("collection")) if isinstance(source, dict) else None
        return {**DEFAULTS_30_M[kind], **record} if kind is not None else record

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        if re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", self.name) is None:
            raise ValueError(f"name {self.name!r} becomes part of paths: use lower-case letters, digits, '-', '_' and '.'")
        if self.old_map is None and self.points is None:
            raise ValueError("give old_map, points or both: without either there is no label to learn from")
        if isinstance(self.years, list):
            if not self.years or len(set(self.years)) != len(self.years):
                raise ValueError(f"years {self.years} must be a list of different years")
            early = [year for year in self.years if year < FIRST_YEAR]
            if early:
                raise ValueError(f"years {early} lie before Sentinel-2, whose first images are of {FIRST_YEAR}")
            without = [year for year in self.years if self.embeddings and year not in self.embeddings.rasters]
            if without:
                raise ValueError(f"embeddings.rasters lacks {', '.join(map(str, without))}: every year of the study needs its own")
        ids = list(self.channels)
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice or not ids:
            raise ValueError(f"bands and indices must name each channel once, and at least one (twice: {', '.join(twice) or 'none'})")
        for index in self.index_list:
            strange = [name for name in index.bands if not is_reflectance(name) and name not in self.stored_bands]
            if strange:
                raise ValueError(f"index {index.name}: {', '.join(strange)} is no band of Sentinel-2 and not among `bands`")
        return self

    @property
    def index_list(self) -> tuple[Index, ...]:
        """The indices with their formulas."""
        return read_indices(self.indices)

    @property
    def band_ids(self) -> tuple[str, ...]:
        """ESA ids of the bands that are read: the study's, in its order, then those that only an index or the mask needs."""
        needed = (name for index in self.index_list for name in index.bands)
        return tuple(dict.fromkeys([*self.stored_bands, *needed, *(self.mask.bands if self.mask else ())]))

    @property
    def stored_bands(self) -> tuple[str, ...]:
        """ESA ids of `bands`: those of the bands read that are channels themselves."""
        return tuple(band_id(name) for name in self.bands)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of every array: the bands in the study's order, the indices, then the embeddings."""
        return (*self.stored_bands, *(index.name for index in self.index_list), *(self.embeddings.names if self.embeddings else ()))

    @property
    def default_mask(self) -> bool:
        """Whether the mask is the default and was not asked for: then a catalog without SCL is read unmasked, with a warning."""
        return "mask" not in self.model_fields_set

    def all_years(self) -> list[int]:
        """Return the years in order. ``years: {from: ...}`` has been settled by `parse_study`."""
        assert isinstance(self.years, list)
        return sorted(self.years)


PATHS = (
    ("source", "catalog"),
    ("source", "folder"),
    ("area", "geojson"),
    ("embeddings", "rasters"),
    ("old_map", "uri"),
    ("old_map", "crosswalk"),
    ("evaluate", "reference"),
    ("evaluate", "points"),
    ("evaluate", "crosswalk"),
    ("continual", "from"),
    ("train", "pretrained"),
    (None, "points"),
    (None, "legend"),
    (None, "workspace"),
)
"""Every key of the study that may hold a path: section, key."""

NAMES = {"corine", "clcplus", "worldcover", "lucas", "identity", "landtide10", "landtide9", "landtide8"}
"""Values of those keys that name a table of landtide's own and are no path."""


def parse_study(text: str, folder: str, today: date | None, overrides: dict[str, Any] | None = None) -> Study:
    """Read a study from YAML text.

    folder     the study file's folder (path or URI): relative paths start there, ``{catalog}`` is the catalog's folder
    today      settles ``years: {from: ...}``: the last year is the last that is over; None leaves them open, for a recurring run
    overrides  values by dotted key (``workspace``, ``model.name``), laid over the text

    Raises InputError with one line: the key, the value, and the nearest known key where the key is unknown.
    """
    try:
        record = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"study file is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(record, dict):
        raise InputError("study file is empty or no table of keys: start with `name:`, `area:`, `years:`, `source:`")
    for key, value in (overrides or {}).items():
        _set(record, key, value)
    _resolve_paths(record, folder)
    if today is not None:
        _settle_years(record, today)
    return _validated(record)


def settle(study: Study, today: date) -> Study:
    """Return a study whose years are a list: ``{from: ...}`` reaches up to the last year that is over."""
    record = study.model_dump(mode="json", by_alias=True, exclude_unset=True)
    _settle_years(record, today)
    return _validated(record)


def _validated(record: dict[str, Any]) -> Study:
    try:
        return Study.model_validate(record)
    except ValidationError as error:
        raise InputError(f"study file: {_first_line(error)}") from None


def _set(record: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        record = record.setdefault(section, {})
    record[last] = value


def _resolve_paths(record: dict[str, Any], folder: str) -> None:
    """Make every path absolute, in place."""
    source = record.get("source")
    catalog = source.get("catalog") if isinstance(source, dict) else None
    home = str(_absolute(str(catalog), folder)).rsplit("/", 1)[0] if catalog else folder

    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: resolve(item) for key, item in value.items()}
        if not isinstance(value, str) or value in NAMES:
            return value
        return _absolute(value.replace("{catalog}", home), folder)

    for section, key in PATHS:
        table = record.get(section) if section else record
        if isinstance(table, dict) and table.get(key) is not None:
            table[key] = resolve(table[key])
    record.setdefault("workspace", _absolute("./work", folder))


def _absolute(path: str, folder: str) -> str:
    if re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]*://", path):
        return path.removeprefix("file://") if path.startswith("file://") else path
    if path.startswith("/"):
        return path
    scheme, _, rest = folder.rpartition("://")
    parts: list[str] = []
    for part in PurePosixPath(rest, path).parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return (f"{scheme}://" if scheme else "") + str(PurePosixPath(*parts))


def _settle_years(record: dict[str, Any], today: date) -> None:
    years = record.get("years")
    if isinstance(years, dict) and isinstance(years.get("from"), int) and len(years) == 1:
        if not FIRST_YEAR <= years["from"] < today.year:
            raise InputError(
                f"study file: years: from {years['from']} must lie in {FIRST_YEAR}..{today.year - 1}: "
                "only years that are over can be mapped"
            )
        record["years"] = list(range(years["from"], today.year))


def _first_line(error: ValidationError) -> str:
    """Put the most telling of pydantic's errors into one line."""
    errors = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function-", "list[", "YearsFrom", "dict[")))
    if first["type"] == "extra_forbidden":
        parent, _, key = where.rpartition(".")
        known = _known_keys(parent)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        return f"unknown key {where!r}; nearest known key: {near[0] if near else 'none'!r} (known here: {', '.join(sorted(known))})"
    if first["type"] == "missing":
        return f"key {where!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    shown = "" if isinstance(given, dict | BaseModel) else f" (given: {given!r})"
    return f"{where + ': ' if where else ''}{message}{shown}"


def _known_keys(section: str) -> list[str]:
    model: Any = Study
    for part in filter(None, section.split(".")):
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((option for option in options if isinstance(option, type) and issubclass(option, Section)), Study)
    return [field.alias or name for name, field in model.model_fields.items()]
