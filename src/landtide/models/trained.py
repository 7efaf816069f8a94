"""A trained model: what classify asks of it, and how the years of a pixel are handed to its scorer."""

from dataclasses import dataclass
from typing import Literal, Protocol, cast, runtime_checkable

import numpy as np

from landtide.core.errors import LandtideError
from landtide.core.legend import Legend
from landtide.models.card import Card, standardise

Across = Literal["separate", "carried", "window"]
"""How the years of a pixel are told from each other: each for itself; in their order, with a state handed on; by windows of a year's length
that are shifted along all years."""


class SequenceModel(Protocol):
    """What classify asks of a model."""

    @property
    def name(self) -> str: ...
    @property
    def legend(self) -> Legend: ...
    @property
    def bands(self) -> tuple[str, ...]: ...
    @property
    def steps(self) -> int: ...
    @property
    def classes_seen(self) -> list[int]: ...
    @property
    def prior(self) -> np.ndarray: ...
    @property
    def id(self) -> str: ...
    @property
    def across(self) -> Across: ...
    @property
    def state_width(self) -> int: ...
    @property
    def halo(self) -> int | None: ...
    def image(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (K, H, W) class probabilities of one year's images and the state at its end; see `TrainedModel.image`."""

    def advance(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (N, K) class probabilities of the next year and the state at its end; see `TrainedModel.advance`."""

    def predict_proba(self, x: np.ndarray, doy: np.ndarray, year: np.ndarray) -> np.ndarray:
        """Return (N, Y, K) float32 class probabilities a year, summing to 1.

        x     (N, Y*T, C) float32 reflectance or index, NaN = missing
        doy   (N, Y*T) int16 day of year
        year  (N, Y*T) int16
        """


class Scorer(Protocol):
    """The part of a model that differs between architectures."""

    def probability(self, x: np.ndarray, doy: np.ndarray) -> np.ndarray:
        """Return (N, K) float32 from standardised series (N, T, C), NaN = missing, and days of year (N, T)."""

    def files(self) -> dict[str, bytes]:
        """Return what must be stored beside model.json."""


@runtime_checkable
class Carrier(Protocol):
    """A scorer that hands a state from year to year."""

    @property
    def width(self) -> int:
        """S, the values of a state."""

    def advance(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, K) float32 of one year and the state (N, S) at its end."""


@runtime_checkable
class Imager(Protocol):
    """A scorer that reads what stands around a pixel."""

    @property
    def halo(self) -> int: ...
    def image(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return (K, H, W) float32 of one year (T, C, H, W) and the state (S, H, W) at its end."""


@dataclass(frozen=True)
class TrainedModel:
    """A `SequenceModel`: a card and the scorer that it describes."""

    card: Card
    scorer: Scorer
    id: str
    """16 hex digits over card and weights."""

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def legend(self) -> Legend:
        return self.card.legend

    @property
    def bands(self) -> tuple[str, ...]:
        return self.card.bands

    @property
    def steps(self) -> int:
        return self.card.steps

    @property
    def classes_seen(self) -> list[int]:
        return list(self.card.classes_seen)

    @property
    def across(self) -> Across:
        return cast(Across, self.card.settings.get("years", "separate"))

    @property
    def state_width(self) -> int:
        """Values of the state that is kept for each pixel, to be carried or because whole images are read; 0 = none."""
        kept = self.across == "carried" or self.halo is not None
        return self.scorer.width if kept and isinstance(self.scorer, Carrier) else 0

    @property
    def prior(self) -> np.ndarray:
        """(K,) effective class shares in training."""
        return np.asarray(self.card.prior, np.float64)

    def predict_proba(self, x: np.ndarray, doy: np.ndarray, year: np.ndarray) -> np.ndarray:
        """Return (N, Y, K) float32 class probabilities a year; a year without any observation gets equal shares of the classes seen.

        x     (N, Y*T, C) float32 reflectance or index, NaN = missing
        doy   (N, Y*T) int16 day of year
        year  (N, Y*T) int16; each run of T steps must be of one year

        Raises LandtideError where the shapes are not those that the model was trained for.
        """
        length, channels = x.shape[1:]
        self._check(length, channels, year)
        if self.across == "window":
            return self._windows(x, doy)
        shares, state = [], None
        for start in range(0, length, self.steps):
            span = slice(start, start + self.steps)
            share, state = self.advance(x[:, span], doy[:, span], state)
            shares.append(share)
        return np.stack(shares, axis=1)  # Y x (N, K) -> (N, Y, K)

    def advance(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (N, K) float32 class probabilities of one year and the state (N, S) float32 at its end, None where none is carried.

        x      (N, T, C) float32, NaN = missing; a row without any observation gets equal shares, and keeps its state
        state  at the end of the year before; None = there was none
        """
        series = standardise(x, self.card.mean, self.card.std)
        seen = np.flatnonzero(~np.isnan(series).all(axis=(1, 2)))
        result = np.zeros((len(x), len(self.legend)), np.float32)
        result[:, np.asarray(self.card.classes_seen) - 1] = 1 / len(self.card.classes_seen)
        if self.across != "carried":
            if 0 < seen.size == len(x):
                result = self.scorer.probability(series, doy)  # without a copy of the series
            elif seen.size:
                result[seen] = self.scorer.probability(series[seen], doy[seen])
            return result, None
        assert isinstance(self.scorer, Carrier)
        if state is None:
            state = np.zeros((len(x), self.scorer.width), np.float32)
        after = state.copy()
        if seen.size:
            result[seen], after[seen] = self.scorer.advance(series[seen], doy[seen], state[seen])
        return result, after

    @property
    def halo(self) -> int | None:
        """Pixels around a window that reach its classes within a year; None where pixels are classified alone."""
        halo = getattr(self.scorer, "halo", None)
        return None if halo is None else int(halo)

    def image(self, x: np.ndarray, doy: np.ndarray, state: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (K, H, W) float32 class probabilities of one year's images, and the state (S, H, W) at its end, None = none is carried.

        x      (T, C, H, W) float32, NaN = missing
        doy    (T,)
        state  at the end of the year before; None = there was none

        A pixel without any observation gets equal shares and keeps its state.
        """
        assert isinstance(self.scorer, Imager)
        scaled = standardise(x.transpose(0, 2, 3, 1), self.card.mean, self.card.std).transpose(0, 3, 1, 2)
        share, after = self.scorer.image(scaled, doy, state if self.across == "carried" else None)
        blind = np.isnan(x).all(axis=(0, 1))
        even = np.isin(np.arange(len(self.legend)) + 1, self.card.classes_seen) / np.float32(len(self.card.classes_seen))
        share[:, blind] = even[:, None]
        return share, after if self.across == "carried" else None

    def _windows(self, x: np.ndarray, doy: np.ndarray) -> np.ndarray:
        """Return (N, Y, K): for each year the mean posterior of the windows that touch it, weighted by the steps that they share with it.

        Windows begin every ``stride`` steps; a window without any observation says nothing.
        Source: Sedona et al. 2023, doi:10.1109/LGRS.2023.3329428 (windows shifted along the years of a series).
        """
        count, length, _ = x.shape
        total = np.zeros((count, length // self.steps, len(self.legend)), np.float32)
        weight = np.zeros((count, length // self.steps, 1), np.float32)
        for start in range(0, length - self.steps + 1, int(self.card.settings["stride"])):
            span = slice(start, start + self.steps)
            share, _ = self.advance(x[:, span], doy[:, span])
            told = ~np.isnan(x[:, span]).all(axis=(1, 2))[:, None]
            for year, shared in overlaps(start, self.steps):
                total[:, year] += np.where(told, shared * share, 0)
                weight[:, year] += shared * told
        empty = self.advance(np.full_like(x[:1, : self.steps], np.nan), doy[:1, : self.steps])[0]
        return np.where(weight > 0, total / np.maximum(weight, 1), empty)

    def _check(self, length: int, channels: int, year: np.ndarray) -> None:
        if channels != len(self.bands) or length % self.steps or not length:
            raise LandtideError(
                f"model {self.name} {self.id} takes whole years of {self.steps} steps and bands {', '.join(self.bands)}; "
                f"it was given {length} steps of {channels} bands"
            )
        parts = year.reshape(-1, self.steps)
        if (parts != parts[:, :1]).any():
            raise LandtideError(f"model {self.name} takes series whose years have {self.steps} steps each; a given year is cut elsewhere")


def overlaps(start: int, steps: int) -> list[tuple[int, int]]:
    """Return which years a window of one year's length shares steps with, and how many: one, or two neighbours."""
    year, late = divmod(start, steps)
    return [(year, steps - late), (year + 1, late)] if late else [(year, steps)]
