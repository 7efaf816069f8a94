"""Keys and tokens by name, as the libraries below look them up themselves: the environment, else GDAL's configuration file."""

from rasterio._env import get_gdal_config


def setting(name: str) -> str | None:
    """Return a setting, None where it is not set or empty."""
    value = get_gdal_config(name, normalize=False)
    return str(value) if value else None
