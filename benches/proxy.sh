#!/usr/bin/env bash
# Measures what etcd-probe proxy costs: `etcd-probe bench` put and range at one member on loopback, directly and through
# proxies that look at nothing, record, and show, in turn, so that a busy moment does not decide. Prints, for each load,
# the medians of ROUNDS (5) rounds, the median of each round's share of the direct throughput, and the proxy's own
# processor time. Machines with few processors show what is left when client, proxy and member share them.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet --locked --bin etcd-probe
readonly PROBE=target/release/etcd-probe PORT=${PORT:-23790} ROUNDS=${ROUNDS:-5}
work=$(mktemp -d)
processes=()
trap 'kill "${processes[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT

# The packaged etcd that the lab fetches, or $ETCD.
etcd=${ETCD:-$(find target/etcd -mindepth 2 -name etcd -type f 2>/dev/null | sort -V | tail -1)}
[ -x "$etcd" ] || { echo "error: no etcd: set ETCD to a binary, or run cargo run --release first, which fetches one" >&2; exit 3; }
readonly MEMBER=http://127.0.0.1:$PORT PEERS=http://127.0.0.1:$((PORT + 1))
"$etcd" --data-dir "$work/data" --log-level error --listen-client-urls "$MEMBER" --advertise-client-urls "$MEMBER" \
  --listen-peer-urls "$PEERS" --initial-advertise-peer-urls "$PEERS" --initial-cluster "default=$PEERS" 2>"$work/etcd.log" &
processes+=($!)
for _ in $(seq 100); do
  $PROBE --endpoints "$MEMBER" put warm up >/dev/null 2>&1 && break
  sleep 0.1
done

declare -A at=([direct]=$MEMBER) process=([direct]=$$)
next=$((PORT + 2))
proxy() { # NAME [FLAG…]
  local name=$1
  shift
  $PROBE --endpoints "$MEMBER" proxy --listen "127.0.0.1:$next" "$@" >/dev/null 2>"$work/$name.log" &
  processes+=($!)
  process[$name]=$! at[$name]=http://127.0.0.1:$next
  next=$((next + 1))
}
proxy quiet --quiet
proxy recording --quiet --record "$work/history"
proxy showing
for name in quiet recording showing; do
  for _ in $(seq 100); do
    grep -q ETCDCTL_ENDPOINTS "$work/$name.log" && break
    sleep 0.1
  done
done

# In hundredths of a second.
processor_time() { awk '{print $14 + $15}' "/proc/$1/stat"; }
median() { sort -n | awk '{all[NR] = $1} END {print all[int((NR + 1) / 2)]}'; }

measure() { # LOAD CONNECTIONS CLIENTS TOTAL
  local name before after
  rm -f "$work"/figures-*
  for _ in $(seq "$ROUNDS"); do
    for name in direct quiet recording showing; do
      before=$(processor_time "${process[$name]}")
      $PROBE --endpoints "${at[$name]}" bench "$1" --conns "$2" --clients "$3" --total "$4" --key-space-size 10000 \
        --val-size 256 | awk '/Requests\/sec/ {print $2}' >>"$work/figures-$name"
      after=$(processor_time "${process[$name]}")
      echo $((after - before)) >>"$work/figures-$name-time"
      awk -v now="$(tail -1 "$work/figures-$name")" -v direct="$(tail -1 "$work/figures-direct")" \
        'BEGIN {print now / direct}' >>"$work/figures-$name-share"
    done
  done
  for name in direct quiet recording showing; do
    # The client itself has no proxy.
    [ $name != direct ] || sed -i 's/.*/0/' "$work/figures-$name-time"
    printf '%-5s %2s connections, %3s clients, %-9s %6.0f a second, %.2f of direct, %5.1f µs of processor time a call\n' \
      "$1" "$2" "$3" "$name" "$(median <"$work/figures-$name")" "$(median <"$work/figures-$name-share")" \
      "$(awk -v calls="$4" '{all += $1} END {print all * 1e4 / NR / calls}' "$work/figures-$name-time")"
  done
}
measure put 1 1 3000
measure put 10 100 20000
measure range 1 1 3000
measure range 10 100 20000
