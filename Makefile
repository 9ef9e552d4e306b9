# The commands to know. Each is a script under scripts/, which says at its head what it does and needs.

.DEFAULT_GOAL := help
.PHONY: help run check test test-full bench fuzz

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: ## build and start `sightline up`; pass flags as ARGS="--source test"
	@scripts/run $(ARGS)

check: ## fmt, clippy and unit tests: under a minute when warm
	@scripts/check

test: ## everything that guards a change, real clients included; installs what it needs
	@scripts/test

test-full: ## make test and the long ones: kills by the hundred, churn, soak, fuzzing, loom, dependency audit
	@scripts/test --full

bench: ## measure against the C floor, and the peers where their programs are given
	@bench/run

fuzz: ## fuzz every parser of outside bytes; SECONDS_EACH=60 sets how long
	@scripts/fuzz
