#!/usr/bin/env bash
# Everything a change must pass. Called by .ci/run and by .github/workflows/ci.yml.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" --version
# The report's browser tests need Chromium and a Chinese font; without them they are skipped.
if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq chromium fonts-wqy-zenhei >/dev/null || echo "no chromium, no browser tests"
fi
# A shared machine stalls: a test of time-outs, signals or a browser may fail once. The summary names each that ran again.
export CI=1 PYTEST_ADDOPTS="--reruns 1 -rfEsR"
make lint
make docs
make test
make test-distributed
make test-long
make test-fused
make test-verifiers
make test-vllm
