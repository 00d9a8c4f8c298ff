#!/usr/bin/env bash
# Makes a table of what libFuzzer's logs say. Prints it; ends with 1 if anything was found.
#
#   fuzz/table.sh [FOLDER]     # fuzz/artifacts/logs unless named
#
# A row is a target, all its runs together: seconds that they took and that they computed (in user mode; a busy machine gives
# them less), executions, edges and features of the code that were reached and inputs that were kept in the end, the most
# memory (of the fuzzer, with AddressSanitizer and the corpus), and inputs that ended a run: panics, errors of
# AddressSanitizer, hangs, too much memory.
set -euo pipefail
logs=${1:-$(dirname "${BASH_SOURCE[0]}")/artifacts/logs}

awk '
    function most(table, value) { if (value + 0 > table[name]) table[name] = value + 0 }
    FNR == 1 {
        # images-2.log is the second run of images.
        name = FILENAME; sub(/.*\//, "", name); sub(/(-[0-9]+)?\.log$/, "", name)
        if (!(name in runs)) order[++targets] = name
        runs[name]++
    }
    /^#[0-9]+[ \t].* cov: / {
        for (i = 1; i < NF; i++) {
            if ($i == "cov:") most(edges, $(i + 1))
            if ($i == "ft:") most(features, $(i + 1))
            if ($i == "corp:") most(inputs, $(i + 1))
        }
    }
    /^Done [0-9]+ runs in [0-9]+ second/ { seconds[name] += $5; all_seconds += $5 }
    /^stat::number_of_executed_units:/ { executions[name] += $2; all_executions += $2 }
    /^stat::peak_rss_mb:/ { most(memory, $2) }
    /^stat::processor_seconds:/ { computed[name] += $2; all_computed += $2 }
    /^SUMMARY: / { findings[name]++; all_findings++ }
    END {
        print "| target | seconds | computing | executions | edges | features | inputs kept | MiB | findings |"
        print "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        for (t = 1; t <= targets; t++) {
            n = order[t]
            printf "| %s | %d | %.0f | %d | %d | %d | %d | %d | %d |\n", n, seconds[n], computed[n], executions[n],
                edges[n], features[n], inputs[n], memory[n], findings[n]
        }
        printf "| all | %d | %.0f | %d | | | | | %d |\n", all_seconds, all_computed, all_executions, all_findings
        exit all_findings > 0
    }
' "$logs"/*.log
