# One command per intent; `make help` lists them. CI runs the same ones.

PYTHON ?= python3
DATA ?= ../shared/data/rakuten
OUT ?= explore.html
comma := ,
# What every image is built on; name a digest to build the same again.
BASE ?= python:3.11-slim
URL ?= http://127.0.0.1:$${RAYON_GATEWAY_PORT:-8000}

BIN := .venv/bin
UV := $(BIN)/uv
# Certificate authorities that the installers trust: the bundle that the user names, else the system's,
# which may hold a private authority. Without either they use the bundle that they ship. Neither uv nor
# pip before 24.2 reads the system's store by default.
BUNDLE := $(or $(SSL_CERT_FILE),$(PIP_CERT),$(REQUESTS_CA_BUNDLE),$(CURL_CA_BUNDLE),$(wildcard /etc/ssl/certs/ca-certificates.crt))
TRUST := $(if $(BUNDLE),$(if $(wildcard $(BUNDLE)/.),SSL_CERT_DIR,SSL_CERT_FILE)="$(BUNDLE)")
INSTALL := $(TRUST) $(UV) pip install --quiet --require-hashes --python
LOCKS := base database gateway worker_text worker_image worker_fusion trainer client run mlflow
# The locked versions hold for every Python from 3.11 on, on Linux x86_64 and aarch64.
COMPILE = $(TRUST) UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate

.DEFAULT_GOAL := help
.PHONY: help run test lint format fuzz audit guesses admission boards metricscost queues alarms drill explore train evaluate bench compare chaos catalogs promotion quarter limits survivors rolling backup restore images scan stack push deploy tag notes smoke validation nightly manifests workflows lock clean

help: ## List these commands
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

run: .venv/run.stamp ## Start the whole system on this machine; Ctrl-C stops it
	@exec $(BIN)/python -m infra.embedded

test: .venv/dev.stamp ## Run every test: unit, integration and model in parallel, then end to end
	@echo "== unit, integration, model"
	@$(BIN)/python -m pytest -n auto --dist loadfile tests/unit tests/integration $(wildcard tests/model)
	@echo "== end to end"
	@$(BIN)/python -m pytest tests/e2e

lint: .venv/dev.stamp ## Check format, style, types and the rules of dependency
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=shared/client $(BIN)/lint-imports --no-logo

format: .venv/dev.stamp ## Write the code in the house's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

fuzz: .venv-security/stamp ## Send what the OpenAPI document allows, as each role: make fuzz EXAMPLES=50
	@EXAMPLES=$(or $(EXAMPLES),50) .venv-security/bin/python -m pytest -q -p no:cacheprovider tests/fuzz

audit: .venv-security/stamp ## Look for weaknesses in the code and in what is installed
	@.venv-security/bin/bandit -q -c pyproject.toml -r gateway shared worker_text worker_image worker_fusion trainer infra
	@REQUESTS_CA_BUNDLE="$(or $(REQUESTS_CA_BUNDLE),$(CURL_CA_BUNDLE),$(BUNDLE))" \
		.venv-security/bin/pip-audit --disable-pip --require-hashes -r requirements/run.txt

guesses: .venv/dev.stamp ## Guess passwords of a system of its own, and say how far that comes
	@$(BIN)/python -m tests.bench.faults.guesses

admission: .venv/dev.stamp ## Measure what taking a job costs, beside a bare endpoint that writes a row
	@$(BIN)/python -m tests.bench.load.admission

metricscost: .venv/dev.stamp ## Measure requests a second with metrics and without
	@$(BIN)/python -m tests.bench.load.metrics_cost $(if $(ROUNDS),--rounds $(ROUNDS))

queues: .venv/dev.stamp ## Count 1,000 jobs in queues and workers beside the truth, at every moment
	@$(BIN)/python -m tests.bench.faults.queue_truth

boards: .venv/run.stamp ## Write Grafana's boards from infra/grafana/boards.py
	@$(BIN)/python -m infra.grafana

alarms: .venv/dev.stamp ## Count false alarms and due ones, and compare F1 without labels with the true one
	@$(BIN)/python -W ignore -m tests.bench.quality.alarms --data "$(DATA)"

drill: .venv/dev.stamp ## Change what a running system gets, and see that it says so and retrains
	@$(BIN)/python -m tests.bench.quality.drill --data "$(DATA)"

explore: .venv/run.stamp ## Show a dataset as one page: make explore DATA=folder OUT=explore.html
	@$(BIN)/python -m trainer explore --data "$(DATA)" --out "$(OUT)"

train: .venv/run.stamp ## Train a release: make train DATA=folder WEIGHTS=folder of ImageNet weights
	$(BIN)/python -m trainer train "$(DATA)" $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(MLFLOW),--mlflow "$(MLFLOW)")

evaluate: .venv/dev.stamp ## Score the test rows of DATA through the running system
	@$(BIN)/python -m infra.acceptance.evaluate --url "$(URL)" --data "$(DATA)"

bench: .venv/dev.stamp ## Measure latency, throughput and memory of the running system, catalogs too
	@$(BIN)/python -m tests.bench.load.speed --url "$(URL)" --data "$(DATA)"
	@$(BIN)/python -m tests.bench.load.catalogs --url "$(URL)" --data "$(DATA)"

compare: $(if $(OTHERS),.venv-bench/stamp,.venv/dev.stamp) ## Measure other ways to serve the model beside ours; OTHERS=1 installs them
	@$(if $(OTHERS),.venv-bench/bin,$(BIN))/python -m tests.bench.rivals.compare --url "$(URL)" --data "$(DATA)"

chaos: .venv/dev.stamp ## Kill workers and Redis of the running system under load, count jobs
	@$(BIN)/python -m tests.bench.faults.chaos --url "$(URL)" --data "$(DATA)"

catalogs: .venv/dev.stamp ## Break the running system twenty times while it classifies catalogs
	@$(BIN)/python -m tests.bench.faults.catalog_chaos --url "$(URL)" --data "$(DATA)"

promotion: .venv/dev.stamp ## Promote and roll back a release of the running system under 50 jobs/s
	@$(BIN)/python -m tests.bench.faults.promotion --url "$(URL)" --data "$(DATA)"

limits: .venv/dev.stamp ## Measure what each part costs, and compute what 10, 100, 1,000 times as much needs
	@$(BIN)/python -m tests.bench.limits $(if $(wildcard $(DATA)),--data "$(DATA)")

survivors: .venv/dev.stamp ## Kill each container of the Compose system while it classifies a catalog
	@$(BIN)/python -m tests.bench.faults.survivors --url "$(URL)" --data "$(DATA)"

backup: $(if $(COMPOSE),,.venv/run.stamp) ## Save the whole system, while it runs: make backup TO=folder; COMPOSE=1 for that of Compose
	@$(if $(COMPOSE),$(PYTHON),$(BIN)/python) -m infra.backup $(if $(COMPOSE),--compose) save "$(TO)"

restore: $(if $(COMPOSE),,.venv/run.stamp) ## Restore it into an empty one: make restore FROM=folder; REPLACE=1 empties it first
	@$(if $(COMPOSE),$(PYTHON),$(BIN)/python) -m infra.backup $(if $(COMPOSE),--compose) $(if $(REPLACE),--replace) restore "$(FROM)"

replicas: .venv/dev.stamp ## Measure two image workers of the Compose system beside one
	@$(BIN)/python -m tests.bench.load.replicas --url "$(URL)" --data "$(DATA)"

rolling: .venv/dev.stamp ## Roll another version out while 20 jobs/s arrive: make rolling DATA=folder VERSION=1.2.3
	@$(BIN)/python -m tests.bench.faults.rolling --data "$(DATA)" $(if $(VERSION),--version "$(VERSION)")

images: ## Build the image of every service: make images VERSION=1.2.3 BASE=python:3.11-slim@sha256:…
	@for name in gateway worker_text worker_image worker_fusion trainer infra/mlflow; do \
		short=$${name##*/}; echo "rayon/$$short:$(or $(VERSION),latest)"; \
		docker $(if $(CACHE),buildx build --load --cache-from "type=local$(comma)src=$(CACHE)/$$short" \
			--cache-to "type=local$(comma)dest=$(CACHE).new/$$short$(comma)mode=max",build) \
			--quiet --build-arg PYTHON="$(BASE)" -f $$name/Dockerfile -t "rayon/$$short:$(or $(VERSION),latest)" . || exit 1; \
	done
	@$(if $(CACHE),rm -rf "$(CACHE)" && mv "$(CACHE).new" "$(CACHE)",true)
	@docker image ls --filter "reference=rayon/*:$(or $(VERSION),latest)" --format 'table {{.Repository}}:{{.Tag}}\t{{.Size}}'

scan: ## Look the images through with trivy, and write what is in them: make scan VERSION=1.2.3 INTO=sbom
	@bash infra/ci/scan.sh "$(or $(VERSION),latest)" "$(or $(INTO),sbom)"

stack: .venv/dev.stamp ## Start the Compose system beside others, try it, and remove it: make stack VERSION=1.2.3
	@RAYON_VERSION="$(or $(VERSION),latest)" bash infra/ci/stack.sh

push: ## Push the images, write their digests: make push TO=registry/owner VERSION=1.2.3 INTO=digests.txt
	@bash infra/ci/push.sh "$(TO)" "$(or $(VERSION),latest)" "$(or $(INTO),digests.txt)"

deploy: .venv/dev.stamp ## To a machine, and back if it fails: make deploy HOST=user@vm URL=https://… VERSION=1.2.3
	@HOST="$(HOST)" URL="$(URL)" VERSION="$(VERSION)" DIGESTS="$(DIGESTS)" bash infra/ci/deploy.sh

tag: ## Mark a version that is on main: make tag VERSION=1.2.3
	@VERSION="$(VERSION)" bash infra/ci/tag.sh

notes: ## Print what the changelog says of a version: make notes VERSION=1.2.3
	@bash infra/ci/notes.sh "$(VERSION)"

smoke: .venv/dev.stamp ## Try a running system: sign-in, workers, a text, an image, a catalog
	@$(BIN)/python -m infra.acceptance.smoke --url "$(URL)"

validation: .venv/dev.stamp ## Ask a running system for products whose category is known; FLOORS=1 for F1 of DATA
	@$(BIN)/python -m infra.acceptance.validation --url "$(URL)" $(if $(FLOORS),--data "$(DATA)")

nightly: .venv/run.stamp ## Ask a running system for a training and follow it: make nightly URL=… DATASET=name
	@$(BIN)/python -m infra.ci.nightly --url "$(URL)" $(if $(DATASET),--dataset "$(DATASET)")

manifests: .venv-delivery/stamp ## Build the Kubernetes manifests and check them against the API's schemas
	@.venv-delivery/bin/python -m infra.k8s.manifests

workflows: .venv-delivery/stamp ## Lint the workflows of GitHub Actions, and the scripts that they run
	@.venv-delivery/bin/actionlint -shellcheck .venv-delivery/bin/shellcheck -pyflakes= .github/workflows/*.yml
	@.venv-delivery/bin/zizmor --offline --quiet .github/workflows
	@.venv-delivery/bin/shellcheck .ci/run $(wildcard infra/ci/*.sh infra/k8s/overlays/*/*.sh)

quarter: .venv/dev.stamp ## Live through three months of DATA, write their reports: make quarter PAGES=folder
	@$(BIN)/python -m tests.bench.quality.quarter --data "$(DATA)" --out "$(or $(PAGES),var/quarter)"

lock: .venv/dev.stamp ## Resolve requirements/*.in anew into requirements/*.txt with hashes
	@$(COMPILE) --upgrade requirements/uv.in -o requirements/uv.txt
	@$(COMPILE) --upgrade -c requirements/uv.txt requirements/dev.in -o requirements/dev.txt
	@$(COMPILE) --upgrade -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt
	@$(COMPILE) --upgrade -c requirements/dev.txt requirements/security.in -o requirements/security.txt
	@$(COMPILE) --upgrade -c requirements/dev.txt requirements/delivery.in -o requirements/delivery.txt
	@$(COMPILE) --upgrade requirements/bench-bentoml.in -o requirements/bench-bentoml.txt
	@for name in $(LOCKS); do \
		$(COMPILE) -c requirements/dev.txt requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## Remove what was built; data in var/ stays
	rm -rf .venv .venv-bench .venv-bentoml .venv-security .venv-delivery .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Rayon needs Python 3.11 or newer. Received: $$($(PYTHON) --version 2>&1). Another one: make run PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || { rm -rf .venv; \
		echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv"
	@$(BIN)/python -m pip config list | grep '\.cert=' >/dev/null || export PIP_CERT="$(BUNDLE)"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $(UV)

.venv/run.stamp: requirements/run.txt shared/client/pyproject.toml $(UV)
	@$(INSTALL) $(BIN)/python -r requirements/run.txt
	@$(UV) pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation -e shared/client
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/run.stamp
	@$(INSTALL) $(BIN)/python -r requirements/dev.txt
	@touch $@

.venv-security/stamp: requirements/security.txt $(UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-security
	@$(INSTALL) .venv-security/bin/python -r requirements/security.txt
	@touch $@

.venv-delivery/stamp: requirements/delivery.txt $(UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-delivery
	@$(INSTALL) .venv-delivery/bin/python -r requirements/delivery.txt
	@touch $@

.venv-bench/stamp: requirements/bench.txt requirements/bench-bentoml.txt $(UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-bentoml
	@$(INSTALL) .venv-bentoml/bin/python -r requirements/bench-bentoml.txt
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-bench
	@$(INSTALL) .venv-bench/bin/python -r requirements/bench.txt
	@touch $@
