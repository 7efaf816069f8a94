"""Tables: the sub-classes of each land cover, their phenology and the reflectance of what they are made of."""

from dataclasses import dataclass

from landtide.core.bands import DEFAULT_BANDS
from landtide.simulate.landscape import BROADLEAF, CONIFER, CROP, GRASS, IRRIGATED, MINERAL, SHRUB, SNOW, URBAN, WATER

BANDS = DEFAULT_BANDS
"""Channels of every spectrum here, in order."""

# Reflectance in the order of BANDS. Shapes after the usual spectral libraries (leaf, soil, mineral, snow); levels as in Level-2A.
ENDMEMBERS = {
    "grass": (0.030, 0.070, 0.036, 0.108, 0.295, 0.380, 0.405, 0.425, 0.225, 0.115),
    "crop": (0.026, 0.065, 0.030, 0.098, 0.320, 0.430, 0.455, 0.470, 0.210, 0.100),
    "maize": (0.024, 0.062, 0.029, 0.094, 0.300, 0.390, 0.415, 0.430, 0.195, 0.090),
    "rape_flower": (0.045, 0.125, 0.115, 0.180, 0.320, 0.400, 0.425, 0.440, 0.230, 0.120),
    "broadleaf": (0.022, 0.050, 0.024, 0.082, 0.255, 0.330, 0.350, 0.368, 0.168, 0.076),
    "conifer": (0.018, 0.034, 0.019, 0.050, 0.135, 0.168, 0.180, 0.190, 0.092, 0.045),
    "shrub": (0.026, 0.056, 0.032, 0.090, 0.228, 0.288, 0.306, 0.322, 0.190, 0.095),
    "heath": (0.030, 0.052, 0.044, 0.088, 0.165, 0.200, 0.214, 0.230, 0.185, 0.110),
    "soil_dark": (0.055, 0.075, 0.092, 0.112, 0.126, 0.137, 0.148, 0.160, 0.210, 0.180),
    "soil_bright": (0.095, 0.130, 0.170, 0.200, 0.214, 0.228, 0.245, 0.258, 0.335, 0.295),
    "straw": (0.070, 0.108, 0.146, 0.185, 0.212, 0.236, 0.260, 0.285, 0.345, 0.260),
    "litter": (0.038, 0.054, 0.066, 0.088, 0.108, 0.124, 0.138, 0.154, 0.205, 0.150),
    "clear": (0.040, 0.035, 0.022, 0.018, 0.014, 0.012, 0.010, 0.009, 0.006, 0.004),
    "turbid": (0.075, 0.092, 0.082, 0.074, 0.048, 0.045, 0.040, 0.034, 0.012, 0.008),
    "algae": (0.042, 0.066, 0.040, 0.058, 0.044, 0.046, 0.040, 0.036, 0.012, 0.008),
    "asphalt": (0.082, 0.092, 0.102, 0.112, 0.118, 0.125, 0.132, 0.138, 0.160, 0.152),
    "tile": (0.076, 0.100, 0.150, 0.190, 0.208, 0.224, 0.236, 0.248, 0.290, 0.265),
    "concrete": (0.160, 0.185, 0.205, 0.220, 0.228, 0.236, 0.246, 0.252, 0.285, 0.262),
    "metal": (0.240, 0.255, 0.265, 0.275, 0.282, 0.290, 0.298, 0.302, 0.290, 0.255),
    "limestone": (0.185, 0.220, 0.250, 0.270, 0.280, 0.288, 0.296, 0.302, 0.335, 0.305),
    "granite": (0.112, 0.132, 0.150, 0.166, 0.174, 0.182, 0.190, 0.197, 0.235, 0.222),
    "gravel": (0.130, 0.160, 0.188, 0.208, 0.218, 0.228, 0.238, 0.246, 0.290, 0.268),
    "fresh_snow": (0.86, 0.85, 0.83, 0.82, 0.81, 0.79, 0.76, 0.73, 0.12, 0.09),
    "old_snow": (0.62, 0.60, 0.57, 0.54, 0.50, 0.46, 0.41, 0.37, 0.05, 0.04),
}


@dataclass(frozen=True)
class SubClass:
    """One phenology of a class; days are days of the year at the valley's height in a mean year."""

    share: float
    """Of the class's patches."""

    leaf: str
    """Endmember that covers the ground where it is green, or the surface itself where nothing grows."""

    ground: str
    """Endmember under and between the plants."""

    low: float
    """Cover of ``leaf`` out of season."""

    high: float
    """Cover of ``leaf`` in season."""

    rise: float = 110
    """Day of half green-up."""

    fall: float = 285
    """Day of half senescence or harvest."""

    pace: float = 8
    """Days: how gradual green-up is; senescence takes as long."""

    second: tuple[float, float, float] | None = None
    """A second growth in the year: cover, day of rise, day of fall."""

    straw: float = 0.0
    """Cover of dead matter after the fall, until ``till``."""

    till: float = 400
    """Day on which the dead matter is gone."""

    cuts: tuple[float, ...] = ()
    """Days of mowing."""

    flower: tuple[str, float, float] | None = None
    """Endmember in bloom, its day and half-width."""

    flood: tuple[float, float] | None = None
    """First and last day under water (rice)."""

    thirst: float = 0.0
    """How much of the summer's cover a dry year takes."""


SUBCLASSES: dict[int, tuple[SubClass, ...]] = {
    URBAN: (
        SubClass(0.34, "asphalt", "grass", 0.88, 0.88),
        SubClass(0.34, "tile", "grass", 0.80, 0.80),
        SubClass(0.22, "concrete", "soil_bright", 0.86, 0.86),
        SubClass(0.10, "metal", "asphalt", 0.75, 0.75),
    ),
    GRASS: (
        SubClass(0.32, "grass", "soil_dark", 0.58, 0.88, 88, 305, 14, cuts=(148, 205, 262), thirst=0.25),
        SubClass(0.36, "grass", "straw", 0.45, 0.80, 96, 300, 16, thirst=0.35),
        SubClass(0.20, "grass", "straw", 0.25, 0.72, 112, 262, 14, thirst=0.45),
        SubClass(0.12, "grass", "litter", 0.40, 0.84, 100, 290, 14, cuts=(182,), thirst=0.3),
    ),
    CROP: (
        SubClass(0.36, "crop", "soil_bright", 0.28, 0.90, 92, 178, 8, (0.30, 300, 480), 0.6, 245, thirst=0.1),
        SubClass(0.14, "crop", "soil_dark", 0.34, 0.90, 84, 176, 8, (0.45, 285, 480), 0.4, 225, flower=("rape_flower", 122, 11)),
        SubClass(0.20, "maize", "soil_bright", 0.05, 0.80, 164, 252, 8, straw=0.4, till=300, thirst=0.45),
        SubClass(0.16, "crop", "soil_bright", 0.06, 0.84, 122, 200, 8, straw=0.5, till=260, thirst=0.2),
        SubClass(0.14, "crop", "soil_dark", 0.12, 0.72, 118, 205, 10, (0.55, 250, 345), 0.3, 240, thirst=0.3),
    ),
    IRRIGATED: (
        SubClass(0.48, "maize", "soil_dark", 0.05, 0.92, 160, 268, 8, straw=0.4, till=310),
        SubClass(0.20, "crop", "clear", 0.03, 0.88, 182, 264, 9, straw=0.4, till=320, flood=(125, 178)),
        SubClass(0.18, "crop", "soil_dark", 0.10, 0.85, 140, 262, 9, straw=0.2, till=290),
        SubClass(0.14, "maize", "soil_bright", 0.22, 0.88, 172, 262, 8, (0.35, 72, 142), 0.3, 300),
    ),
    MINERAL: (
        SubClass(0.32, "limestone", "grass", 0.90, 0.90),
        SubClass(0.34, "granite", "heath", 0.86, 0.86),
        SubClass(0.34, "gravel", "soil_bright", 0.80, 0.80),
    ),
    BROADLEAF: (
        SubClass(0.40, "broadleaf", "litter", 0.14, 0.93, 116, 298, 8),
        SubClass(0.34, "broadleaf", "litter", 0.18, 0.88, 130, 288, 9),
        SubClass(0.16, "broadleaf", "grass", 0.22, 0.86, 106, 302, 11, thirst=0.15),
        SubClass(0.10, "broadleaf", "conifer", 0.45, 0.82, 120, 292, 10),
    ),
    CONIFER: (
        SubClass(0.52, "conifer", "litter", 0.90, 0.96, 130, 300, 20),
        SubClass(0.28, "conifer", "grass", 0.76, 0.84, 130, 300, 20),
        SubClass(0.20, "conifer", "litter", 0.35, 0.88, 126, 300, 10),  # larch drops its needles
    ),
    SHRUB: (
        SubClass(0.36, "shrub", "grass", 0.42, 0.86, 118, 294, 12, thirst=0.15),
        SubClass(0.34, "heath", "litter", 0.60, 0.82, 125, 290, 20, thirst=0.2),
        SubClass(0.30, "shrub", "litter", 0.26, 0.84, 120, 292, 11, thirst=0.1),
    ),
    WATER: (
        SubClass(0.50, "clear", "turbid", 0.85, 0.85),
        SubClass(0.25, "turbid", "clear", 0.75, 0.75),
        SubClass(0.25, "clear", "algae", 0.75, 0.35, 170, 265, 14),
    ),
    SNOW: (
        SubClass(0.6, "fresh_snow", "old_snow", 0.95, 0.20, 172, 262, 14),
        SubClass(0.4, "fresh_snow", "granite", 0.95, 0.58, 180, 258, 14),
    ),
}

TEXTURE = {
    URBAN: 0.20,
    GRASS: 0.07,
    CROP: 0.06,
    IRRIGATED: 0.06,
    MINERAL: 0.13,
    BROADLEAF: 0.10,
    CONIFER: 0.13,
    SHRUB: 0.12,
    WATER: 0.10,
    SNOW: 0.06,
}
"""Standard deviation of brightness between pixels of one patch."""

MIXTURE = {
    URBAN: 0.12,
    GRASS: 0.10,
    CROP: 0.09,
    IRRIGATED: 0.09,
    MINERAL: 0.12,
    BROADLEAF: 0.09,
    CONIFER: 0.09,
    SHRUB: 0.12,
    WATER: 0.12,
    SNOW: 0.12,
}
"""Standard deviation of the share of leaf against ground between pixels of one patch."""


NEIGHBOURS = {
    URBAN: (MINERAL, GRASS),
    GRASS: (CROP, SHRUB),
    CROP: (GRASS, IRRIGATED),
    IRRIGATED: (CROP, GRASS),
    MINERAL: (URBAN, GRASS),
    BROADLEAF: (SHRUB, CONIFER),
    CONIFER: (BROADLEAF, SHRUB),
    SHRUB: (BROADLEAF, GRASS),
    WATER: (WATER, WATER),
    SNOW: (MINERAL, SNOW),
}
"""The classes that a class's patches are blended with."""
