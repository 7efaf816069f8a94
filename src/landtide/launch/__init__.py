"""Where heavy work runs: Dask workers, training processes, the driver of a local run."""
