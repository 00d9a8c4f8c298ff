#!/usr/bin/env bash
# Installs what xtask/tests/serve_browser.rs needs: Chromium and Node.js (Debian, as root) and playwright-core (npm). Does
# nothing where they are there. Names what cannot be had and ends with 1: the test is skipped then.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

chromium=${CHROMIUM:-/usr/bin/chromium}
packages=()
[[ -x $chromium ]] || packages+=(chromium fonts-dejavu-core)
command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)
if ((${#packages[@]})) && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    quick=(-o Acquire::Retries=0 -o Acquire::http::Timeout=10)
    {
        timeout 60 apt-get "${quick[@]}" update -qq
        timeout 300 apt-get "${quick[@]}" install -y -qq --no-install-recommends "${packages[@]}"
    } >/dev/null 2>&1 || echo "apt-get install ${packages[*]} failed" >&2
fi
if [[ ! -d node_modules/playwright-core ]] && command -v npm >/dev/null; then
    timeout 120 npm ci --silent --ignore-scripts --no-audit --no-fund || echo "npm ci failed" >&2
fi

missing=()
[[ -x $chromium ]] || missing+=("$chromium (Debian: apt-get install chromium, as root; CHROMIUM names another)")
command -v node >/dev/null || missing+=("Node.js (Debian: apt-get install nodejs npm, as root)")
[[ -d node_modules/playwright-core ]] || missing+=("playwright-core (npm ci in tools/browser)")
if ((${#missing[@]})); then
    echo "missing for the browser test:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
