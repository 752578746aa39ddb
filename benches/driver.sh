#!/usr/bin/env bash
# Measures what docs/performance.md reports of the test commands: instructions, memory and start of
# parallel_driver_generate_traffic with 100 puts and 100 gets in sequence, and how long the health-checker needs
# once the last member is well. Against a real etcd of three members on loopback; needs valgrind and GNU time.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in valgrind /usr/bin/time strace; do
  command -v "$tool" >/dev/null || { echo "error: $tool is missing: install it (packages valgrind, time, strace)" >&2; exit 3; }
done

# shellcheck source=benches/members.sh
. benches/members.sh
export ETCD_ANTITHESIS_HISTORY="$work/history" ANTITHESIS_SDK_LOCAL_OUTPUT="$work/sdk.jsonl"

readonly PROGRAM=target/release/test-command COMMAND=parallel_driver_generate_traffic
instructions() {
  ETCD_ANTITHESIS_IN_SEQUENCE=$1 valgrind --tool=callgrind --callgrind-out-file="$work/callgrind" \
    $PROGRAM $COMMAND 2>&1 | sed -n 's/.*Collected : //p'
}
one=$(instructions 1)
hundred=$(instructions 100)
memory=$(ETCD_ANTITHESIS_IN_SEQUENCE=100 /usr/bin/time -f %M $PROGRAM $COMMAND 2>&1 >/dev/null | tail -1)
# From the program's start to its first write on a socket.
start=$(ETCD_ANTITHESIS_IN_SEQUENCE=1 strace -f -ttt -e trace=execve,writev $PROGRAM $COMMAND 2>&1 |
  awk '/execve/ && !a {a=$1} /writev/ && !b {b=$1} END {printf "%.1f", (b-a)*1000}')
folder=$(readlink -f .lab/runs/latest)
ready=$(stat -c %.9Y "$(find "$folder" -name cluster-is-healthy | head -1)")
served=$(grep -h 'ready to serve client requests' "$(find "$folder" -name etcd0.log | head -1)" \
  "$(find "$folder" -name etcd1.log | head -1)" "$(find "$folder" -name etcd2.log | head -1)" |
  sed 's/.*"ts":"\([^"]*\)".*/\1/' | while read -r time; do date -d "$time" +%s.%N; done | sort -n | tail -1)

cat <<END
100 puts and 100 gets in sequence   $hundred instructions (target 17000000)
one put and one get                 $one instructions
each further request                $(((hundred - one) / 198)) instructions
peak memory                         $memory kB (target 10000)
start to first request              $start ms under strace (target 10)
last member serving to ready        $(awk -v r="$ready" -v s="$served" 'BEGIN {printf "%.0f", (r-s)*1000}') ms (target 300)
END
