"""Synthetic Level-2A products: small JPEG 2000 images with metadata as the Sentinel-2 Products Specification Document lays them out."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile

from tests.retrieve.made import TILE

BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
"""Physical bands in the order of their band_id. Source: Spectral_Information_List of real products."""

RESOLUTIONS = {"B02": 10, "B04": 10, "B08": 10, "B11": 20, "SCL": 20}


def product_name(day: str, baseline: str = "0510", tile: str = TILE.name) -> str:
    return f"S2A_MSIL2A_{day}T100031_N{baseline}_R122_T{tile}_{day}T150000"


def write_safe(folder: Path, day: str, images: dict[str, np.ndarray], *, baseline: str = "05.10", clouds: float = 5.0) -> Path:
    """Write a synthetic product of one day (``20200501``); images by band id, on `TILE` at the band's resolution."""
    name = product_name(day, baseline.replace(".", ""))
    home = folder / f"{name}.SAFE"
    granule = f"GRANULE/L2A_T{TILE.name}_A012345_{day}T100031"
    sums = {}
    for band, array in images.items():
        metres = RESOLUTIONS[band]
        path = f"{granule}/IMG_DATA/R{metres}m/T{TILE.name}_{day}T100031_{band}_{metres}m.jp2"
        write_jp2(home / path, array, metres)
        sums[path] = hashlib.sha3_256((home / path).read_bytes()).hexdigest()
    (home / "MTD_MSIL2A.xml").write_text(product_metadata(name, day, baseline))
    (home / granule / "MTD_TL.xml").write_text(tile_metadata(day, baseline, clouds))
    (home / "manifest.safe").write_text(manifest(sums))
    return home


def write_jp2(path: Path, array: np.ndarray, metres: int) -> None:
    """Write an image as ESA does, lossless and without a no-data value in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    west, _, _, north = TILE.bounds
    transform = rasterio.Affine(metres, 0, west, 0, -metres, north)
    shape = {"height": array.shape[0], "width": array.shape[1], "count": 1, "dtype": array.dtype}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=TILE.crs, transform=transform, **shape) as draft:
            draft.write(array, 1)
        with memory.open() as draft:
            rasterio.shutil.copy(draft, path, driver="JP2OpenJPEG", quality=100, reversible="YES", ycbcr420="NO", gmljp2="YES")
    Path(f"{path}.aux.xml").unlink(missing_ok=True)


def zipped(safe: Path) -> Path:
    """Pack a product as the archives of ESA do, the ``.SAFE`` folder at the top; the folder is removed."""
    path = safe.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(safe.rglob("*")):
            if file.is_file():
                archive.write(file, f"{safe.name}/{file.relative_to(safe)}")
    for file in sorted(safe.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    safe.rmdir()
    return path


def product_metadata(name: str, day: str, baseline: str) -> str:
    moment = f"{day[:4]}-{day[4:6]}-{day[6:]}T10:00:31.024Z"
    spectral = "".join(f'<Spectral_Information bandId="{i}" physicalBand="{band}"/>' for i, band in enumerate(BANDS))
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{i}">-1000</BOA_ADD_OFFSET>' for i in range(len(BANDS))) if baseline >= "04.00" else ""
    west, south, east, north = TILE.lonlat_bounds()
    ring = f"{north} {west} {south} {west} {south} {east} {north} {east} {north} {west}"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- synthetic -->
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
<n1:General_Info><Product_Info>
<PRODUCT_START_TIME>{moment}</PRODUCT_START_TIME><PRODUCT_URI>{name}.SAFE</PRODUCT_URI>
<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE><GENERATION_TIME>{moment}</GENERATION_TIME>
<Datatake><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake></Product_Info>
<Product_Image_Characteristics>
<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>
<Spectral_Information_List>{spectral}</Spectral_Information_List>
</Product_Image_Characteristics></n1:General_Info>
<n1:Geometric_Info><EXT_POS_LIST>{ring} </EXT_POS_LIST></n1:Geometric_Info>
<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>5.0</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>
"""


def tile_metadata(day: str, baseline: str, clouds: float) -> str:
    west, _, _, north = TILE.bounds
    rows, columns = TILE.shape
    sizes = "".join(
        f'<Size resolution="{m}"><NROWS>{rows * 10 // m}</NROWS><NCOLS>{columns * 10 // m}</NCOLS></Size>' for m in (10, 20, 60)
    )
    places = "".join(
        f'<Geoposition resolution="{m}"><ULX>{west:.0f}</ULX><ULY>{north:.0f}</ULY><XDIM>{m}</XDIM><YDIM>-{m}</YDIM></Geoposition>'
        for m in (10, 20, 60)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-2A_Tile_Metadata.xsd">
<n1:General_Info><TILE_ID metadataLevel="Brief">S2A_OPER_MSI_L2A_TL_2APS_{day}T150000_A012345_T{TILE.name}_N{baseline}</TILE_ID>
<DATASTRIP_ID>S2A_OPER_MSI_L2A_DS_2APS_{day}T150000_S{day}T100028_N{baseline}</DATASTRIP_ID></n1:General_Info>
<n1:Geometric_Info><Tile_Geocoding metadataLevel="Brief"><HORIZONTAL_CS_CODE>{TILE.crs}</HORIZONTAL_CS_CODE>{sizes}{places}</Tile_Geocoding>
</n1:Geometric_Info>
<n1:Quality_Indicators_Info><Image_Content_QI><CLOUDY_PIXEL_PERCENTAGE>{clouds}</CLOUDY_PIXEL_PERCENTAGE></Image_Content_QI>
</n1:Quality_Indicators_Info></n1:Level-2A_Tile_ID>
"""


def manifest(sums: dict[str, str]) -> str:
    objects = "".join(
        f'<byteStream><fileLocation href="./{path}"/><checksum checksumName="SHA3-256">{value}</checksum></byteStream>'
        for path, value in sums.items()
    )
    return f"<xfdu><dataObjectSection>{objects}</dataObjectSection></xfdu>"
