# One command per intent; `make help` lists them. CI runs the same ones.

PYTHON ?= python3
DATA ?= ../shared/data/rakuten
OUT ?= explore.html
comma := ,
# Base image of every service; name a digest for a reproducible build.
BASE ?= python:3.11-slim
URL ?= http://127.0.0.1:$${RAYON_GATEWAY_PORT:-8000}

BIN := .venv/bin
UV := $(BIN)/uv
# Certificate authorities that the installers trust: the bundle that the user names, else the system's,
# which may hold a private authority. Without either they use the bundle that they ship. Neither uv nor
# pip before 24.2 reads the system's store by default.
BUNDLE := $(or $(SSL_CERT_FILE),$(PIP_CERT),$(REQUESTS_CA_BUNDLE),$(CURL_CA_BUNDLE),$(wildcard /etc/ssl/certs/ca-certificates.crt))
TRUST := $(if $(BUNDLE),$(if $(wildcard $(BUNDLE)/.),SSL_CERT_DIR,SSL_CERT_FILE)="$(BUNDLE)")
INSTALL := $(TRUST) $(UV) pip install --quiet --compile-bytecode --require-hashes --override requirements/overrides.txt --python
LOCKS := base database gateway worker_text worker_image worker_fusion trainer client run mlflow
# The locked versions hold for every Python from 3.11 on, on Linux x86_64 and aarch64.
COMPILE = $(TRUST) UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--override requirements/overrides.txt

.DEFAULT_GOAL := help

##@ Start

.PHONY: help run

help: ## List these commands
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: .venv/run.stamp ## Start the whole system on this machine; Ctrl-C stops it
	@exec $(BIN)/python -m infra.embedded

##@ Develop

.PHONY: unit integration components e2e test lint format structure translations console-image fuzz audit lock licences clean

# The tests import the whole project in several processes and start many more. Where the environment
# forbids Python to store bytecode, each of them would compile the project again.
unit integration components e2e: export PYTHONDONTWRITEBYTECODE :=

# Each process computes on one core: with more threads the linear algebra of small matrices takes twice
# the processor time, most of it waiting for other processes. There is one process more than cores,
# because many tests wait for a time limit, a worker or a browser. Files run in the order of the command,
# so that a long one is not the last. End-to-end tests beside them come first.
PROCESSES = $$(($$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 1))
PARALLEL = OMP_NUM_THREADS=1 nice $(BIN)/python -m pytest -n "$(PROCESSES)" --dist loadfile --no-loadscope-reorder

unit: .venv/dev.stamp ## Run the unit tests: no servers, no TensorFlow
	@$(PARALLEL) tests/unit

integration: .venv/dev.stamp ## Run the integration tests: real Redis, PostgreSQL, SQLite and Celery workers
	@$(PARALLEL) tests/integration

components: .venv/dev.stamp ## Run the unit and integration tests, and those of the models with TensorFlow
	@echo "== integration, model, unit"
	@$(PARALLEL) tests/integration $(wildcard tests/model) tests/unit

e2e: .venv/dev.stamp ## Run the end-to-end tests: the whole system
	@echo "== end to end"
	@$(BIN)/python -m pytest tests/e2e

test: components e2e ## Run every test; with --jobs=2, end to end beside the others

lint: .venv/dev.stamp ## Check format, style, types, layers and structure
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=shared/client $(BIN)/lint-imports --no-logo
	@$(BIN)/python -m infra.ci.structure --check

format: .venv/dev.stamp ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

console-image: .venv/dev.stamp ## Take the image of the console in the README, in a real browser
	@CONSOLE_IMAGE=infra/docs/console.png $(BIN)/python -m pytest -q tests/integration/console/test_console_image.py

translations: .venv/dev.stamp ## Collect the texts of the console for translation
	@$(BIN)/python -m infra.ci.translations

structure: .venv/dev.stamp ## Print the figures of the code structure; beside a commit's: make structure BEFORE=e3fb9ee LIST=1
	@$(if $(BEFORE),before=$$(mktemp -d) && git worktree add --quiet --detach "$$before" "$(BEFORE)" && \
		trap 'git worktree remove --force "$$before"' EXIT &&) \
		$(BIN)/python -m infra.ci.structure $(if $(BEFORE),"$$before") . $(if $(LIST),--list)

fuzz: .venv-security/stamp ## Fuzz the HTTP API from its OpenAPI document, as each role: make fuzz EXAMPLES=50
	@EXAMPLES=$(or $(EXAMPLES),50) .venv-security/bin/python -m pytest -q -p no:cacheprovider tests/fuzz

audit: .venv-security/stamp ## Scan the code and the installed packages for vulnerabilities
	@.venv-security/bin/bandit -q -c pyproject.toml -r gateway shared worker_text worker_image worker_fusion trainer infra
	@REQUESTS_CA_BUNDLE="$(or $(REQUESTS_CA_BUNDLE),$(CURL_CA_BUNDLE),$(BUNDLE))" \
		.venv-security/bin/pip-audit --disable-pip --require-hashes -r requirements/run.txt

lock: .venv/dev.stamp ## Resolve requirements/*.in into requirements/*.txt with hashes
	@$(COMPILE) --upgrade requirements/uv.in -o requirements/uv.txt
	@$(COMPILE) --upgrade -c requirements/uv.txt requirements/dev.in -o requirements/dev.txt
	@$(COMPILE) --upgrade -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt
	@$(COMPILE) --upgrade -c requirements/dev.txt requirements/security.in -o requirements/security.txt
	@$(COMPILE) --upgrade -c requirements/dev.txt requirements/delivery.in -o requirements/delivery.txt
	@$(COMPILE) --upgrade --no-deps requirements/encoder.in -o requirements/encoder.txt
	@$(COMPILE) --upgrade requirements/bench-bentoml.in -o requirements/bench-bentoml.txt
	@for name in $(LOCKS); do \
		$(COMPILE) -c requirements/dev.txt requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

licences: .venv/run.stamp ## List the licences of all runtime dependencies
	@$(BIN)/python -m infra.ci.licences

clean: ## Remove build products; data in var/ stays
	rm -rf .venv .venv-bench .venv-bentoml .venv-security .venv-delivery .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Train

.PHONY: explore weights train deliver evaluate

explore: .venv/run.stamp ## Describe a dataset as one HTML page: make explore DATA=folder OUT=explore.html
	@$(BIN)/python -m trainer explore "$(DATA)" --out "$(OUT)"

weights: .venv/run.stamp ## Fetch pretrained weights: make weights TO=folder; LIST=1 shows what there is
	@$(BIN)/python -m trainer weights --to "$(or $(TO),weights)" $(if $(LIST),--list) $(NAMES)

train: .venv/run.stamp ## Train a release: make train DATA=folder WEIGHTS=folder with ImageNet weights
	$(BIN)/python -m trainer train "$(DATA)" $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(MLFLOW),--mlflow "$(MLFLOW)") \
		$(if $(LINEUP),--lineup "$(LINEUP)") $(if $(ARITHMETIC),--arithmetic "$(ARITHMETIC)") $(if $(CANDIDATES),--candidates $(CANDIDATES)) \
		$(if $(FINAL_FIT),--final-fit "$(FINAL_FIT)") $(if $(OFFLINE),--offline)

deliver: .venv/run.stamp ## Register a trained release and compare it with the champion: make deliver FOLDER=var/training/release; PROMOTE=1
	@$(BIN)/python -m trainer deliver "$(or $(FOLDER),var/training/release)" $(if $(filter command,$(firstword $(origin DATA))),--data "$(DATA)") $(if $(PROMOTE),--promote)

evaluate: .venv/dev.stamp ## Score the test rows of DATA through the running system
	@$(BIN)/python -m infra.acceptance.evaluate --url "$(URL)" --data "$(DATA)"

##@ Operate a running system

.PHONY: smoke validation nightly backup

smoke: .venv/dev.stamp ## Test a running system in a minute: sign-in, workers, a text, an image, a catalog
	@$(BIN)/python -m infra.acceptance.smoke --url "$(URL)"

validation: .venv/dev.stamp ## Check the answers of a running system for known products; FLOORS=1 checks F1 on DATA
	@$(BIN)/python -m infra.acceptance.validation --url "$(URL)" $(if $(FLOORS),--data "$(DATA)")

nightly: .venv/run.stamp ## Request a training run of a running system and follow it: make nightly URL=… DATASET=name
	@$(BIN)/python -m infra.ci.nightly --url "$(URL)" $(if $(DATASET),--dataset "$(DATASET)")

backup: $(if $(COMPOSE),,.venv/run.stamp) ## Back up the running system: make backup TO=folder; COMPOSE=1 for the Compose system
	@$(if $(COMPOSE),$(PYTHON),$(BIN)/python) -m infra.backup $(if $(COMPOSE),--compose) save "$(TO)"

##@ Destructive: replace or break a running system

.PHONY: restore deploy chaos catalogs survivors rolling promotion

restore: $(if $(COMPOSE),,.venv/run.stamp) ## Restore a backup into an empty system: make restore FROM=folder; REPLACE=1 deletes its data first
	@$(if $(COMPOSE),$(PYTHON),$(BIN)/python) -m infra.backup $(if $(COMPOSE),--compose) $(if $(REPLACE),--replace) restore "$(FROM)"

deploy: .venv/dev.stamp ## Deploy over SSH; roll back on failure: make deploy HOST=user@vm URL=https://… VERSION=1.2.3
	@HOST="$(HOST)" URL="$(URL)" VERSION="$(VERSION)" DIGESTS="$(DIGESTS)" bash infra/ci/deploy.sh

chaos: .venv/dev.stamp ## Kill workers and Redis of the running system under load and count jobs
	@$(BIN)/python -m tests.bench.faults.chaos --url "$(URL)" --data "$(DATA)"

catalogs: .venv/dev.stamp ## Inject twenty faults into the running system while it classifies catalogs
	@$(BIN)/python -m tests.bench.faults.catalog_chaos --url "$(URL)" --data "$(DATA)"

survivors: .venv/dev.stamp ## Kill each container of the Compose system while it classifies a catalog
	@$(BIN)/python -m tests.bench.faults.survivors --url "$(URL)" --data "$(DATA)"

rolling: .venv/dev.stamp ## Roll out another version while 20 jobs/s arrive: make rolling DATA=folder VERSION=1.2.3
	@$(BIN)/python -m tests.bench.faults.rolling --data "$(DATA)" $(if $(VERSION),--version "$(VERSION)")

promotion: .venv/dev.stamp ## Promote and roll back a release of the running system under 50 jobs/s
	@$(BIN)/python -m tests.bench.faults.promotion --url "$(URL)" --data "$(DATA)"

##@ Build and deliver

.PHONY: images scan stack push tag notes manifests workflows boards

images: ## Build the image of every service: make images VERSION=1.2.3 BASE=python:3.11-slim@sha256:…
	@for name in gateway worker_text worker_image worker_fusion trainer infra/mlflow; do \
		short=$${name##*/}; echo "rayon/$$short:$(or $(VERSION),latest)"; \
		docker $(if $(CACHE),buildx build --load --cache-from "type=local$(comma)src=$(CACHE)/$$short" \
			--cache-to "type=local$(comma)dest=$(CACHE).new/$$short$(comma)mode=max",build) \
			--quiet --build-arg PYTHON="$(BASE)" -f $$name/Dockerfile -t "rayon/$$short:$(or $(VERSION),latest)" . || exit 1; \
	done
	@$(if $(CACHE),rm -rf "$(CACHE)" && mv "$(CACHE).new" "$(CACHE)",true)
	@docker image ls --filter "reference=rayon/*:$(or $(VERSION),latest)" --format 'table {{.Repository}}:{{.Tag}}\t{{.Size}}'

scan: ## Scan the images with Trivy and write their SBOMs: make scan VERSION=1.2.3 INTO=sbom
	@bash infra/ci/scan.sh "$(or $(VERSION),latest)" "$(or $(INTO),sbom)"

stack: .venv/dev.stamp ## Start a second Compose system, test it and remove it: make stack VERSION=1.2.3
	@RAYON_VERSION="$(or $(VERSION),latest)" bash infra/ci/stack.sh

push: ## Push the images and write their digests: make push TO=registry/owner VERSION=1.2.3 INTO=digests.txt
	@bash infra/ci/push.sh "$(TO)" "$(or $(VERSION),latest)" "$(or $(INTO),digests.txt)"

tag: ## Tag a version that is on main: make tag VERSION=1.2.3
	@VERSION="$(VERSION)" bash infra/ci/tag.sh

notes: ## Print the changelog of a version: make notes VERSION=1.2.3
	@bash infra/ci/notes.sh "$(VERSION)"

manifests: .venv-delivery/stamp ## Build the Kubernetes manifests and validate them against the API schemas
	@.venv-delivery/bin/python -m infra.k8s.manifests

workflows: .venv-delivery/stamp ## Lint the GitHub Actions workflows and their scripts
	@.venv-delivery/bin/actionlint -shellcheck .venv-delivery/bin/shellcheck -pyflakes= .github/workflows/*.yml
	@.venv-delivery/bin/zizmor --offline --quiet .github/workflows
	@.venv-delivery/bin/shellcheck .ci/run $(wildcard infra/ci/*.sh infra/k8s/overlays/*/*.sh)

boards: .venv/run.stamp ## Write Grafana's dashboards from infra/grafana/boards.py
	@$(BIN)/python -m infra.grafana

##@ Measure a running system

.PHONY: bench guard compare replicas

bench: .venv/dev.stamp ## Measure latency, throughput and memory of the running system, with catalogs
	@$(BIN)/python -m tests.bench.load.speed --url "$(URL)" --data "$(DATA)"
	@$(BIN)/python -m tests.bench.load.catalogs --url "$(URL)" --data "$(DATA)"

guard: .venv/dev.stamp ## Compare the running system's speed with the stored one, as ratios to the bare models; KEEP=1 stores it
	@$(BIN)/python -W ignore -m tests.bench.load.guard --url "$(URL)" --data "$(DATA)" $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(KEEP),--keep)

compare: $(if $(OTHERS),.venv-bench/stamp,.venv/dev.stamp) ## Compare with other ways to serve the same model; OTHERS=1 installs them, ROUNDS=3 prints medians
	@$(if $(OTHERS),.venv-bench/bin,$(BIN))/python -m tests.bench.rivals.compare --url "$(URL)" --data "$(DATA)" $(if $(ROUNDS),--rounds $(ROUNDS))

replicas: .venv/dev.stamp ## Measure two image workers of the Compose system beside one
	@$(BIN)/python -m tests.bench.load.replicas --url "$(URL)" --data "$(DATA)"

##@ Measure with a throw-away system

.PHONY: admission answers metricscost attacks nights soak guesses queues decoding limits releases beside alarms console cpu drill watch ngrams combining quarter months

cpu: .venv/dev.stamp ## Measure CPU time of a single job, idle CPU and memory by process; beside a checkout: make cpu BEFORE=folder; IDLE=120 for those of an idle system only
	@$(BIN)/python -m tests.bench.load.cpu $(if $(BEFORE),--before "$(BEFORE)") $(if $(IDLE),--idle $(IDLE))

answers: .venv/dev.stamp ## Measure the answers of a catalog on SQLite and PostgreSQL: make answers ROWS=50000
	@$(BIN)/python -m tests.bench.load.answers $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: growth
growth: .venv/dev.stamp ## Measure whether the cost of a row of a large catalog of the texts of DATA grows: make growth ROWS=1000000 STEP=100000
	@$(BIN)/python -W ignore -m tests.bench.load.growth --data "$(DATA)" $(if $(ROWS),--rows $(ROWS)) $(if $(STEP),--step $(STEP))

admission: .venv/dev.stamp ## Measure the cost of accepting a job, beside a bare endpoint that writes a row
	@$(BIN)/python -m tests.bench.load.admission

metricscost: .venv/dev.stamp ## Measure requests per second with and without metrics
	@$(BIN)/python -m tests.bench.load.metrics_cost $(if $(ROUNDS),--rounds $(ROUNDS))

attacks: .venv/dev.stamp ## Attack a throw-away system, one figure per control; beside a commit's: make attacks BEFORE=e3179e9
	@$(BIN)/python -m tests.bench.attacks $(if $(BEFORE),--before "$(BEFORE)") $(if $(ROWS),--rows $(ROWS))

nights: .venv/dev.stamp ## Stop, fill, break and kill parts of a throw-away system and count the jobs: make nights ONLY=disk-full
	@$(BIN)/python -m tests.bench.nights $(if $(ONLY),--only "$(ONLY)") $(if $(DATABASE),--database "$(DATABASE)") \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(BEFORE),--before "$(BEFORE)")

soak: .venv/dev.stamp ## Load a throw-away system for an hour and report what grows: make soak MINUTES=60 RATE=30
	@$(BIN)/python -m tests.bench.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE)) \
		$(if $(IMAGES),--images $(IMAGES))

console: .venv/dev.stamp ## Import a large catalog in a real browser, with the time of each step: make console ROWS=50000
	@$(BIN)/python -m tests.bench.console $(if $(ROWS),--rows $(ROWS))

guesses: .venv/dev.stamp ## Attack the sign-in of a throw-away system and report how far password guessing gets
	@$(BIN)/python -m tests.bench.faults.guesses

queues: .venv/dev.stamp ## Compare the queue figures with the truth while workers take jobs and die
	@$(BIN)/python -m tests.bench.faults.queue_truth

decoding: .venv/dev.stamp ## Measure the cost of decoding images in processes with limits, beside none
	@$(BIN)/python -m tests.bench.load.decoding $(if $(wildcard $(DATA)),--data "$(DATA)") $(if $(ROUNDS),--rounds $(ROUNDS))

limits: .venv/dev.stamp ## Measure the cost of each part and compute what 10, 100 and 1,000 times the load needs
	@$(BIN)/python -m tests.bench.limits $(if $(wildcard $(DATA)),--data "$(DATA)")

releases: .venv/dev.stamp ## Measure promotions, lists and jobs with a registry of 502 releases; beside a checkout: make releases BEFORE=folder
	@$(BIN)/python -m tests.bench.load.releases $(if $(BEFORE),--before "$(BEFORE)") $(if $(VERSIONS),--versions $(VERSIONS))

beside: .venv/dev.stamp ## Measure jobs and catalogs beside a training, and without; beside a checkout: make beside BEFORE=folder
	@$(BIN)/python -m tests.bench.load.beside $(if $(BEFORE),--before "$(BEFORE)") $(if $(ROUNDS),--rounds $(ROUNDS))

alarms: .venv/dev.stamp ## Count false and missed drift alerts; compare estimated with true F1
	@$(BIN)/python -W ignore -m tests.bench.quality.alarms --data "$(DATA)"

drill: .venv/dev.stamp ## Shift the input of a throw-away system and check that it alerts and retrains
	@$(BIN)/python -m tests.bench.quality.drill --data "$(DATA)"

.PHONY: recovery
recovery: .venv/dev.stamp ## Change the products of a throw-away system for good, and see F1 recover with no hand: make recovery ONLY="new category" SEEDS=3
	@$(BIN)/python -W ignore -m tests.bench.quality.recovery --data "$(DATA)" $(if $(ONLY),--only "$(ONLY)") $(if $(SEEDS),--seeds $(SEEDS))

.PHONY: taxonomy
taxonomy: .venv/dev.stamp ## Train a throw-away system on 500 made-up categories in a tree, and add one later: make taxonomy SEED=1; WEIGHTS_ONLY=1
	@$(BIN)/python -W ignore -m tests.bench.quality.taxonomy $(if $(SEED),--seed $(SEED)) $(if $(WEIGHTS_ONLY),--weights-only)

watch: .venv/dev.stamp ## Promote bad and good releases and count those that the watch rolls back: make watch GOOD=20
	@$(BIN)/python -W ignore -m tests.bench.quality.watch --data "$(DATA)" $(if $(GOOD),--good $(GOOD))

.PHONY: poison
poison: .venv/dev.stamp ## Train on wrong labels of clients and reviewers, with and without the guards, on the texts of DATA
	@$(BIN)/python -W ignore -m tests.bench.quality.poison --data "$(DATA)"

.PHONY: foreign eightbits
foreign: .venv/dev.stamp ## Compare ways to tell products that belong to none of the categories, on the rows of DATA
	@$(BIN)/python -W ignore -m tests.bench.quality.foreign --data "$(DATA)"

eightbits: .venv/dev.stamp ## Compare image networks and text models in 8-bit arithmetic with floats: speed and F1, on DATA with WEIGHTS; ONLY=texts
	@$(if $(filter texts,$(ONLY)),,$(BIN)/python -W ignore -m tests.bench.quality.eightbits --data "$(DATA)" --weights "$(or $(WEIGHTS),weights)" \
		--keep "$(or $(KEEP),var/eightbits)" $(if $(WEAK),--weak "$(WEAK)"))
	@$(if $(filter images,$(ONLY)),,$(BIN)/python -W ignore -m tests.bench.quality.eightbit_texts --data "$(DATA)" --weights "$(or $(WEIGHTS),weights)" \
		--keep "$(or $(KEEP),var/eightbits)" $(if $(TEXTS),--texts "$(TEXTS)"))

.PHONY: texts
texts: .venv/dev.stamp ## Print the board of the text models on DATA: students beside their teacher, with WEIGHTS and WORK; CANDIDATES=text_ngrams; CURVE=1 prints learning curves instead, with TARGET=.80, SHARES="25 50 100" and SEEDS
	@$(BIN)/python -W ignore -m tests.bench.quality.$(if $(CURVE),curves.)texts --data "$(DATA)" $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(WORK),--work "$(WORK)") \
		$(if $(CANDIDATES),--candidates $(CANDIDATES)) $(if $(CURVE),$(if $(TARGET),--target $(TARGET)) $(if $(SHARES),--shares $(SHARES)) $(if $(SEEDS),--seeds $(SEEDS)))

.PHONY: finetuning
finetuning: .venv/dev.stamp ## Measure fine-tuning on the texts of DATA blown up to 84,916: time of an epoch, memory; with WEIGHTS, MINUTES and THREADS
	@$(BIN)/python -W ignore -m tests.bench.load.finetuning --data "$(DATA)" --weights "$(or $(WEIGHTS),weights)" \
		$(if $(ROWS),--rows $(ROWS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(THREADS),--threads $(THREADS))

.PHONY: imagetuning
imagetuning: .venv/dev.stamp ## Measure fine-tuning of all layers of an image network on 84,916 images: make imagetuning NETWORK=xception WEIGHTS=folder MINUTES=5 THREADS=2; STAGES="96:1:.5 128:2:1" (pixels, epochs, layers); FIT=1 fits it and compares F1 with the frozen one, in WORK
	@$(BIN)/python -W ignore -m tests.bench.$(if $(FIT),quality,load).imagetuning --data "$(DATA)" --weights "$(or $(WEIGHTS),weights)" \
		$(if $(NETWORK),--network $(NETWORK)) $(if $(STAGES),--stages $(STAGES)) $(if $(THREADS),--threads $(THREADS)) \
		$(if $(FIT),$(if $(WORK),--work "$(WORK)"),$(if $(ROWS),--rows $(ROWS)) $(if $(MINUTES),--minutes $(MINUTES)))

ngrams: .venv/dev.stamp ## Compare forms of the n-gram model with exact n-grams on the rows of DATA
	@$(BIN)/python -W ignore -m tests.bench.quality.ngrams --data "$(DATA)"

combining: .venv/dev.stamp ## Compare ways to combine models on the scores of the starter release, on the rows of DATA; CURVE=1 prints learning curves of images and fusion instead, with WEIGHTS, WORK, SHARES and SEEDS
	@$(BIN)/python -W ignore -m tests.bench.quality.$(if $(CURVE),curves.images,combining) --data "$(DATA)" \
		$(if $(CURVE),--weights "$(or $(WEIGHTS),weights)" $(if $(WORK),--work "$(WORK)") $(if $(SHARES),--shares $(SHARES)) $(if $(SEEDS),--seeds $(SEEDS)))

.PHONY: finalfit
finalfit: .venv/dev.stamp ## Compare models before and after the final fit by the number of rows of DATA, with WEIGHTS, WORK, SHARES and SEEDS
	@$(BIN)/python -W ignore -m tests.bench.quality.curves.finalfit --data "$(DATA)" --weights "$(or $(WEIGHTS),weights)" \
		$(if $(WORK),--work "$(WORK)") $(if $(SHARES),--shares $(SHARES)) $(if $(SEEDS),--seeds $(SEEDS))

quarter: .venv/dev.stamp ## Replay three months of DATA and write their reports: make quarter PAGES=folder
	@$(BIN)/python -m tests.bench.quality.quarter --data "$(DATA)" --out "$(or $(PAGES),var/quarter)"

months: .venv/dev.stamp ## Judge 24 simulated months, 12 of them with a fault, by the monthly report
	@$(BIN)/python -m tests.bench.quality.quarter.months --data "$(DATA)" --out "$(or $(PAGES),var/quarter)"

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
