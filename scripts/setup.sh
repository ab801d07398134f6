#!/usr/bin/env bash
# Installs what a fresh Debian machine lacks. Usage: scripts/setup.sh build|test …
# build: for the page and the binary. test: for `make test`, too.
set -euo pipefail

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() {
  printf 'kobel: %s\n' "$*" >&2
  exit 1
}

command -v cargo >/dev/null || fail "Rust is missing: see https://rustup.rs"
command -v node >/dev/null || fail "Node.js 20 or newer is missing: see https://nodejs.org"
command -v npm >/dev/null || fail "npm is missing; it comes with Node.js: see https://nodejs.org"
node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' ||
  fail "Node.js 20 or newer is needed; this is $(node --version)"

missing=()
need() { # need PROGRAM PACKAGE…: the packages, if the program is not there
  command -v "$1" >/dev/null || missing+=("${@:2}")
}
need cc gcc libc6-dev
need curl curl ca-certificates

for group in "$@"; do
  case $group in
    build) ;;
    test)
      command -v python3 >/dev/null || missing+=(python3)
      python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
      need c++ g++
      need dockerd docker.io iptables
      need docker docker.io
      [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 || missing+=(busybox-static)
      need chromium chromium fonts-dejavu-core
      need nginx nginx-light
      # Not on the PATH of everybody.
      [ -x /usr/sbin/sshd ] || missing+=(openssh-server)
      need ssh-agent openssh-client
      need useradd passwd
      # Login shells that are not like sh.
      need fish fish
      need csh csh
      need openssl openssl
      # Debian keeps its programs off the PATH.
      compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql
      need redis-server redis-server
      need redis-sentinel redis-sentinel
      need haproxy haproxy
      need systemd-analyze systemd
      ;;
    *) fail "unknown group $group; use build or test" ;;
  esac
done

if [ ${#missing[@]} -gt 0 ]; then
  packages=$(printf '%s\n' "${missing[@]}" | sort -u | tr '\n' ' ')
  command -v apt-get >/dev/null || fail "please install: $packages"
  [ "$(id -u)" = 0 ] || fail "please install these, then try again: sudo apt-get install $packages"
  say "Installing by apt: $packages"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

for group in "$@"; do
  # Docker daemons and their containers are the tests' own; they need root.
  [ "$group" != test ] || [ "$(id -u)" = 0 ] ||
    fail "the tests start Docker daemons of their own, which needs root: run them as root"
done
