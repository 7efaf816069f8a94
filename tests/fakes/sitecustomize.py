"""Puts `fake_steps` in the place of `landtide.steps`, in every process that has this folder on its PYTHONPATH."""

import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path


class FakeSteps:
    """Finds the fake under the name of the real module."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "landtide.steps":
            return None
        return ModuleSpec(name, SourceFileLoader(name, str(Path(__file__).with_name("fake_steps.py"))))


sys.meta_path.insert(0, FakeSteps)
