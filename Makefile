# tools/in_env runs a command in the project's environment, which its first call makes.
IN_ENV := tools/in_env
PYTEST := $(IN_ENV) python -m pytest

help:
	@echo 'make demo     render a scene, run the node on it, leave pictures and a report in out/'
	@echo 'make test     linters, unit, parity, ROS and package tests, in one run of pytest'
	@echo 'make lint     linters and layer test only'
	@echo 'make parity   every variant at full size against upstream (much memory, long)'
	@echo 'make env      only make the environment'
	@echo 'make clean    delete the environments and what demo and builds left'
	@echo
	@echo 'ARGS="..." adds arguments: make test ARGS="-k alignment"'

demo:
	$(IN_ENV) python -m da3_ros.demo $(ARGS)

test:
	$(PYTEST) $(ARGS)

lint:
	$(PYTEST) test/lint $(ARGS)

parity:
	$(PYTEST) test/parity -m '' $(ARGS)

env:
	$(IN_ENV)

clean:
	rm -rf .venv .venv-* build install log out
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help demo test lint parity env clean
