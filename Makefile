# make demo   the whole pipeline on data that it renders itself
# make test   the tests
# make lint   ruff and mypy
# Each installs what it needs in .venv.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEMO := demo

.PHONY: demo test lint clean

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	touch $@

# A second OpenCV: 4.x and 5.x return different angles and corner orders.
.opencv4/installed: $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --target .opencv4 "opencv-python==4.13.0.92"
	touch $@

VIEW := --val-short-side 192
DATA := --train-folder-syn $(DEMO)/data/synthtext --train-folder-sample $(DEMO)/data/frames --short-side 192 --crop 128
TRAIN := train_sample.py $(DATA) $(VIEW) --batch-size 8 --batches-before-train 1 --val --schedule cosine --warmup-steps 20
TEST := test_sample.py --test-folder-sample $(DEMO)/data/frames --batch-size 1 --batches-before-train 1 $(VIEW)

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(RUN) -m tools.demo_data --out $(DEMO)/data
	$(RUN) $(TRAIN) --backbone-weights none --epoch 5 --save-epoch-every 0 --save-dir $(DEMO)/training
	$(RUN) $(TEST) --pretrain-model $(DEMO)/training/best.pt --output-dir $(DEMO)/original
	$(RUN) prune.py --pretrain-model $(DEMO)/training/best.pt --save-dir $(DEMO)/pruning --sparsity 0.5 --criterion obs \
		--size 192 256 $(DATA)
	$(RUN) $(TEST) --pretrain-model $(DEMO)/pruning/pruned.pt --prune --output-dir $(DEMO)/pruned
	$(RUN) $(TRAIN) --pretrain-model $(DEMO)/pruning/pruned.pt --continue-training --prune \
		--teacher $(DEMO)/training/best.pt --epoch 3 --save-epoch-every 0 --save-dir $(DEMO)/finetuning
	$(RUN) $(TEST) --pretrain-model $(DEMO)/finetuning/best.pt --prune --output-dir $(DEMO)/finetuned
	$(RUN) -m tools.compare_results $(DEMO)/original $(DEMO)/pruned $(DEMO)/finetuned
	@echo "pictures: $(DEMO)/original, $(DEMO)/pruned, $(DEMO)/finetuned"

test: $(VENV)/installed-dev .opencv4/installed
	$(RUN) -m pytest
	PYTHONPATH=.opencv4 $(RUN) -m pytest tests/test_geometry.py tests/data/test_targets.py tests/data/test_augmentation.py \
		tests/data/test_datasets.py tests/data/test_images.py tests/test_decode.py

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) .opencv4 $(DEMO)
