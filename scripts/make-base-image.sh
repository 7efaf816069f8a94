#!/usr/bin/env bash
# Make a base image of Debian 12 with Python on this machine, for building landtide's images where no registry can be reached.
#
#   scripts/make-base-image.sh NAME        such as localhost/debian-python:bookworm; needs root, debootstrap, and podman or buildah
#
# Packages come from the mirror that this machine's own apt uses.
set -euo pipefail

name=${1:?usage: $0 NAME}
for need in debootstrap tar; do
    command -v "$need" >/dev/null || { echo "$0 needs $need: scripts/install-system-packages.sh --containers" >&2; exit 2; }
done
mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[[ -n $mirror ]] || mirror=$(awk '$1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; exit}}' /etc/apt/sources.list)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3 bookworm "$work/rootfs" "$mirror" >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
# What a container never reads, as Debian's own slim images leave it out.
rm -rf "$work"/rootfs/var/cache/apt/* "$work"/rootfs/var/lib/apt/lists/* "$work"/rootfs/var/log/* \
    "$work"/rootfs/usr/share/{doc,man,info,locale,lintian,bug}/*

if command -v podman >/dev/null; then
    tar -C "$work/rootfs" -c . | podman import --quiet --change 'CMD ["/bin/bash"]' - "$name" >/dev/null
else
    container=$(buildah from scratch)
    buildah add -q "$container" "$work/rootfs" / >/dev/null
    buildah commit -q "$container" "$name" >/dev/null
    buildah rm "$container" >/dev/null
fi
echo "made $name"
