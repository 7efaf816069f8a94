"""The two images that components run in; `landtide.launch.images` says how the environment overrides them where a pipeline is compiled."""

from landtide.launch import images

STEPS = images.reference("landtide-steps")
"""kfp and the geographic libraries."""

TRAIN = images.reference("landtide-train")
"""The same plus torch and torchx: whatever trains or applies a model."""
