#!/bin/sh
# An etcd with its own gRPC proxy before it, as one member of a hunt: the proxy is what clients reach, and what faults
# strike; the etcd ends with it. Both are the etcd on PATH. Arguments: NAME DATA CLIENT-ADDRESS SPARE-URL PEER-URL.
set -eu
setpriv --pdeathsig KILL -- etcd --name "$1" --data-dir "$2" --listen-client-urls "$4" --advertise-client-urls "$4" \
  --listen-peer-urls "$5" --initial-advertise-peer-urls "$5" --initial-cluster "$1=$5" &
exec etcd grpc-proxy start --endpoints "$4" --listen-addr "$3" --advertise-client-url "$3"
