# Every target makes .venv and installs what it needs; a second call installs nothing unless setup.cfg or
# constraints.txt changed. Options of a command go into ARGS: make demo ARGS="--transactions 20000 --json out.json"

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:
.NOTPARALLEL:

# The oldest supported Python first: constraints.txt is made for it.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; print(sys.executable)' 2>/dev/null && break; done)
BIN := .venv/bin
ARGS ?=
# Test processes side by side; each file of tests stays in one.
JOBS ?= 2
VALUES ?=
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile
CODE := fraudstream agents tables training

.PHONY: help
help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.installed-%: setup.cfg constraints.txt scripts/install.py
	@$(or $(PYTHON),$(error expected Python 3.11 or later on the PATH and found none)) scripts/install.py $*

# Without this, make deletes the stamps as intermediate files.
.PRECIOUS: .venv/.installed-%

.PHONY: demo
demo: .venv/.installed-demo ## broker, worker and producer in one go; shows verdicts as they come, ends with a summary
	@$(BIN)/fraudstream demo $(ARGS)

.PHONY: test
test: .venv/.installed-test ## every test that needs no server
	$(PYTEST) -m "not servers and not kubernetes" $(ARGS)

.PHONY: fuzz
fuzz: .venv/.installed-fuzz ## looks for bytes that break a reader, coverage-guided (ARGS="--seconds 600", Linux)
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: test-integration
test-integration: .venv/.installed-test ## the tests against real servers, which it starts itself (Java, Maven, Chromium)
	$(PYTEST) -m servers $(ARGS)

.PHONY: test-chaos
test-chaos: .venv/.installed-test ## kills and stalls workers and brokers, ruins disks, judges what came out (ARGS=--short; --help)
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: tools
tools: .venv/.installed-test ## operations tools into .tools/bin: helm, kubectl, linters (ARGS=helm for one); first time: minutes
	@$(BIN)/python scripts/tools.py $(or $(ARGS),kubernetes lint)

# Each of these tests has a namespace of its own: the process that is free takes the next.
.PHONY: test-k8s
test-k8s: .venv/.installed-test ## the tests against a real Kubernetes control plane, which it builds once and starts itself
	@$(BIN)/python scripts/tools.py kubernetes
	$(PYTEST) --dist worksteal -m kubernetes $(ARGS)

.PHONY: lint
lint: .venv/.installed-lint ## ruff (rules and format) and bandit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml $(CODE)

.PHONY: lint-ops
lint-ops: .venv/.installed-lint ## shell, Dockerfile, compose, pipeline, alert rules, chart; secrets anywhere in the history
	@$(BIN)/python scripts/tools.py kubernetes lint
	.tools/bin/shellcheck .ci/run
	.tools/bin/hadolint docker/Dockerfile
	.tools/bin/actionlint
	.tools/bin/zizmor --offline --quiet .github
	@command -v promtool >/dev/null || { echo "expected promtool on the PATH, found none: install Debian's prometheus"; exit 2; }
	promtool check rules k8s/fraudstream/rules/*.yml
	.tools/bin/gitleaks git --no-banner --redact .
	$(BIN)/python scripts/lint_ops.py

.PHONY: format
format: .venv/.installed-lint ## formats the code and mends what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: typecheck
typecheck: .venv/.installed-dev ## mypy --strict over code, tests, benchmarks, scripts and examples
	$(BIN)/mypy

.PHONY: audit-dependencies
audit-dependencies: .venv/.installed-dev ## asks PyPI whether a pinned dependency is known to be unsafe
	$(BIN)/uv tool run pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

.PHONY: bench
bench: .venv/.installed-bench ## CPU per event of the full path against Faust's pass-through, on a real broker (ARGS=--all: and its peers)
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-guard
bench-guard: .venv/.installed-bench ## fails where the full path or one of its stages costs 15 % more CPU than what is stored
	$(BIN)/python -m benchmarks.guard $(ARGS)

.PHONY: bench-latency
bench-latency: .venv/.installed-bench ## time from schedule to verdict, for both kinds of readers, at several rates and checkpoint intervals
	$(BIN)/python -m benchmarks.latency $(ARGS)

.PHONY: bench-offline
bench-offline: .venv/.installed-bench ## rows a second of features and verdicts of a file, on one core and on all, and the time of a training
	$(BIN)/python -m benchmarks.offline $(ARGS)

.PHONY: bench-predict
bench-predict: .venv/.installed-bench ## time of /predict in the worker, alone and beside 5,000 transactions/s
	$(BIN)/python -m benchmarks.predict $(ARGS)

.PHONY: bench-soak
bench-soak: .venv/.installed-bench ## memory, open files, backlog and loop lag of a worker over 30 minutes, and whether they grow
	$(BIN)/python -m benchmarks.soak $(ARGS)

.PHONY: evaluate-models
evaluate-models: .venv/.installed-evaluate ## trains and judges models on ../shared/data and a simulated stream, seeds 0 and 1
	@$(BIN)/python -m fraudstream.training.evaluate_models $(ARGS)

.PHONY: kafka
kafka: .venv/.installed-test ## a real Kafka broker on 127.0.0.1:9092 until Ctrl-C (Java and Maven)
	@$(BIN)/python -m tests.servers.kafka $(ARGS)

.PHONY: kubernetes
kubernetes: .venv/.installed-test ## a real Kubernetes control plane with simulated nodes until Ctrl-C
	@$(BIN)/python scripts/tools.py kubernetes
	@$(BIN)/python -m tests.servers.kubernetes.cluster

.PHONY: generate-load
generate-load: .venv/.installed-demo ## produces to KAFKA_SERVERS at a fixed rate and measures the latency of verdicts
	@$(BIN)/fraudstream load $(or $(ARGS),--rate 500 --seconds 60)

.PHONY: stack
stack: .venv/.installed-stack ## the whole system on this machine without containers, until Ctrl-C (docker/compose.yaml)
	@$(BIN)/python -m scripts.stack $(ARGS)

.PHONY: deploy-local
deploy-local: ## the whole system by Docker (docker/compose.yaml); says what to install where Docker is missing
	@$(or $(PYTHON),python3) scripts/deploy_local.py up $(ARGS)

.PHONY: deploy-local-down
deploy-local-down: ## stops what deploy-local started; ARGS=--volumes removes its data too
	@$(or $(PYTHON),python3) scripts/deploy_local.py down $(ARGS)

.PHONY: check-image
check-image: .venv/.installed-test ## builds the image without a Docker daemon and runs its roles (root, buildah, podman; slow)
	$(BIN)/python -m scripts.check_image $(ARGS)

.PHONY: deploy-k8s
deploy-k8s: ## installs or upgrades the chart in kubectl's cluster (VALUES=file.yaml); undone by itself where it fails
	@$(or $(PYTHON),python3) scripts/deploy_k8s.py --values "$(VALUES)" $(ARGS)

.PHONY: docs
docs: .venv/.installed-dev ## writes anew what is made from code: pages and schemas in docs/, Grafana's dashboards
	$(BIN)/python -m scripts.make_docs
	$(BIN)/python -m scripts.make_dashboards

.PHONY: docs-site
docs-site: .venv/.installed-docs ## docs/ as a site in .cache/site, no warning allowed (ARGS=serve shows it while you write)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(or $(ARGS),build --strict --quiet)

.PHONY: check-deployment
check-deployment: ## checks a running deployment from outside (ARGS="--endpoint URL"); needs no .venv
	@$(or $(PYTHON),python3) scripts/integration_tests.py $(or $(ARGS),--endpoint http://127.0.0.1:8000)

.PHONY: build
build: .venv/.installed-dev ## sdist and wheel into dist/
	rm -rf build dist
	$(BIN)/python -m build --no-isolation $(ARGS)

.PHONY: dev-setup
dev-setup: .venv/.installed-dev ## .venv with every extra

# CUDA's packages are left out: torch names their versions itself, and its CPU builds do without them.
.PHONY: constraints
constraints: .venv/.installed-dev ## pins again what setup.cfg needs (ARGS=--upgrade for the newest versions)
	$(BIN)/uv pip compile setup.cfg --all-extras --python-version 3.11 --no-header --no-annotate --quiet \
		--output-file constraints.txt $(ARGS)
	sed -i.old -E '/^(nvidia-|cuda-|triton==)/d' constraints.txt && rm constraints.txt.old

.PHONY: clean
clean: ## removes what builds, tests and checks leave behind; keeps .venv and data
	rm -rf .cache .hypothesis build dist fraudstream.egg-info
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
