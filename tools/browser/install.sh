#!/usr/bin/env bash
# Installs what xtask/tests/serve_browser.rs needs: Chromium (Debian, as root) and playwright-core (npm). Does nothing where
# both are there; ends with 0 and a line where something cannot be had, since the test is skipped then.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! command -v chromium >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    quick=(-o Acquire::Retries=0 -o Acquire::http::Timeout=10)
    {
        timeout 60 apt-get "${quick[@]}" update -qq &&
            timeout 180 apt-get "${quick[@]}" install -y -qq --no-install-recommends chromium fonts-dejavu-core
    } >/dev/null 2>&1 || echo "no Chromium: apt-get install chromium failed"
fi
if [[ ! -d node_modules/playwright-core ]] && command -v npm >/dev/null; then
    timeout 120 npm ci --silent --ignore-scripts --no-audit --no-fund ||
        echo "no playwright-core: npm ci failed"
fi
exit 0
