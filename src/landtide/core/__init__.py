"""The words that all parts share: tile, period, bands, cube, legend, samples, map, report, study.

Nothing here reads or writes a file of the user's, imports torch or looks at the environment.
"""
