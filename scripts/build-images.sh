#!/usr/bin/env bash
# Build landtide-steps and landtide-train with docker, podman or buildah, whichever is there.
#
#   scripts/build-images.sh [steps] [train]        both without an argument
#
# Variables, all optional:
#   BUILDER      docker | podman | buildah
#   REGISTRY     prefix of the names, such as registry.example.org/land; with it and --push the images are pushed
#   TAG          default: the version of pyproject.toml
#   BASE         base image, default that of the Containerfile
#   TORCH        default torch==2.13.0; TORCH_INDEX: package index for a build of torch (CPU, CUDA), default pip's own
#   FIND_LINKS   folder with wheels that pip also looks at (its value is lent to the build, not kept in the image)
#   MOUNTS       further HOST:CONTAINER:ro mounts for the build, separated by spaces
# The machine's own certificates and pip configuration are lent to the build as well, where the builder can mount (podman, buildah).
set -euo pipefail
cd "$(dirname "$0")/.."

push=false images=()
for argument in "$@"; do
    case $argument in
        --push) push=true ;;
        steps | train) images+=("$argument") ;;
        *) echo "usage: $0 [--push] [steps] [train]" >&2; exit 2 ;;
    esac
done
((${#images[@]})) || images=(steps train)

find_builder() {
    local name
    for name in docker podman buildah; do
        # A docker client without its daemon builds nothing.
        if [[ $name == docker ]]; then docker info >/dev/null 2>&1 && echo docker && return; else command -v "$name" && return; fi
    done
    echo "make images needs docker, podman or buildah: scripts/install-system-packages.sh --containers installs podman" >&2
    exit 2
}

builder=${BUILDER:-$(find_builder)}
builder=${builder##*/}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
tag=${TAG:-$version}
prefix=${REGISTRY:+${REGISTRY%/}/}
[[ -z $prefix && $builder != docker ]] && prefix=localhost/
if $push && [[ -z ${REGISTRY:-} ]]; then echo "--push needs REGISTRY, such as REGISTRY=registry.example.org/land" >&2; exit 2; fi

options=(
    --build-arg "VERSION=$version"
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)"
    --build-arg "CREATED=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}" +%Y-%m-%dT%H:%M:%SZ)"
    --build-arg "SOURCE=$(git config --get remote.origin.url 2>/dev/null || true)"
)
[[ -n ${BASE:-} ]] && options+=(--build-arg "BASE=$BASE")
mounts=()
if [[ $builder != docker ]]; then
    options+=(--network host --isolation chroot --layers)
    [[ -d /etc/ssl/certs ]] && mounts+=(/etc/ssl/certs:/etc/ssl/certs:ro)
    [[ -f /etc/pip.conf ]] && mounts+=(/etc/pip.conf:/etc/pip.conf:ro)
fi
if [[ -n ${FIND_LINKS:-} ]]; then
    mounts+=("$FIND_LINKS:/wheels:ro")
    options+=(--build-arg PIP_FIND_LINKS=/wheels)
fi
read -ra extra <<<"${MOUNTS:-}"
mounts+=("${extra[@]}")
if ((${#mounts[@]})) && [[ $builder == docker ]]; then
    echo "docker cannot mount into a build: use podman or buildah for FIND_LINKS and MOUNTS" >&2
    exit 2
fi
for mount in "${mounts[@]}"; do options+=(--volume "$mount"); done

build() { # name, options
    local name=$1 command=("$builder" build)
    shift
    [[ $builder == buildah ]] && command=(buildah bud)
    echo "building $prefix$name:$tag with $builder"
    "${command[@]}" "${options[@]}" "$@" --tag "$prefix$name:$tag" --file "images/${name#landtide-}/Containerfile" .
}

for image in "${images[@]}"; do
    if [[ $image == steps ]]; then
        build landtide-steps
    else
        build landtide-train --build-arg "STEPS=${STEPS:-${prefix}landtide-steps:$tag}" --build-arg "TORCH=${TORCH:-torch==2.13.0}" \
            --build-arg "TORCH_INDEX=${TORCH_INDEX:-}"
    fi
    if $push; then "$builder" push "${prefix}landtide-$image:$tag"; fi
done
