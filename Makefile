# One word per habit; CI runs the same words. Everything a word needs, it installs into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test cluster-test lint type golden bench bench-ingest bench-preprocess bench-train bench-demo bench-serving bench-soak bench-models bench-beauty bench-families bench-compress bench-warm-start images images-test images-scan docs notebooks stop lock clean

demo: .venv/ready  ## raw log to a canary-served recommender, on this machine
	$(BIN)/python -m pipelines.demo

# Most tests wait for servers, so two files at a time take half as long; a file's tests stay together. A thread each: more
# would spend a tenth of the time on waiting for each other.
test: export TF_NUM_INTRAOP_THREADS ?= 1
test: export OMP_NUM_THREADS ?= 1
test: .venv/ready  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/images

# KUBECONFIG=… make cluster-test runs them on that cluster instead: tests/cluster/README.md.
cluster-test: export SHOPFLOW_TEST_KUBECONFIG := $(KUBECONFIG)
cluster-test: .venv/ready  ## the tests on a real Kubernetes API server, KServe and Knative; needs Go
	$(BIN)/python -m pytest tests/cluster

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: .venv/ready
	$(BIN)/mypy

# REGISTRY=ghcr.io/you/shopflow TAG=0.1.0 make images; IMAGES="predictor" builds that one and what it needs.
images: .venv/ready  ## every image, with Docker or Podman, and its bill of materials in build/images
	$(BIN)/python images/build.py $(IMAGES)
	for image in $(or $(IMAGES),predictor pipeline train-gpu transformer); do \
	  $(BIN)/python images/bill_of_materials.py $(or $(REGISTRY),localhost/shopflow)/shopflow-$$image:$(or $(TAG),dev) || exit 1; done

images-test: .venv/ready  ## the images, and the whole compiled pipeline in them on real purchases
	$(BIN)/python images/build.py --or-debian predictor pipeline transformer $(if $(SHOPFLOW_GPU_IMAGE),train-gpu)
	$(BIN)/python -m pytest tests/images -rP

images-scan: .venv/ready  ## known vulnerabilities of what the images' lock files name; needs a network
	for lock in requirements.txt images/*/requirements.txt; do \
	  $(BIN)/python -m pip_audit --strict --no-deps --disable-pip --requirement $$lock || exit 1; done

golden: .venv/ready  ## rewrite the compiled pipelines that tests compare with; review the diff
	$(BIN)/python compile.py --all --out tests/golden --registry registry.example/shopflow --tag 0.1.0

bench: bench-ingest bench-preprocess bench-train bench-demo  ## speed as ratios against a named peer in the same run

bench-ingest bench-preprocess bench-train bench-demo: bench-%: .venv/ready
	$(BIN)/python -m benchmarks.$*

bench-serving: .venv/ready  ## the predictor beside a bare KServe model, its index beside faiss; then bench-soak
	@command -v wrk >/dev/null || apt-get install -y -qq wrk
	$(BIN)/uv pip install --native-tls --quiet --python .venv faiss-cpu==1.15.1
	$(BIN)/python -m benchmarks.serving
	$(MAKE) bench-soak

# MINUTES=2 make bench-soak is a short run.
bench-soak: .venv/ready  ## 10 minutes of load with a promote and two roll-backs: lost requests, memory
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),10)

# The peers have an environment of their own: they are compared with, and never a dependency.
PEERS := build/bench/models/peers
bench-models: .venv/ready  ## the models on MovieLens-100K (../shared/data or DATA=…) beside other libraries; then bench-beauty
	test -x $(PEERS)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(PEERS)
	$(BIN)/uv pip install --native-tls --quiet --python $(PEERS) -r benchmarks/models/peers.txt
	$(BIN)/python -m benchmarks.models $(if $(DATA),--data $(DATA))
	$(MAKE) bench-beauty bench-families

bench-beauty: .venv/ready  ## the models of sequences on Amazon Beauty (../shared/data or BEAUTY=…)
	$(BIN)/python -m benchmarks.beauty $(if $(BEAUTY),--data $(BEAUTY))

bench-families: .venv/ready  ## every family and every baseline on Complete Journey, on one page
	$(BIN)/python -m benchmarks.models.families

bench-compress: .venv/ready  ## smaller models of Complete Journey: size, memory, latency, NDCG@10
	$(BIN)/python -m benchmarks.compress

bench-warm-start: .venv/ready  ## epochs and seconds to equal quality a week later, anew and from last week's model
	$(BIN)/python -m benchmarks.warm_start $(or $(MODEL),matrix_factorization)

docs: export NO_MKDOCS_2_WARNING := 1
docs: .venv/ready  ## the site, into build/site; a broken link or reference fails
	$(BIN)/mkdocs build --strict

# N=2 make notebooks executes that one.
notebooks: .venv/ready  ## execute the notebooks and write their outputs back; review the diff
	$(BIN)/python -m tests.notebooks.execute $(N)

stop: .venv/ready  ## stop the demo's servers
	$(BIN)/python -m serving.platform stop recommender --state-dir build/demo/serving

lock: .venv/ready  ## resolve the direct dependencies into the pinned files
	$(BIN)/uv pip compile -q --no-header --universal --python-version 3.11 requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --no-header --universal --python-version 3.11 requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile -q --no-header --universal --python-version 3.11 images/transformer/requirements.in -o images/transformer/requirements.txt
	$(BIN)/uv pip compile -q --no-header --universal --python-version 3.11 images/predictor/requirements.in -o images/predictor/requirements.txt

# uv installs the pinned set several times faster than pip; where it cannot, pip does the same.
# The system's certificates are used because a company's proxy may have put its own among them.
.venv/ready: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv || (rm -rf .venv && apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv .venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements-dev.txt | cut -d' ' -f1)"
	$(BIN)/uv pip install --native-tls --compile-bytecode --quiet --python .venv -r requirements.txt -r requirements-dev.txt \
	  || $(BIN)/python -m pip install -r requirements.txt -r requirements-dev.txt
	$(BIN)/uv pip install --native-tls --quiet --python .venv --no-build-isolation --no-deps -e .
	touch $@

clean:
	rm -rf build .venv
