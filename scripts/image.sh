#!/usr/bin/env bash
# Builds the container image with whichever of docker, podman and buildah is there, and prints its size.
#   BUILDER   one of the three, to choose
#   TAG       the image's name (mailflume:latest)
#   GO_IMAGE  another image to build in than golang
# Arguments go to the builder: scripts/image.sh --platform linux/arm64
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${TAG:-mailflume:latest}

builder=${BUILDER:-}
if [ -z "$builder" ]; then
	# A docker client without its daemon builds nothing.
	if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
		builder=docker
	elif command -v podman >/dev/null; then
		builder=podman
	elif command -v buildah >/dev/null; then
		builder=buildah
	else
		echo "image: there is no docker with a running daemon, no podman and no buildah; install one of them" >&2
		exit 1
	fi
fi

version=$(git describe --tags --always --dirty 2>/dev/null || echo devel)
args=(--build-arg "VERSION=$version" -t "$tag")
[ -n "${GO_IMAGE:-}" ] && args+=(--build-arg "GO_IMAGE=$GO_IMAGE")
# podman and buildah write OCI images unless told otherwise, and those have no health check.
[ "$builder" != docker ] && args+=(--format docker)
"$builder" build "${args[@]}" "$@" .

case $builder in
buildah) size=$(buildah images --format '{{.Size}}' "$tag" | head -n 1) ;;
*) size=$("$builder" image inspect --format '{{.Size}}' "$tag" | awk '{printf "%.1f MB", $1 / 1e6}') ;;
esac
echo "image: $tag, version $version, $size, built with $builder"
