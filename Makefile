# `make demo` and `make test` set everything up by themselves: Python 3.11 or later and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Production-like settings for `check --deploy`; none of them is a secret of anybody's.
DEPLOY := METERPAY_ENV=production SECRET_KEY=only-for-the-deploy-check-in-make-lint-0123456789-0123456789 \
	PUBLIC_URL=https://pay.example.com ALLOWED_HOSTS=pay.example.com \
	DATABASE_URL=postgresql://meterpay@127.0.0.1:1/none MQTT_URL=mqtts://mqtt.example.com

.PHONY: setup demo test lint messages schema bench clean

setup: $(STAMP)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "meterpay needs Python 3.11 or later; try make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

demo: setup
	$(BIN)/python manage.py demo

test: setup
	$(BIN)/python -m pytest -n $${WORKERS:-2} --dist loadgroup $(ARGS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(DEPLOY) $(BIN)/python -W error manage.py check --deploy --fail-level WARNING
	$(BIN)/djlint templates --check --lint --quiet

# After adding a text for people: extract (needs GNU gettext), translate in locale/, compile. A test compares.
messages: setup
	$(BIN)/python manage.py makemessages -l zh_Hans --no-location --no-wrap --no-obsolete \
		-i .venv -i var -i 'tests/*' -i sandbox -i benchmarks
	$(BIN)/pybabel compile -D django -d locale -l zh_Hans

# After a change of the API: its description for those who write apps. A test compares.
schema: setup
	$(BIN)/python manage.py spectacular --lang en --file docs/openapi.yaml

bench: setup
	$(BIN)/python -m benchmarks $(ONLY)

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis
