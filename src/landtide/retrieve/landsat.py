"""Landsat Collection 2 Level-2: surface reflectance of USGS, whose numbers have a scale and an offset of their own.

Source: USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619), section on scale factors.
"""

import re

import pystac

PRODUCT = re.compile(r"L[COTE]0[4-9]_L2S[PR]_\d{6}_\d{8}_(?:\d{8}_)?02_(?:T1|T2|RT)")

SCALE = 2.75e-5
OFFSET = -0.2


def is_level2(item: pystac.Item) -> bool:
    """Say whether an item is of Landsat Collection 2 Level-2."""
    return PRODUCT.match(item.id) is not None
