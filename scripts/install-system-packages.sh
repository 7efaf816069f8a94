#!/usr/bin/env bash
# Install what landtide needs from the system's packages (Debian 12 and its relatives). Run it as often as you like.
# With --containers: also what builds and runs the images, and what `make test-slow` runs the pipeline in containers by.
set -euo pipefail

# package: the command or file that it brings
wanted=(
    "python3-venv:$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))' 2>/dev/null || echo /usr/lib/python3)/ensurepip/__init__.py"
    "make:make"
    "git:git"
    "ca-certificates:/etc/ssl/certs/ca-certificates.crt"
    "libexpat1:/usr/lib/$(uname -m)-linux-gnu/libexpat.so.1" # GDAL in rasterio's wheel
    "chromium:chromium"                                      # tests of the web map
    "slurmctld:/usr/sbin/slurmctld"                          # tests of workers as jobs, on a Slurm of their own
    "slurmd:/usr/sbin/slurmd"
    "slurm-client:sbatch"
    "munge:munge"
    "fonts-dejavu-core:/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf" # text in the browser's pictures
)
if [[ ${1:-} == --containers ]]; then
    wanted+=(
        "podman:podman"
        "buildah:buildah"
        "runc:runc" # crun, podman's own choice, refuses machines whose cgroups are half v1 and half v2
        "debootstrap:debootstrap"
        "netavark:/usr/lib/podman/netavark"
        "aardvark-dns:/usr/lib/podman/aardvark-dns"
        "catatonit:/usr/libexec/podman/catatonit"
        "iptables:iptables"
    )
elif (($#)); then
    echo "usage: $0 [--containers]" >&2
    exit 2
fi

missing=()
for entry in "${wanted[@]}"; do
    package=${entry%%:*} file=${entry#*:}
    if [[ $file == /* ]]; then [[ -e $file ]] || missing+=("$package"); else command -v "$file" >/dev/null || missing+=("$package"); fi
done

if ((${#missing[@]} == 0)); then
    echo "system packages: all there"
elif ! command -v apt-get >/dev/null; then
    echo "system packages: missing here are the equivalents of Debian's ${missing[*]}; this machine has no apt-get, so install them by hand"
elif ((EUID != 0)); then
    echo "system packages: missing are ${missing[*]}; not root, so ask for: apt-get install ${missing[*]}"
else
    echo "system packages: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
