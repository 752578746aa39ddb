#!/bin/sh
# An etcd member panics as it catches up by a snapshot, if a user's permission is looked up just then: shown with
# etcd-probe and etcdctl alone. Arguments: the folder of etcd and etcdctl, and of etcd-probe. Three members on loopback,
# ports 21379 to 23380; ends with 1 when the third has panicked, after at most 20 rounds with 0.
set -eu
[ $# = 2 ] || { echo "usage: $0 ETCD_FOLDER PROBE_FOLDER" >&2; exit 2; }
etcd=$1/etcd
etcdctl=$1/etcdctl
probe=$2/etcd-probe
for program in "$etcd" "$etcdctl" "$probe"; do
  [ -x "$program" ] || {
    echo "error: there is no program $program: a hunt in 3.5.30 fetches etcd and etcdctl to target/etcd/3.5.30," \
      "and cargo build --release --bin etcd-probe makes etcd-probe in target/release" >&2
    exit 3
  }
done
export ETCDCTL_API=3

folder=$(mktemp -d)
members=
start() {
  "$etcd" --name "m$1" --data-dir "$folder/m$1" --listen-client-urls "http://127.0.0.1:2${1}379" \
    --advertise-client-urls "http://127.0.0.1:2${1}379" --listen-peer-urls "http://127.0.0.1:2${1}380" \
    --initial-advertise-peer-urls "http://127.0.0.1:2${1}380" --initial-cluster \
    m1=http://127.0.0.1:21380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:23380 \
    --snapshot-count 100 --experimental-snapshot-catchup-entries 50 --bcrypt-cost 4 > "$folder/m$1.log" 2>&1 &
  last=$!
  members="$members $last"
}
stop() {
  for member in $members; do kill -KILL "$member" 2> /dev/null || true; done
  wait
  rm -rf "$folder"
}
trap stop EXIT
start 1
start 2
start 3

for _ in $(seq 100); do
  "$etcdctl" --endpoints http://127.0.0.1:23379 endpoint health > /dev/null 2>&1 && break
  sleep 0.2
done
"$etcdctl" --endpoints http://127.0.0.1:21379 user add root:root
"$etcdctl" --endpoints http://127.0.0.1:21379 role add root
"$etcdctl" --endpoints http://127.0.0.1:21379 user grant-role root root
"$etcdctl" --endpoints http://127.0.0.1:21379 auth enable

for round in $(seq 20); do
  # Reads that the third member answers from its own state, each of which looks up whether root may.
  "$probe" --endpoints http://127.0.0.1:23379 --user root:root \
    bench range --serializable --conns 4 --clients 64 --for 4s > /dev/null 2>&1 &
  reads=$!
  sleep 1
  # It sleeps while the others write more than they keep for it, and comes back by a snapshot.
  kill -STOP "$last"
  # Where it led, what was under way is lost, which is no reason to end.
  "$probe" --endpoints http://127.0.0.1:21379 --user root:root \
    bench put --conns 2 --clients 64 --total 800 > /dev/null || true
  kill -CONT "$last"
  wait "$reads" || true
  if ! kill -0 "$last" 2> /dev/null; then
    echo "round $round: the member has ended"
    grep -a -A 12 '^panic' "$folder/m3.log"
    exit 1
  fi
  echo "round $round: the member lives"
done
