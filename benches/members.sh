#!/usr/bin/env bash
# Sourced by the measurements: builds the programs, brings up three members on loopback and takes them down at the end.
# Leaves $work, a temporary folder, and $ETCDCTL_ENDPOINTS, exported.
cargo build --release --quiet --locked --bins
work=$(mktemp -d)
target/release/etcd-lab up --cluster processes >"$work/lab" 2>&1 &
lab=$!
trap 'kill $lab 2>/dev/null; wait $lab 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 300); do
  grep -q 'export ETCDCTL_ENDPOINTS=' "$work/lab" && break
  kill -0 $lab || { cat "$work/lab" >&2; exit 3; }
  sleep 0.2
done
ETCDCTL_ENDPOINTS=$(sed -n 's/.*export ETCDCTL_ENDPOINTS=//p' "$work/lab")
[ -n "$ETCDCTL_ENDPOINTS" ] || { echo "error: no cluster within a minute:" >&2; cat "$work/lab" >&2; exit 3; }
export ETCDCTL_ENDPOINTS
