"""Folders of images as catalogs: Sentinel-2 products as they were downloaded, or plain GeoTIFFs with dates in their names."""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pystac

from landtide.core.errors import InputError
from landtide.core.study import Source
from landtide.io import archive, storage
from landtide.retrieve import safe, series

LEVEL_1C = "MTD_MSIL1C.xml"


@dataclass(frozen=True)
class Listing:
    """What a folder holds."""

    items: tuple[pystac.Item, ...]
    broken: tuple[tuple[str, str], ...]
    """Name and reason of each product that cannot be used."""


def listing(source: Source) -> Listing:
    """Return the items of a folder, read once a process.

    Raises InputError where the folder is missing or holds nothing that can be used.
    """
    assert source.folder is not None
    if source.pattern is not None:
        return Listing(series.read_series(source), ())
    return _products(source.folder)


@lru_cache(maxsize=4)
def _products(folder: str) -> Listing:
    path = storage.local_path(folder)
    if path is not None and not path.is_dir():
        raise InputError(f"source.folder {folder} does not exist: correct its path in the study file")
    items: list[pystac.Item] = []
    broken: list[tuple[str, str]] = []
    names = list(storage.walk(folder))
    for product in _found(folder, names, broken):
        try:
            items.append(safe.product_item(product))
        except safe.BrokenProductError as error:
            broken.append((product.name, str(error)))
        except zipfile.BadZipFile as error:
            broken.append((product.name, f"zip of product {product.name} is damaged ({error}): get it again"))
    if not items:
        raise InputError(f"source.folder {folder} {_lack(names, broken)}")
    return Listing(tuple(items), tuple(broken))


def _found(folder: str, names: list[str], broken: list[tuple[str, str]]) -> Iterator[safe.Product]:
    """Yield the products below a folder: wherever ``MTD_MSIL2A.xml`` lies, and in every zip that holds one."""
    for name in names:
        home, _, file = name.rpartition("/")
        if file == safe.METADATA:
            inside = {
                part.removeprefix(f"{home}/"): storage.join(folder, part) for part in names if not home or part.startswith(f"{home}/")
            }
            yield safe.Product(_product_name(home or folder), inside, storage.read_bytes)
    path = storage.local_path(folder)
    for name in (name for name in names if path is not None and name.lower().endswith(".zip")):
        assert path is not None
        try:
            members = archive.names(path / name)
        except zipfile.BadZipFile as error:
            broken.append((_product_name(name), f"{path / name} is damaged ({error}): get it again"))
            continue
        yield from _zipped(path / name, members)


def _zipped(path: Path, members: list[str]) -> Iterator[safe.Product]:
    for member in members:
        home, _, file = member.rpartition("/")
        if file == safe.METADATA:
            inside = {
                part.removeprefix(f"{home}/"): archive.member_uri(path, part) for part in members if not home or part.startswith(f"{home}/")
            }
            yield safe.Product(_product_name(home or path.name), inside, archive.read)


def _product_name(path: str) -> str:
    return re.sub(r"\.(SAFE|zip)$", "", path.rstrip("/").rsplit("/", 1)[-1], flags=re.IGNORECASE)


def _lack(names: list[str], broken: list[tuple[str, str]]) -> str:
    """Return what is wrong with a folder without a usable product."""
    if broken:
        return f"holds no product that can be read: {broken[0][1]}"
    if any(name.endswith(LEVEL_1C) for name in names):
        return "holds Level-1C products only: landtide maps surface reflectance, so process them with Sen2Cor, or get Level-2A"
    if any(name.lower().endswith((".tif", ".tiff")) for name in names):
        return "holds GeoTIFFs but no Sentinel-2 product: tell what their names mean in source.pattern, such as '{date}_{band}.tif'"
    return "holds no Sentinel-2 Level-2A product (.SAFE or .zip): correct its path in the study file"
