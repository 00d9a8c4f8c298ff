#!/usr/bin/env bash
# Makes a table of what libFuzzer's logs say. Prints it; ends with 1 if anything was found.
#
#   fuzz/table.sh [FOLDER]     # fuzz/artifacts/logs unless named
#
# A row is a target: seconds that it ran and that it computed (a busy machine gives it less), executions, edges and
# features of the code that were reached, inputs that are kept, the most memory (of the fuzzer, with AddressSanitizer and the
# corpus), and inputs that ended it: panics, errors of AddressSanitizer, hangs, too much memory.
set -euo pipefail
logs=${1:-$(dirname "${BASH_SOURCE[0]}")/artifacts/logs}

awk '
    function row(name) {
        printf "| %s | %s | %s | %s | %s | %s | %s | %s | %d |\n",
            name, seconds, computed, executions, edges, features, inputs, memory, findings
        total_seconds += seconds; total_computed += computed; total_executions += executions; total += findings
    }
    FNR == 1 {
        if (NR > 1) row(name)
        name = FILENAME; sub(/.*\//, "", name); sub(/\.log$/, "", name)
        seconds = computed = executions = edges = features = inputs = memory = "?"; findings = 0
    }
    /^#[0-9]+[ \t].* cov: / {
        for (i = 1; i < NF; i++) {
            if ($i == "cov:") edges = $(i + 1)
            if ($i == "ft:") features = $(i + 1)
            if ($i == "corp:") { inputs = $(i + 1); sub(/\/.*/, "", inputs) }
        }
    }
    /^Done [0-9]+ runs in [0-9]+ second/ { seconds = $5 }
    /^stat::number_of_executed_units:/ { executions = $2 }
    /^stat::peak_rss_mb:/ { memory = $2 }
    /^stat::processor_seconds:/ { computed = sprintf("%.0f", $2) }
    /^SUMMARY: / { findings++ }
    BEGIN {
        print "| target | seconds | computing | executions | edges | features | inputs kept | MiB | findings |"
        print "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    }
    END {
        if (NR) row(name)
        printf "| all | %d | %d | %d | | | | | %d |\n", total_seconds, total_computed, total_executions, total
        exit total > 0
    }
' "$logs"/*.log
