#!/usr/bin/env bash
# Everything a change must pass. Called by .ci/run and by .github/workflows/ci.yml.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" --version
# The report's browser tests need Chromium; without it they are skipped.
if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq chromium >/dev/null || echo "chromium could not be installed"
fi
make lint
make test
