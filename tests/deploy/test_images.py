"""How the images are built: the Containerfiles' lint, and the script's choice of builder and options. test_containers.py builds them."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import charts
import pytest

IMAGES = charts.REPOSITORY / "images"
SCRIPTS = charts.REPOSITORY / "scripts"
CONTAINERFILES = sorted(IMAGES.glob("*/Containerfile"))


def test_there_are_two_images() -> None:
    assert [path.parent.name for path in CONTAINERFILES] == ["steps", "train"]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run([str(Path(sys.executable).parent / "hadolint"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_the_last_user_is_a_number_and_no_host_of_packages_is_named(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == "10001:10001"
    assert "http" not in text
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", text))
    assert labels == {"title", "description", "licenses", "version", "revision", "created", "source"}


def requirements(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "list-requirements.py"), str(charts.REPOSITORY / "pyproject.toml"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_images_install_the_dependencies_and_the_extras_that_they_name() -> None:
    project = tomllib.loads((charts.REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert requirements("kfp,store").stdout.splitlines() == project["dependencies"] + extras["kfp"] + extras["store"]
    assert requirements("train", "--only-extras").stdout.splitlines() == extras["train"]


def test_an_extra_that_does_not_exist_is_named() -> None:
    done = requirements("kfp,trian")
    assert done.returncode == 2
    assert "no extra trian" in done.stderr


RECORDER = """#!/bin/sh
[ "$1" = info ] && exit {info}
echo "${{0##*/}} $*" >> {log}
"""


class Machine:
    """A folder of programs: builders that only write down how they were called."""

    def __init__(self, folder: Path, builders: tuple[str, ...], *, daemon: bool = True) -> None:
        self.log = folder / "log"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("bash", "dirname", "sed", "git", "date"):
            (self.bin / name).symlink_to(f"/usr/bin/{name}")
        for name in builders:
            (self.bin / name).write_text(RECORDER.format(log=self.log, info=0 if daemon else 1))
            (self.bin / name).chmod(0o755)

    def build(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/"), **variables}
        script = [str(self.bin / "bash"), str(SCRIPTS / "build-images.sh"), *words]
        return subprocess.run(script, capture_output=True, text=True, check=False, env=environment)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def test_whichever_builder_is_there_is_taken(tmp_path: Path) -> None:
    for number, (builders, verb, prefix) in enumerate(
        [(("docker",), "docker build", ""), (("podman",), "podman build", "localhost/"), (("buildah",), "buildah bud", "localhost/")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        machine = Machine(folder, builders)
        done = machine.build()
        assert done.returncode == 0, done.stderr
        assert [call.startswith(verb) for call in machine.calls] == [True, True]
        assert f"--tag {prefix}landtide-steps:0.1.0" in machine.calls[0]
        assert f"--build-arg STEPS={prefix}landtide-steps:0.1.0" in machine.calls[1]
        assert "--file images/train/Containerfile" in machine.calls[1]


def test_a_docker_client_without_its_daemon_is_passed_over(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ("docker", "podman"), daemon=False)
    assert machine.build("steps").returncode == 0
    assert [call.split()[0] for call in machine.calls] == ["podman"]


def test_no_builder_is_one_line_that_says_how_to_get_one(tmp_path: Path) -> None:
    done = Machine(tmp_path, ()).build()
    assert done.returncode == 2
    assert "scripts/install-system-packages.sh --containers" in done.stderr


def test_base_build_of_torch_and_mounts_reach_the_builder(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ("podman",))
    own = {"BASE": "localhost/base:1", "TORCH": "torch==2.13.0+cu130", "TORCH_INDEX": "https://index.example.org/cu130"}
    done = machine.build("train", TAG="x", FIND_LINKS=str(tmp_path), MOUNTS="/a:/b:ro /c:/d:ro", STEPS="other:1", **own)
    assert done.returncode == 0, done.stderr
    (call,) = machine.calls
    for wanted in (
        "--build-arg BASE=localhost/base:1",
        "--build-arg TORCH=torch==2.13.0+cu130",
        "--build-arg TORCH_INDEX=https://index.example.org/cu130",
        "--build-arg STEPS=other:1",
        f"--volume {tmp_path}:/wheels:ro",
        "--build-arg PIP_FIND_LINKS=/wheels",
        "--volume /a:/b:ro --volume /c:/d:ro",
        "--tag localhost/landtide-train:x",
    ):
        assert wanted in call


def test_images_are_pushed_to_the_registry_that_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ("podman",))
    assert machine.build("--push", REGISTRY="registry.example.org/land/").returncode == 0
    assert [call for call in machine.calls if " push " in call] == [
        "podman push registry.example.org/land/landtide-steps:0.1.0",
        "podman push registry.example.org/land/landtide-train:0.1.0",
    ]


@pytest.mark.parametrize(
    ("words", "variables", "complaint"),
    [
        (("--push",), {}, "--push needs REGISTRY"),
        (("trian",), {}, "usage:"),
        ((), {"BUILDER": "docker", "FIND_LINKS": "/"}, "docker cannot mount into a build"),
    ],
)
def test_wrong_usage_is_refused(words: tuple[str, ...], variables: dict[str, str], complaint: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, ("docker", "podman"))
    done = machine.build(*words, **variables)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert machine.calls == []


def test_the_context_of_a_build_holds_only_what_images_are_made_of() -> None:
    ignore = (charts.REPOSITORY / ".containerignore").read_text().splitlines()
    assert ignore[1] == "*", "everything is left out first"
    kept = {line.removeprefix("!").split("/")[0] for line in ignore if line.startswith("!")}
    assert kept == {"README.md", "LICENSE", "pyproject.toml", "requirements.lock", "scripts", "src", "pipelines", "components"}
    assert (charts.REPOSITORY / ".dockerignore").read_text() == (charts.REPOSITORY / ".containerignore").read_text()


def test_the_package_holds_every_module_and_every_file_of_the_source() -> None:
    """An editable installation finds files that a wheel lacks: only the images would miss them."""
    setup = tomllib.loads((charts.REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = subprocess.run(
        ["git", "ls-files", "src/landtide", "pipelines", "components"], capture_output=True, text=True, cwd=charts.REPOSITORY, check=True
    )
    files = [Path(line).relative_to("src") if line.startswith("src/") else Path(line) for line in listed.stdout.splitlines()]
    packages = {".".join(path.parent.parts) for path in files if path.name == "__init__.py"}
    assert packages == set(setup["packages"])
    for path in (path for path in files if path.suffix != ".py"):
        owner = next(parent for parent in path.parents if ".".join(parent.parts) in packages)
        globs = setup["package-data"].get(".".join(owner.parts), [])
        assert any(path.relative_to(owner).match(glob) for glob in globs), f"{path} is in no package-data of pyproject.toml"
