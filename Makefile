# make demo   the whole pipeline on data that it renders itself
# make test   the tests
# make test-deploy   detection in an environment that has the packages of requirements-deploy.txt alone
# make test-gpu   the tests that need a GPU
# make lint   ruff and mypy
# Each installs what it needs in .venv.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEMO := demo

.PHONY: demo test test-deploy lint clean

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-extra: requirements-extra.txt $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-extra.txt
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

EXPORT := export.py --pretrain-model $(DEMO)/finetuning/best.pt --short-side 192

demo: $(VENV)/installed-extra
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
	$(RUN) $(EXPORT) --output $(DEMO)/model.onnx
	$(RUN) $(TEST) --pretrain-model $(DEMO)/model.onnx --output-dir $(DEMO)/exported
	$(RUN) $(EXPORT) --output $(DEMO)/model_int8.onnx --int8 $(DEMO)/data/frames/train_images1
	$(RUN) $(TEST) --pretrain-model $(DEMO)/model_int8.onnx --output-dir $(DEMO)/int8
	$(RUN) -m tools.compare_results $(DEMO)/original $(DEMO)/pruned $(DEMO)/finetuned $(DEMO)/exported $(DEMO)/int8
	@echo "pictures: $(DEMO)/original, $(DEMO)/pruned, $(DEMO)/finetuned"

# A process per core, with one thread each: PyTorch's threads wait for each other where there are more than cores.
PYTEST := -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

test: export OMP_NUM_THREADS := 1
test: $(VENV)/installed-dev .opencv4/installed
	$(RUN) $(PYTEST)
	PYTHONPATH=.opencv4 $(RUN) $(PYTEST) tests/test_geometry.py tests/data/test_targets.py tests/data/test_augmentation.py \
		tests/data/test_datasets.py tests/data/test_images.py tests/test_decode.py

DEPLOY := .venv-deploy

$(DEPLOY)/installed: requirements-deploy.txt
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-deploy.txt
	touch $@

test-deploy: $(VENV)/installed-extra $(DEPLOY)/installed
	$(RUN) export.py --pretrain-model weights/narrow_pruned.pt --output $(DEPLOY)/model.onnx --short-side 736
	$(DEPLOY)/bin/python detect.py --pretrain-model $(DEPLOY)/model.onnx --output-dir $(DEPLOY)/out docs/detections.jpg
	$(DEPLOY)/bin/python -c "import importlib.util as find; assert not find.find_spec('torch')"
	test -s $(DEPLOY)/out/res_detections.txt
	du -sm $(DEPLOY)

test-gpu: $(VENV)/installed-dev
	$(RUN) -m pytest -m gpu -rs tests/gpu

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) $(DEPLOY) .opencv4 $(DEMO)
