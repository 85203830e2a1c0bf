# make demo: set-up and the main job on the demo data.  make test: set-up and all tests
# but make test-slurm: the workflow on a SLURM of four nodes on this machine (slurm-wlm, munge, root;
# with accounting: slurmdbd, mariadb-server-core, mariadb-client-core).
# make test-networks: networks are trained, fine-tuned and judged; takes minutes.
# make test-scores: our scores are those of other libraries, in an environment of their own.
# make test-trackers: other programs read what we write; sets up an environment for each that needs one.
# make bench: the figures of the README: scores of nuclei-3d, the watershed and measuring against
# their peers, on a GPU if there is one, and stitching at scale.
# make bench-networks DATA=... : networks beside StarDist, all trained for MINUTES each; takes hours.
PYTHON ?= python3
BIN := .venv/bin
# Where it is set, each of the many jobs would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
DEMO := results/demo
DATA ?= data
MINUTES ?= 30
THREADS ?= 2

.PHONY: setup demo test test-slurm test-trackers test-scores test-networks
.PHONY: bench bench-nuclei bench-watershed bench-measure bench-networks clean

setup: .venv/ready

.venv/ready: pyproject.toml envs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "$(PYTHON) is older than 3.11; Mosaicell needs 3.11 or newer: make PYTHON=python3.12 setup"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	{ echo "Python cannot make environments here: apt-get install python3-venv, then try again"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable '.[workflow,dev]'
	@touch $@

demo: setup
	$(BIN)/snakemake --configfile config/demo/config.yaml
	@echo
	@echo "labels  $(DEMO)/gonuclear/gonuclear.ome.zarr/labels/cells   $(DEMO)/lightsheet/lightsheet.ome.zarr/labels/cells"
	@echo "table   $(DEMO)/gonuclear/cells.parquet                     $(DEMO)/lightsheet/cells.parquet"
	@echo "report  $(DEMO)/gonuclear/report.html                       $(DEMO)/lightsheet/report.html"
	@echo "scores  $(DEMO)/gonuclear/scores.json:"
	@cat $(DEMO)/gonuclear/scores.json

# Prints the figures that the README claims.
bench: bench-nuclei bench-watershed bench-measure
	$(BIN)/python tests/benchmarks/segment_gpu.py
	$(BIN)/python tests/benchmarks/stitch_simulation.py --cells 1e5 1e6

bench-nuclei: setup
	$(BIN)/snakemake --configfile tests/benchmarks/nuclei_3d/config.yaml -- scores
	$(BIN)/python tests/benchmarks/nuclei_3d/table.py

# Without the peers' environment the benchmark goes on, and says what it leaves out.
bench-watershed: setup
	-@$(MAKE) --no-print-directory .venv-peers/ready
	$(BIN)/python tests/benchmarks/watershed_peers.py

bench-measure: setup
	-@$(MAKE) --no-print-directory .venv-peers/ready
	$(BIN)/python tests/benchmarks/measure_peers.py

# A method that is done is not done again: remove its folder in results/networks.
bench-networks: setup
	-@$(MAKE) --no-print-directory .venv-stardist/ready
	$(BIN)/python tests/benchmarks/network_peers.py $(DATA) --minutes $(MINUTES) --threads $(THREADS)

.venv-stardist/ready: tests/benchmarks/stardist.txt
	@$(PYTHON) -m venv .venv-stardist
	@.venv-stardist/bin/python -m pip install --quiet --requirement $<
	@touch $@

.venv-peers/ready: tests/benchmarks/peers.txt
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --requirement $<
	@touch $@

docs/columns.md: setup workflow/mosaicell/columns.py
	$(BIN)/python -c 'from mosaicell.columns import markdown; print(markdown(), end="")' > $@

docs/synthetic.md: setup tests/benchmarks/synthetic_gallery.py $(wildcard workflow/mosaicell/synthetic/*.py)
	$(BIN)/python tests/benchmarks/synthetic_gallery.py $@

test: setup
	$(BIN)/python -m pytest -m 'not slurm and not trackers and not scores and not networks' --numprocesses auto --dist worksteal

# Skipped, with the reason, where SLURM is not installed.
test-slurm: setup
	$(BIN)/python -m pytest -m slurm

test-networks: setup
	$(BIN)/python -m pytest -m networks --numprocesses auto --dist worksteal

test-scores: setup .venv-scores/ready
	$(BIN)/python -m pytest -m scores

.venv-scores/ready: tests/scores/peers.txt
	@$(PYTHON) -m venv .venv-scores
	@.venv-scores/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

# -j3 sets up the three environments side by side.
test-trackers: .venv-trackers/ready .venv-btrack/ready .venv-ultrack/ready
	.venv-trackers/bin/python -m pytest -m trackers --numprocesses auto --dist loadfile

.venv-trackers/ready: pyproject.toml envs/constraints.txt tests/trackers/trackers.txt
	@$(PYTHON) -m venv .venv-trackers
	@.venv-trackers/bin/python -m pip install --quiet --constraint envs/constraints.txt \
	--editable '.[workflow,dev,track]' --requirement tests/trackers/trackers.txt
	@touch $@

.venv-%/ready: tests/trackers/%.txt
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --requirement $<
	@touch $@

clean:
	rm -rf .venv .venv-* .snakemake results
