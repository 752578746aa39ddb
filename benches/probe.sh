#!/usr/bin/env bash
# Measures what docs/performance.md reports of the probe: `status` from start to exit, the client's instructions for a
# put and for a get, and `bench put` beside etcd's own benchmark tool (fetch-benchmark builds it; $BENCHMARK names one
# that is there), both against the same three members on loopback, in turn. Needs valgrind and GNU time.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in valgrind /usr/bin/time; do
  command -v "$tool" >/dev/null || { echo "error: $tool is missing: install it (packages valgrind, time)" >&2; exit 3; }
done
benchmark=${BENCHMARK:-target/peer/benchmark}
[ -x "$benchmark" ] || benches/fetch-benchmark "$(dirname "$benchmark")"

# shellcheck source=benches/members.sh
. benches/members.sh
readonly PROBE=target/release/etcd-probe

echo "status of three members, start to exit, 200 runs:"
for _ in $(seq 200); do
  begun=$(date +%s%N)
  $PROBE status >/dev/null
  echo $((($(date +%s%N) - begun) / 1000))
done | sort -n | awk '{all[NR]=$1} END {printf "  median %.1f ms, 95th percentile %.1f ms\n", all[100]/1000, all[190]/1000}'

instructions() {
  valgrind --tool=callgrind --callgrind-out-file="$work/callgrind" \
    $PROBE bench "$1" --total "$2" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}
for load in put range; do
  few=$(instructions $load 100)
  many=$(instructions $load 1100)
  echo "$load: $(((many - few) / 1000)) instructions each; 100 with the program's start: $few"
done

# Several rounds in turn, so that a busy moment does not decide.
clients=(--conns 10 --clients 100 --total 20000 --key-space-size 10000 --val-size 256)
for round in 1 2 3; do
  # What the tool shows beside its figures goes to the standard error; GNU time writes there last.
  /usr/bin/time -f '%U %S' -o "$work/peer-time" "$benchmark" --endpoints "${ETCDCTL_ENDPOINTS//http:\/\//}" \
    "${clients[@]:0:4}" put "${clients[@]:4}" >"$work/peer" 2>/dev/null
  /usr/bin/time -f '%U %S' -o "$work/probe-time" $PROBE bench put "${clients[@]}" >"$work/probe"
  for who in peer probe; do
    awk -v who="$who" -v round=$round -v cpu="$(awk '{print $1 + $2}' "$work/$who-time")" \
      '/Requests\/sec/ {printf "round %s, %s: %.0f puts a second, %.1f µs of processor time each\n", round, who, $2, cpu / 20000 * 1e6}' \
      "$work/$who"
  done
done
