"""A training wherever the study wants it: in this process's machine, or as a job on Kubernetes that reads and writes the workspace."""

import dataclasses
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from landtide.core.errors import InputError, LandtideError
from landtide.core.study import Study, Train
from landtide.io import storage
from landtide.launch import cluster, jobs, jobspec, training

log = logging.getLogger(__name__)

FAILURES = "failures"
"""Folder of a run with a page for each failed job."""

JOBS = "jobs"
"""Folder of a run with the spec and the output of each job."""


def train(spec: Any, study: Study, run_folder: str, stage: str) -> Path:
    """Train, and return the local folder with model.json, weights and training.json.

    spec        a `landtide.train.TrainSpec` whose output is a local folder
    run_folder  URI of the run's folder
    stage       ``preliminary`` or ``final``

    Raises InputError or LandtideError with the line of the training that failed.
    """
    if study.train.backend == "local":
        together = study.train if _grouped(study, stage) else Train()
        return Path(training.run_training(spec, processes=together.processes, nodes=together.nodes))
    return run_job(cluster.connect(), spec, study, run_folder, stage)


def search(spec: Any, study: Study, run_folder: str, groups: list[str]) -> None:
    """Do trials of a search in one process a group, beside each other: on this machine, or as a job each.

    spec  a `landtide.train.TrainSpec` with a search; the group becomes the name of its worker

    Raises InputError or LandtideError with the line of what failed.
    """
    if study.train.backend == "local":
        named = dataclasses.replace(spec, search=dataclasses.replace(spec.search, worker="-".join(groups)))
        training.run_search(named, len(groups))
        return

    def one(group: str) -> None:
        own = dataclasses.replace(spec, search=dataclasses.replace(spec.search, worker=group), output=f"{spec.output}-{group}")
        run_job(cluster.connect(), own, study, run_folder, f"tune-{group}")

    with ThreadPoolExecutor(len(groups)) as pool:
        list(pool.map(one, groups))


def run_job(
    connection: cluster.Cluster, spec: Any, study: Study, run_folder: str, stage: str, *, timing: jobs.Timing | None = None
) -> Path:
    """Train as a job of a cluster; return the local folder with its output.

    The job's name and its folder follow from the run and from what is trained, so a second attempt finds the first one's job and output.
    """
    if not storage.is_remote(run_folder):
        raise InputError(
            f"train.backend: {study.train.backend} needs a workspace that pods reach, such as s3://bucket/prefix: {run_folder}"
        )
    job = plan_job(spec, study, run_folder, stage)
    owner, namespace = jobs.workflow_of_this_pod(connection)
    job = jobspec.owned(job, owner, namespace or job.namespace)
    folder = storage.join(run_folder, JOBS, job.name)
    output = storage.join(folder, "output")
    sent = dataclasses.replace(spec, output=output)
    storage.write_bytes(job.command[-1], sent.to_json().encode())
    try:
        jobs.run(connection, job, storage.join(run_folder, FAILURES), timing=timing)
    except jobs.JobFailedError as error:
        _raise_verdict(output, error)
        raise
    target = Path(spec.output)
    for name in storage.walk(output):
        storage.download(storage.join(output, name), target / name)
    return target


def plan_job(spec: Any, study: Study, run_folder: str, stage: str) -> jobspec.JobSpec:
    """Return the job of a training; nothing is made."""
    run_id = run_folder.rstrip("/").rsplit("/", 1)[-1]
    digest = hashlib.sha256(dataclasses.replace(spec, output="").to_json().encode()).hexdigest()
    name = jobspec.job_name(f"train-{stage}", run_id, digest)
    spec_uri = storage.join(run_folder, JOBS, name, "spec.json")
    return jobspec.training_job(study, stage=stage, run_id=run_id, digest=digest, spec_uri=spec_uri, grouped=_grouped(study, stage))


def _grouped(study: Study, stage: str) -> bool:
    """Say whether several processes can share a training: SVM and forest train in one."""
    return study.model.two_stage and stage == "final"


def clean_up(study: Study, run_id: str) -> list[str]:
    """Delete what a run has left running on its cluster; return what it was. Nothing is done for a study that starts no pods."""
    backend, place = study.train.backend, study.kubernetes
    kinds = [  # the role may allow no others
        *([backend] if backend != "local" else []),
        *(["podgroup"] if backend != "local" and study.hpc.bridge == "slurm-bridge" else []),
        *(["daskcluster"] if study.compute.cluster == "kubernetes" else []),
    ]
    if not kinds:
        return []
    namespaces = sorted({place.namespace, place.jobs_namespace or place.namespace})
    return jobs.clean_up(cluster.connect(), run_id, kinds, namespaces)


def _raise_verdict(output: str, error: LandtideError) -> None:
    """Raise what the training itself said, where it said something."""
    uri = storage.join(output, training.ERROR)
    if storage.exists(uri):
        record = storage.read_json(uri)
        raise (InputError if record["status"] == InputError.exit_status else LandtideError)(record["line"]) from error
