#!/bin/bash
# Makes a fresh Debian machine (git, Node 20 and npm are all it needs to have) ready for Weft: packages, npm
# modules, and an Open vSwitch that survives its own connection tracking. Idempotent: what is there is left alone,
# and a second run touches neither the network nor the package database.
#
#   scripts/setup.sh            everything, ends by printing the versions
#   scripts/setup.sh ovs-dir    prints the folder whose bin/ holds the Open vSwitch to use (empty: the installed one)
#   scripts/setup.sh ovn        fetches OVN, the peer of some benches, unless it is there, and prints its folder
#
# WEFT_OVS_DIR overrides the private folder of Open vSwitch. WEFT_SETUP_QUIET=1 says only what it changes.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/weft"

# Open vSwitch before this version aborts in its userspace connection tracking (conn_update_state).
least_ovs=3.1.3
# The Debian release whose packages are unpacked privately where the installed ones are older.
ovs_suite=trixie

ovs_programs=(ovs-vswitchd ovsdb-server ovs-vsctl ovs-ofctl ovs-appctl ovsdb-tool ovs-dpctl ovsdb-client)
ovn_programs=(ovn-northd ovn-controller ovn-nbctl ovn-sbctl ovn-appctl)

packages=(
  openvswitch-switch openvswitch-common # the switch
  iproute2 ethtool procps               # namespaces and links of the lab
  tcpdump tcpreplay                     # captures; injection of arbitrary frames
  nftables                              # counts packets, and sends them by turns, outside of the lab's cloud
  iputils-ping iperf3 busybox udhcpc wide-dhcpv6-client # what the workloads run
  frr libjemalloc2                      # BGP and BFD of gateways, in namespaces; with less memory
  redis-server openssl                  # the flow database of many hosts; certificates of its tests
  openvswitch-vtep                      # a hardware VTEP, emulated
)

say() { printf 'setup: %s\n' "$*" >&2; }
note() { [ -n "${WEFT_SETUP_QUIET:-}" ] || say "$*"; }
warn() { printf 'setup: warning: %s\n' "$*" >&2; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; return; fi
  command -v sudo >/dev/null || die "not root and no sudo here: run as root: $*"
  sudo "$@"
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }

# The lab and the agents start FRR's daemons themselves, in namespaces, and the tests their own Redis. The packages start services of their
# own in the host's (zebra and staticd; a Redis on loopback): without systemd, as in a container, they are ended again; where systemd runs
# they may stay disabled (systemctl disable --now frr redis-server).
end_service() {
  [ -d /run/systemd/system ] || as_root "/etc/init.d/$1" stop >/dev/null 2>&1 || true
}

install_packages() {
  local missing=() name
  for name in "${packages[@]}"; do installed "$name" || missing+=("$name"); done
  if [ ${#missing[@]} = 0 ]; then note "Debian packages: all there"; return; fi
  say "installing from Debian: ${missing[*]}"
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends)
  # Package lists may be missing or old: only then is an update worth its time.
  if ! as_root "${install[@]}" "${missing[@]}" >/dev/null 2>&1; then
    as_root apt-get -o DPkg::Lock::Timeout=120 update -q >&2 || warn "apt-get update failed; trying with the lists there are"
    as_root "${install[@]}" "${missing[@]}" >&2 || die "apt-get could not install: ${missing[*]}"
  fi
  for name in frr redis-server; do
    case " ${missing[*]} " in *" $name "*) end_service "$name" ;; esac
  done
}

install_modules() {
  command -v node >/dev/null || die "no node here: install Node 20 or newer with npm"
  command -v npm >/dev/null || die "no npm here: install it beside node"
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 20 ] || die "node $(node --version) is too old: Node 20 or newer is needed"
  # Whoever links another checkout's modules keeps them up to date there: npm would empty that folder first.
  if [ -L "$here/node_modules" ]; then note "npm modules: those of $(readlink -f "$here/node_modules")"; return; fi
  # A checkout gives old content a new time, so the lock's own sum counts first; npm's mark is for who ran npm by hand.
  local sum mark="$here/node_modules/.weft-lock" npm_mark="$here/node_modules/.package-lock.json"
  sum=$(sha256sum <"$here/package-lock.json")
  if [ "$(cat "$mark" 2>/dev/null || true)" = "$sum" ]; then note "npm modules: up to date"; return; fi
  if [ -e "$npm_mark" ] && [ ! "$here/package-lock.json" -nt "$npm_mark" ]; then
    note "npm modules: newer than the lock"
  else
    say "npm ci"
    (cd "$here" && npm ci --no-audit --no-fund --loglevel=error >&2) || die "npm ci failed"
  fi
  echo "$sum" >"$mark"
}

version_of() { "$1" --version 2>/dev/null | sed -n '1s/.*(Open vSwitch) \([0-9][0-9.]*\).*/\1/p'; }
new_enough() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$least_ovs"; }

# Prints the private folder in use, or nothing where the installed Open vSwitch is good (or all there is).
ovs_dir() {
  if [ -n "${WEFT_OVS_DIR:-}" ]; then echo "$WEFT_OVS_DIR"; return; fi
  if new_enough "$(version_of ovs-vswitchd)"; then return; fi
  local dir
  for dir in $(ls -dv "$cache"/ovs-[0-9]* 2>/dev/null | tac); do
    if new_enough "$(version_of "$dir/bin/ovs-vswitchd")"; then echo "$dir"; return; fi
  done
}

# The Debian mirrors that this machine's own apt already uses, most used first.
mirrors() {
  {
    apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sed -n 's/^Debian|//p'
    # Without package lists there are no labels: a Debian archive is the one whose suite is this release's own.
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(CODENAME)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
      sed -n "s/^${codename:-none}|//p"
    sed -n "s/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?\([^[:space:]]\+\)[[:space:]]\+${codename:-none}[[:space:]].*/\2/p" \
      /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true
    awk -v want="$codename" '
      /^URIs:/ { uris = $0; sub(/^URIs:[ \t]*/, "", uris) }
      /^Suites:/ { n = split($0, s, /[ \t]+/); for (i = 2; i <= n; i++) if (s[i] == want) print uris }
    ' /etc/apt/sources.list.d/*.sources 2>/dev/null | tr ' ' '\n' || true
  } | sed 's:/*$::' | grep -v -e security -e '^cdrom' -e '^$' | sort | uniq -c | sort -rn | awk '{print $2}'
}

# Runs an apt tool with state, cache, sources and trust of its own under $work; the system's apt is not touched.
# Options on the command line win over every configuration file, proxies of the system stay in force.
private_apt() {
  local tool=$1
  shift
  "$tool" -q \
    -o Dir::State="$work/state" -o Dir::State::lists="$work/state/lists" -o Dir::State::status="$work/state/status" \
    -o Dir::Cache="$work/cache" -o Dir::Cache::archives="$work/cache/archives" \
    -o Dir::Cache::pkgcache="$work/cache/pkgcache.bin" -o Dir::Cache::srcpkgcache="$work/cache/srcpkgcache.bin" \
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
    -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o APT::Default-Release= \
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}

# Points the private apt at $1 with keyring $2 and reads its lists. False when unreachable or not trusted, or when it
# has no package $3.
read_lists() {
  echo "deb [signed-by=$2] $1 $ovs_suite main" >"$work/sources.list"
  # apt answers a failed fetch with a warning and success: what counts is whether the package can be seen now.
  private_apt apt-get update >"$work/update.log" 2>&1 || true
  [ -n "$(candidate "$3")" ]
}
candidate() { private_apt apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9].*\)/\1/p'; }

# Keyrings that may hold the release's key: the machine's, then that of the newest keyring package of its own suite.
keyrings() {
  ls /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp 2>/dev/null || true
  mkdir -p "$work/keyring"
  (cd "$work/keyring" && apt-get -q download debian-archive-keyring >/dev/null 2>&1 &&
    dpkg -x debian-archive-keyring_*.deb . && ls "$PWD"/usr/share/keyrings/debian-archive-keyring.* 2>/dev/null) || true
}

# A mirror that offers package $1.
find_release() {
  local mirror keyring
  for keyring in $(keyrings); do
    for mirror in $(mirrors); do
      if read_lists "$mirror" "$keyring" "$1"; then return 0; fi
    done
  done
  return 1
}

# One wrapper in $1/bin per program that follows: the unpacked binary under the unpacked loader and libraries.
write_wrappers() {
  local root=$1 loader libraries program file
  loader=$(find "$root/usr" -name 'ld-linux-*.so.*' -type f | head -1)
  [ -n "$loader" ] || loader=$(readlink -f "$(find "$root/usr" -name 'ld-linux-*.so.*' | head -1)")
  loader=${loader#"$root"/}
  libraries=$(cd "$root" && find usr/lib -name '*.so.*' -printf '%h\n' | sort -u |
    grep -E '^usr/lib(/[a-z0-9_]+-linux-gnu)?$' | sed 's:^:$here/:' | paste -sd:)
  mkdir -p "$root/bin"
  for program in "${@:2}"; do
    file=$(cd "$root" && find usr/bin usr/sbin usr/lib/openvswitch* -name "$program" -o -name "$program.openvswitch*" 2>/dev/null | head -1)
    [ -n "$file" ] || return 1
    cat >"$root/bin/$program" <<WRAPPER
#!/bin/sh
here=\${0%/*}/..
exec "\$here/$loader" --argv0 $program --library-path "$libraries" "\$here/$file" "\$@"
WRAPPER
    chmod +x "$root/bin/$program"
    "$root/bin/$program" --version >/dev/null 2>&1 || { warn "$program does not run from $root"; return 1; }
  done
}

fetch_ovs() { fetch ovs openvswitch openvswitch-switch -- "${ovs_programs[@]}"; }
fetch_ovn() { fetch ovn ovn ovn-central ovn-host -- "${ovn_programs[@]}"; }

# fetch NAME SHARE PACKAGE... -- PROGRAM...
# Fetches packages of the newer release with the libraries that they need and unpacks them into NAME-VERSION, with
# wrappers in bin/ and share/ for usr/share/SHARE. False when that is not possible.
fetch() {
  local arch work version target names name=$1 share=$2 wanted=()
  shift 2
  while [ "$1" != -- ]; do wanted+=("$1"); shift; done
  shift
  arch=$(dpkg --print-architecture)
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  # shellcheck disable=SC2064 # the folder of now, not of later
  trap "rm -rf '$work'" EXIT
  mkdir -p "$work"/state/lists/partial "$work"/cache/archives/partial "$work/debs" "$work/root"
  : >"$work/state/status" # nothing is installed as far as this apt knows: it names every library
  find_release "${wanted[0]}" || { warn "no mirror of this machine offers Debian $ovs_suite: $(tail -1 "$work/update.log" 2>/dev/null)"; return 1; }
  version=$(candidate "${wanted[0]}")
  target="$cache/$name-$(echo "$version" | sed 's/^[0-9]*://; s/[-+~].*//')"
  say "fetching ${wanted[*]} $version of Debian $ovs_suite into $target"
  names=$(private_apt apt-get install -s --no-install-recommends "${wanted[@]}" 2>/dev/null |
    awk '$1 == "Inst" { print $2 }' | grep -E "^($share-|lib|zlib1g)")
  (cd "$work/debs" && private_apt apt-get download $names >"$work/download.log" 2>&1) ||
    { warn "download failed: $(tail -1 "$work/download.log")"; return 1; }
  local deb
  for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
  rm -rf "$work/root/usr/share/doc" "$work/root/usr/share/man" "$work/root/usr/share/locale"
  write_wrappers "$work/root" "$@" || return 1
  ln -sfn "usr/share/$share" "$work/root/share"
  rm -rf "$target"
  mv "$work/root" "$target"
  rm -rf "$work"
}

choose_ovs() {
  local have
  have=$(version_of ovs-vswitchd)
  if new_enough "$have"; then note "Open vSwitch: the installed $have"; return; fi
  if [ -n "$(ovs_dir)" ]; then note "Open vSwitch: $(ovs_dir) (the installed $have is older than $least_ovs)"; return; fi
  say "the installed Open vSwitch $have is older than $least_ovs, which mends an abort in connection tracking"
  (fetch_ovs) || warn "going on with Open vSwitch $have: many short connections through conntrack may abort it"
}

# Prints the newest private OVN that runs, or nothing.
ovn_dir() {
  local dir
  for dir in $(ls -dv "$cache"/ovn-[0-9]* 2>/dev/null | tac); do
    if "$dir/bin/ovn-northd" --version >/dev/null 2>&1; then echo "$dir"; return; fi
  done
}

# No part of `main`: nothing but benches needs it.
choose_ovn() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || die "OVN is fetched on Debian machines only"
  mkdir -p "$cache"
  exec 9>"$cache/setup.lock"
  flock 9
  [ -n "$(ovn_dir)" ] || (fetch_ovn) || die "no OVN to be had"
  ovn_dir
}

print_versions() {
  local dir vswitchd=ovs-vswitchd
  dir=$(ovs_dir)
  [ -z "$dir" ] || vswitchd="$dir/bin/ovs-vswitchd"
  printf 'Open vSwitch %s%s\n' "$(version_of "$vswitchd")" "${dir:+ (private)}"
  printf 'node %s (installed), %s (of the project)\n' "$(node --version)" "$("$here/node_modules/.bin/node" --version 2>/dev/null || echo none)"
  printf '%s\n' "$(ip -V)" "$(tcpdump --version 2>&1 | head -1)" "$(tcpreplay --version 2>&1 | head -1)"
}

main() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    die "this sets up Debian machines (apt-get and dpkg); elsewhere install: ${packages[*]}, then run npm ci"
  mkdir -p "$cache"
  exec 9>"$cache/setup.lock"
  flock 9 # two runs at once would unpack into one another
  install_packages
  install_modules
  choose_ovs
  [ -n "${WEFT_SETUP_QUIET:-}" ] || print_versions
}

case "${1:-}" in
  '') main ;;
  ovs-dir) ovs_dir ;;
  ovn) choose_ovn ;;
  *) die "usage: scripts/setup.sh [ovs-dir | ovn]" ;;
esac
