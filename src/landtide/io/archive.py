"""Members of zip archives by URI, ``zip:///path/product.zip!/folder/file.jp2``: named, opened and proven without unpacking the rest."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEME = "zip://"


def member_uri(archive: Path, name: str) -> str:
    """Return the URI of a member, as GDAL and rasterio read it too."""
    return f"{SCHEME}{archive.absolute()}!/{name}"


def is_member(uri: str) -> bool:
    """Say whether a URI names a member of a zip archive."""
    return uri.startswith(SCHEME)


def split(uri: str) -> tuple[Path, str]:
    """Return the archive and the member's name of a URI."""
    archive, _, name = uri.removeprefix(SCHEME).partition("!/")
    return Path(archive), name


def names(archive: Path) -> list[str]:
    """Return the names of an archive's members. Raises zipfile.BadZipFile where the file is none, or broken."""
    with zipfile.ZipFile(archive) as opened:
        return [entry.filename for entry in opened.infolist() if not entry.is_dir()]


def read(uri: str) -> bytes:
    """Return a member's bytes, proven by its checksum. Raises FileNotFoundError, or zipfile.BadZipFile where it is broken."""
    with _opened(uri) as (opened, entry):
        return opened.read(entry)


def extract(uri: str, local: Path) -> None:
    """Copy a member into a local file, proven by its checksum. Raises FileNotFoundError, or zipfile.BadZipFile where it is broken."""
    with _opened(uri) as (opened, entry), opened.open(entry) as source, local.open("wb") as target:
        shutil.copyfileobj(source, target, 2**20)


def size(uri: str) -> int:
    """Return a member's size in bytes. Raises FileNotFoundError where there is none."""
    with _opened(uri) as (_, entry):
        return entry.file_size


def source(uri: str) -> str:
    """Return what names a member's content: checksum (CRC-32) and size from the archive's directory, which costs no decompression."""
    with _opened(uri) as (_, entry):
        return f"crc32:{entry.CRC:08x}:{entry.file_size}"


@contextmanager
def _opened(uri: str) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    archive, name = split(uri)
    with zipfile.ZipFile(archive) as opened:
        try:
            entry = opened.getinfo(name)
        except KeyError:
            raise FileNotFoundError(2, "no such member", uri) from None
        yield opened, entry
