# Builds every image with one command, from the repository's root:
#   REGISTRY=ghcr.io/you/shopflow TAG=0.1.0 docker buildx bake -f images/docker-bake.hcl --load
# `make images` does the same with Docker or Podman. Every variable is taken from the environment.

variable "REGISTRY" { default = "localhost/shopflow" }
variable "TAG" { default = "dev" }
variable "REVISION" { default = "unknown" }
# Of this one digest all images are made. A new one is a change to review, and so is a base of your own.
variable "BASE_IMAGE" {
  default = "docker.io/library/python:3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84"
}

group "default" { targets = ["predictor", "pipeline", "train-gpu", "transformer"] }

target "tools" {
  dockerfile = "images/tools/Dockerfile"
  args = { BASE_IMAGE = "${BASE_IMAGE}" }
}

target "predictor" {
  dockerfile = "images/predictor/Dockerfile"
  contexts = { tools = "target:tools" }
  args = { BASE_IMAGE = "${BASE_IMAGE}", VERSION = "${TAG}", REVISION = "${REVISION}" }
  tags = ["${REGISTRY}/shopflow-predictor:${TAG}"]
}

target "pipeline" {
  dockerfile = "images/pipeline/Dockerfile"
  contexts = { tools = "target:tools", predictor = "target:predictor" }
  args = { VERSION = "${TAG}", REVISION = "${REVISION}" }
  tags = ["${REGISTRY}/shopflow-pipeline:${TAG}"]
}

target "train-gpu" {
  dockerfile = "images/train-gpu/Dockerfile"
  contexts = { tools = "target:tools", pipeline = "target:pipeline" }
  args = { VERSION = "${TAG}", REVISION = "${REVISION}" }
  tags = ["${REGISTRY}/shopflow-train-gpu:${TAG}"]
}

target "transformer" {
  dockerfile = "images/transformer/Dockerfile"
  contexts = { tools = "target:tools" }
  args = { BASE_IMAGE = "${BASE_IMAGE}", VERSION = "${TAG}", REVISION = "${REVISION}" }
  tags = ["${REGISTRY}/shopflow-transformer:${TAG}"]
}
