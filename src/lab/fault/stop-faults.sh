#!/bin/sh
# Asks etcd-lab for a quiet period, as the platform's ANTITHESIS_STOP_FAULTS does: stop-faults SECONDS.
# It returns when the faults are off; they stay off for so many seconds from then on. Calls that overlap extend
# the period. The request is a file that the lab removes when it has granted it.
set -u
folder=$(dirname "$0")
case ${1:-} in
  '' | . | *[!0-9.]* | *.*.*)
    echo "usage: $0 SECONDS" >&2
    exit 2
    ;;
esac
if ! new=$(mktemp "$folder/new-XXXXXXXX") || ! echo "$1" >"$new" || ! chmod a+rw "$new"; then
  echo "$0: can't leave a request in $folder: faults go on" >&2
  exit 0
fi
request=$folder/request-${new##*/new-}
mv "$new" "$request"
tries=0
while [ -e "$request" ]; do
  if [ "$tries" -ge 600 ]; then
    rm -f "$request"
    echo "$0: the lab has not granted the request within 60 seconds: faults may go on" >&2
    exit 0
  fi
  tries=$((tries + 1))
  sleep 0.1
done
