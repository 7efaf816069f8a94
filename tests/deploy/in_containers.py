"""Run the pipeline of an open run by kfp.local in containers: ``python in_containers.py STUDY_URI FOLDER``; DOCKER_HOST says where.

Each task is a container of its own image as it would be on a cluster under the restricted standard: user 10001, read-only root but for
/tmp, no capabilities, nothing gained by exec.
"""

import sys
import warnings
from pathlib import Path

import containers
from docker.types import Ulimit
from kfp import local

from landtide.launch import driver
from pipelines import __main__ as command


def main(study: str, folder: Path) -> None:
    """Run; kfp raises RuntimeError where a task fails."""
    warnings.filterwarnings("ignore", message=".*non-Python base image.*")
    runner = local.DockerRunner(
        network_mode="host",
        ulimits=[Ulimit(name=name, soft=limit, hard=limit) for name, limit in containers.LIMITS.items()],
        read_only=True,
        tmpfs={"/tmp": "size=4g,mode=1777"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        shm_size="1g",
    )
    local.init(runner, pipeline_root=str(folder), enable_caching=False)
    command._for_one_machine(command.pipeline_of(driver.read_run(study)))(study=study)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
