#!/usr/bin/env bash
# Builds the container image with whichever of docker, podman and buildah is there. GO_IMAGE names another base to build in.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${TAG:-mailflume:latest}
version=$(git describe --tags --always --dirty 2>/dev/null || echo devel)
args=(--build-arg "VERSION=$version" -t "$tag")
[ -n "${GO_IMAGE:-}" ] && args+=(--build-arg "GO_IMAGE=$GO_IMAGE")
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
	exec docker build "${args[@]}" .
elif command -v podman >/dev/null; then
	exec podman build --format docker "${args[@]}" .
elif command -v buildah >/dev/null; then
	exec buildah build --format docker "${args[@]}" .
fi
echo "make image needs docker, podman or buildah" >&2
exit 1
