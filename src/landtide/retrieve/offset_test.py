"""Whether the baseline offset is in the pixels, seen in dark clear vegetation and in how the same pixels look on other dates."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

OFFSET = 0.1
"""Reflectance that the baseline adds before its offset is taken off."""

CONTRAST = 0.15
"""Near infrared minus red above which a pixel is vegetated; a difference, so an offset in both does not move it."""

DARK_RED = 0.085
"""With the offset inside, clear vegetation below this had a red reflectance under -0.015, which no atmospheric correction gives
over whole stands. Without it, dense vegetation lies at 0.02 to 0.06."""

DARK_WATER = 0.07
"""The same for blue and red over any clear surface: deep shadow and water may be over-corrected by 0.03, not by more."""

BRIGHTEST_DARK = 0.18
"""With the offset inside, the darkest of many clear vegetated pixels lie below this; above it a cloud or haze covers all."""

FEW = 50
"""Pixels; fewer say nothing."""

SHARE = 0.1
"""Share of the vegetated (or clear) pixels that must be dark: single ones may be shadow or noise."""

SAME = 0.02
"""Reflectance by which the same clear vegetation may differ between near dates in blue and red, and in spread.
Haze of 0.1 varies by more than this over an image, an offset by nothing."""

SHIFT = 0.02
"""Tolerance around the offset for the shift between a date with it and one without."""

NEIGHBOURS = 6

Answer = Literal["present", "absent", "undecided"]


@dataclass(frozen=True)
class Look:
    """One acquisition seen coarsely on the tile: reflectance without any offset applied, NaN where missing or masked."""

    id: str
    day: float
    """Days since any fixed date."""

    blue: np.ndarray
    """(h, w) float32, B02 times its scale."""

    red: np.ndarray
    nir: np.ndarray

    @property
    def vegetated(self) -> np.ndarray:
        """(h, w) bool."""
        return np.asarray(np.isfinite(self.red) & (self.nir - self.red > CONTRAST))


@dataclass(frozen=True)
class Verdict:
    """What the pixels say, and why."""

    answer: Answer
    evidence: str


UNSEEN = Verdict("undecided", "pixels not looked at")


def offset_in_pixels(looks: list[Look], *, masked: bool) -> list[Verdict]:
    """Say for each acquisition of one tile whether its digital numbers still hold the baseline offset.

    ``absent`` needs dark clear vegetation, or dark surfaces in blue and red: a cloud only brightens, so it cannot feign them.
    ``present`` needs vegetation that is nowhere dark, and other dates that confirm it on the same pixels: one that is surely without
    the offset and lower by it evenly in blue and red (two, where no cloud mask has taken haze away), or two that are alike.
    A single bright date may be haze: undecided.
    """
    first = [_alone(look) for look in looks]
    enough = 1 if masked else 2
    return [verdict if verdict is not None else _compared(index, looks, first, enough) for index, verdict in enumerate(first)]


def _alone(look: Look) -> Verdict | None:
    """Return a verdict that needs no other date: absent or undecided; None = perhaps present."""
    clear = np.isfinite(look.red) & np.isfinite(look.nir)
    vegetated = look.vegetated
    count = int(vegetated.sum())
    share = float(np.mean(look.red[vegetated] < DARK_RED)) if count else 0.0
    if count >= FEW and share >= SHARE:
        return Verdict("absent", f"red below {DARK_RED} in {share:.0%} of {count} clear vegetated pixels")
    dark = int((clear & (look.blue < DARK_WATER) & (look.red < DARK_WATER)).sum())
    if dark >= max(FEW, SHARE * clear.sum()):
        return Verdict("absent", f"blue and red below {DARK_WATER} in {dark} of {int(clear.sum())} clear pixels")
    if count < FEW:
        return Verdict("undecided", f"{count} clear vegetated pixels")
    darkest = (
        [float(np.nanquantile(band[vegetated], 0.05)) for band in (look.blue, look.red)] if np.isfinite(look.blue[vegetated]).any() else []
    )
    if not darkest or not all(OFFSET - 0.01 <= value <= BRIGHTEST_DARK for value in darkest):
        return Verdict("undecided", "clear vegetation neither dark nor evenly brightened")
    return None


def _compared(index: int, looks: list[Look], first: list[Verdict | None], enough: int) -> Verdict:
    """Return the verdict on an acquisition that may hold the offset, by the nearest dates that show the same vegetation."""
    look = looks[index]
    others = [other for other in range(len(looks)) if other != index and (first[other] is None or _answer(first[other]) == "absent")]
    others.sort(key=lambda other: abs(looks[other].day - look.day))
    alike, above = 0, []
    for other in others[:NEIGHBOURS]:
        shift = _even_shift(look, looks[other])
        if shift is None:
            continue
        if first[other] is None:
            alike += abs(shift) < SAME
        elif abs(shift - OFFSET) < SHIFT:
            above.append(looks[other].id)
    if len(above) >= enough:
        return Verdict("present", f"vegetation evenly about {OFFSET} above {above[0]}")
    if alike >= 2:
        return Verdict("present", f"vegetation nowhere dark, and the same on {alike} near dates")
    return Verdict("undecided", "bright vegetation that no other date confirms")


def _answer(verdict: Verdict | None) -> Answer | None:
    return verdict.answer if verdict is not None else None


def _even_shift(one: Look, other: Look) -> float | None:
    """Return by how much vegetation seen on two dates differs, where it does so alike in blue and red and all over the image."""
    common = one.vegetated & other.vegetated & np.isfinite(one.blue) & np.isfinite(other.blue)
    if common.sum() < FEW:
        return None
    shifts = []
    for name in ("blue", "red"):
        low, middle, high = np.quantile(getattr(one, name)[common] - getattr(other, name)[common], (0.16, 0.5, 0.84))
        if (high - low) / 2 > SAME:
            return None
        shifts.append(float(middle))
    return sum(shifts) / 2 if abs(shifts[0] - shifts[1]) < SHIFT else None
