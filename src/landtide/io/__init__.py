"""The only reader and writer of objects, Zarr, COG, Parquet, vector files and STAC, by URI (path, file://, s3://, http(s)://)."""
