"""Land-cover maps kept fresh: from an old map and a Sentinel-2 series to one consistent map a year."""

__version__ = "0.1.0"
