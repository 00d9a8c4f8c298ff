#!/usr/bin/env bash
# Fuzzes every target for some seconds each and prints executions and findings by target.
#
#   fuzz/run.sh SECONDS [TARGET...]
#
# Without names all targets run, also those that need Burn (`--features all`). Needs a nightly compiler and
# `cargo install cargo-fuzz --locked`. What the fuzzer finds new it keeps in fuzz/corpus/TARGET, the inputs that end
# it in fuzz/artifacts/TARGET. Ends with 1 if there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:?how many seconds for each target}
shift
targets=("$@")
light=(weights images tables cards records feature_entries archives)
heavy=(run_folders experiments recipes checkpoints)
((${#targets[@]})) || targets=("${light[@]}" "${heavy[@]}")
features=()
for target in "${targets[@]}"; do
    [[ " ${heavy[*]} " == *" $target "* ]] && features=(--features all)
done

# Files in memory: each input is written and read.
[[ -d /dev/shm ]] && export TMPDIR=/dev/shm
logs=fuzz/artifacts/logs
mkdir -p "$logs"
cargo +nightly fuzz build "${features[@]}"

# A virtual machine may stand still for some seconds; an endless loop lasts longer (-timeout, in seconds).
# In MiB: more than any bound, less than a machine. One allocation may be as large as an image.
memory=3072
found=0
table="| target | seconds | executions | features | findings |"$'\n'"| --- | ---: | ---: | ---: | ---: |"
for target in "${targets[@]}"; do
    kept=fuzz/corpus/$target
    artifacts=fuzz/artifacts/$target
    mkdir -p "$kept" "$artifacts"
    echo "==> $target, $seconds s"
    # A finding ends the fuzzer; the table counts it, and the others go on.
    cargo +nightly fuzz run "${features[@]}" "$target" "$kept" "crates/fuzz-targets/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=120 -report_slow_units=60 -rss_limit_mb=$memory -malloc_limit_mb=$memory \
        -print_final_stats=1 >"$logs/$target.log" 2>&1 || true
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target.log" | tail -1)
    coverage=$(sed -n 's/.* ft: \([0-9]*\).*/\1/p' "$logs/$target.log" | tail -1)
    findings=$(find "$artifacts" -type f | wc -l)
    found=$((found + findings))
    table+=$'\n'"| $target | $seconds | ${executions:-?} | ${coverage:-?} | $findings |"
done
echo "$table"
if ((found)); then
    echo "findings: see fuzz/artifacts/<target> and $logs" >&2
    exit 1
fi
