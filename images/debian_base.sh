#!/usr/bin/env bash
# A Python 3.11 base made of Debian 12's packages, for a machine that cannot pull a public image.
# Prints its reference: BASE_IMAGE=$(images/debian_base.sh) make images
# Needs root, debootstrap and Podman or Docker. The machine's certificates go along, because a proxy may have its own.
set -euo pipefail
name=localhost/shopflow-build/debian-python:bookworm
engine=$(command -v podman || command -v docker)
if ! "$engine" image inspect "$name" >/dev/null 2>&1; then
  folder=$(mktemp -d)
  # Cut off, debootstrap leaves the machine's own /proc and /sys mounted in there.
  trap 'umount --recursive --lazy "$folder/proc" "$folder/sys" 2>/dev/null || true
    rm -rf --one-file-system "$folder"' EXIT
  debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$folder" >&2
  rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
  cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
  tar -C "$folder" -c . | "$engine" import --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
    --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' - "$name" >&2
fi
echo "$name"
