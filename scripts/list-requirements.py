#!/usr/bin/env python3
"""Print what pip must install before landtide itself: the dependencies of pyproject.toml and of some of its extras, one a line."""

import argparse
import tomllib
from pathlib import Path


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pyproject", type=Path)
    parser.add_argument("extras", help="names separated by commas")
    parser.add_argument("--only-extras", action="store_true", help="leave out what every installation needs")
    arguments = parser.parse_args()
    project = tomllib.loads(arguments.pyproject.read_text())["project"]
    extras = project["optional-dependencies"]
    unknown = sorted(set(arguments.extras.split(",")) - set(extras))
    if unknown:
        parser.error(f"{arguments.pyproject} has no extra {', '.join(unknown)}; it has {', '.join(sorted(extras))}")
    wanted = [] if arguments.only_extras else list(project["dependencies"])
    for name in arguments.extras.split(","):
        wanted += extras[name]
    print("\n".join(wanted))  # noqa: T201 - its output is what the caller reads


if __name__ == "__main__":
    main()
