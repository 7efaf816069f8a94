"""The two images that components run in."""

import landtide

STEPS = f"landtide-steps:{landtide.__version__}"
"""kfp and the geographic libraries."""

TRAIN = f"landtide-train:{landtide.__version__}"
"""The same plus torch and torchx: whatever trains or applies a model."""
