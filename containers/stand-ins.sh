#!/usr/bin/env bash
# Makes sure that the base images which the Dockerfiles name are on this machine: one that is here stays as
# it is, else it is pulled, else a stand-in is made from Debian's packages and the host's Rust toolchain
# under the same name, labelled as what it is. It touches nothing but those image names and a folder of its
# own under TMPDIR, which it removes; it exits with 3 where the surroundings don't allow it.
#
# Settings: DEBIAN_MIRROR (default: the mirror that apt is configured with), PULL_LIMIT_S (default 120).
set -euo pipefail

readonly BASE=debian:bookworm-slim SUITE=bookworm
readonly BUILDER=rust:1.95-slim-bookworm
readonly LABEL=etcd-antithesis
readonly PULL_LIMIT_S=${PULL_LIMIT_S:-120} MAKE_LIMIT_S=600
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt

work=
running=
scratch_tag=etcd-antithesis-stand-in:$$

main() {
  docker version >/dev/null 2>&1 ||
    give_up "Docker can't be reached (\`docker version\` says why)"
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  work=$(mktemp -d "${TMPDIR:-/tmp}/etcd-antithesis-stand-ins.XXXXXX")
  provide "$BASE" make_base
  provide "$BUILDER" make_builder
}

# provide IMAGE FUNCTION: the image is there afterwards.
provide() {
  if docker image inspect "$1" >/dev/null 2>&1; then
    say "$1 is present"
    return
  fi
  say "pulling $1 (at most $PULL_LIMIT_S s)"
  if timeout "$PULL_LIMIT_S" docker pull --quiet --platform linux/amd64 "$1" >/dev/null 2>"$work/pull"; then
    return
  fi
  say "no luck: $(tail -n 1 "$work/pull")"
  say "making a stand-in for $1"
  local start=$SECONDS
  "$2"
  say "$1 is ready, as a stand-in made in $((SECONDS - start)) s"
}

make_base() {
  [ "$EUID" = 0 ] ||
    give_up "a stand-in for $BASE needs root (debootstrap): run \`sudo $0\` once and this again, or pull it"
  local mirror
  mirror=$(debian_mirror)
  find_debootstrap "$mirror"
  say "installing Debian $SUITE from $mirror into a folder"
  run_logged "$work/debootstrap.log" \
    "$debootstrap" --variant=minbase "--keyring=$KEYRING" "$SUITE" "$work/root" "$mirror"
  # Both places: programs read the bundle at once, and it outlives an update-ca-certificates.
  if [ -r "$CA_BUNDLE" ]; then
    install -D -m 644 "$CA_BUNDLE" "$work/root$CA_BUNDLE"
    install -D -m 644 "$CA_BUNDLE" "$work/root/usr/local/share/ca-certificates/host.crt"
  fi
  # The mirror goes into the image, so what apt was told of the mirror's age has to go along.
  apt-config dump | grep '^Acquire::Check-Valid-Until' >"$work/root/etc/apt/apt.conf.d/90mirror" || true
  say "importing it"
  tar -C "$work/root" -c --one-file-system \
    --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' \
    --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' . |
    docker import --change "LABEL $LABEL=stand-in" --change 'CMD ["bash"]' - "$scratch_tag" >/dev/null
  docker tag "$scratch_tag" "$BASE"
  docker rmi "$scratch_tag" >/dev/null
  rm -rf --one-file-system "$work/root"
}

make_builder() {
  command -v rustc >/dev/null ||
    give_up "a stand-in for $BUILDER needs this machine's Rust toolchain, but there is no rustc on PATH"
  local sysroot triple
  sysroot=$(rustc --print sysroot)
  triple=$(rustc -vV | sed -n 's/^host: //p')
  [ "$triple" = x86_64-unknown-linux-gnu ] ||
    give_up "a stand-in for $BUILDER needs a toolchain for x86_64-unknown-linux-gnu, and rustc's is for $triple"
  cp "$CA_BUNDLE" "$work/host.crt" 2>/dev/null || : >"$work/host.crt"
  cat >"$work/Dockerfile" <<END
FROM $BASE
COPY host.crt /usr/local/share/ca-certificates/host.crt
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends gcc libc6-dev ca-certificates \\
 && rm -rf /var/lib/apt/lists/*
COPY bin /usr/local/bin
COPY lib /usr/local/lib
ENV CARGO_HOME=/usr/local/cargo
LABEL $LABEL=stand-in $LABEL.toolchain="$(rustc --version)"
END
  say "adding gcc and $(rustc --version) to $BASE"
  (cd "$sysroot" && tar -c -f "$work/context.tar" bin/cargo bin/rustc lib/*.so* "lib/rustlib/$triple")
  tar -r -f "$work/context.tar" -C "$work" Dockerfile host.crt
  # Plain `docker build`, whichever builder is the default: the file uses nothing beyond the oldest syntax.
  run_logged "$work/build.log" docker build --force-rm --tag "$BUILDER" - <"$work/context.tar"
}

# Sets `debootstrap`; takes it out of its package where it isn't installed, without installing it.
find_debootstrap() {
  debootstrap=$(command -v debootstrap || true)
  [ -z "$debootstrap" ] || return 0
  local tool
  for tool in apt-get dpkg-deb wget; do
    command -v "$tool" >/dev/null || give_up "a stand-in for $BASE needs $tool, which is not on PATH"
  done
  say "fetching debootstrap (it is not installed, and will not be)"
  mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/debootstrap"
  echo "deb [signed-by=$KEYRING] $1 $SUITE main" >"$work/apt/sources.list"
  local apt=(apt-get -qq -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any
    -o "Dir::Etc::sourcelist=$work/apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache")
  (cd "$work/apt" && run_logged "$work/apt.log" "${apt[@]}" update &&
    run_logged "$work/apt.log" "${apt[@]}" download debootstrap)
  dpkg-deb -x "$work"/apt/debootstrap_*.deb "$work/debootstrap"
  export DEBOOTSTRAP_DIR=$work/debootstrap/usr/share/debootstrap
  debootstrap=$work/debootstrap/usr/sbin/debootstrap
}

# The mirror with Debian's releases, as the system's own apt sources say.
debian_mirror() {
  local mirror=${DEBIAN_MIRROR:-}
  [ -n "$mirror" ] ||
    mirror=$(apt-get update --print-uris 2>/dev/null | sed -nE "s,^'(.*/debian)/+dists/.*,\1,p" | head -n 1)
  [ -n "$mirror" ] ||
    give_up "apt names no Debian mirror: set DEBIAN_MIRROR to the address of one"
  echo "$mirror"
}

# run_logged LOG COMMAND…: quiet while all goes well, and the log's end where it doesn't.
run_logged() {
  local log=$1
  shift
  # In the background, since a shell that waits in the foreground acts on a signal only afterwards.
  timeout --kill-after=10 "$MAKE_LIMIT_S" "$@" >"$log" 2>&1 <&0 &
  running=$!
  local code=0
  wait "$running" || code=$?
  running=
  [ "$code" != 0 ] || return 0
  tail -n 15 "$log" >&2
  give_up "this failed with exit code $code: $*"
}

clean_up() {
  local mounted
  if [ -n "$running" ]; then
    kill "$running" 2>/dev/null || true
    wait "$running" 2>/dev/null || true
  fi
  docker rmi "$scratch_tag" >/dev/null 2>&1 || true
  # What debootstrap mounts for the packages' scripts, should it have been killed half way.
  for mounted in "$work/root/proc" "$work/root/sys"; do
    if mountpoint -q "$mounted" 2>/dev/null; then umount "$mounted"; fi
  done
  rm -rf --one-file-system "$work"
}

say() { echo "stand-ins: $*"; }

give_up() {
  echo "error: $*" >&2
  exit 3
}

main "$@"
