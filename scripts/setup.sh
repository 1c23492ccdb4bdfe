#!/usr/bin/env bash
# Puts what is missing where it belongs:  scripts/setup.sh page|browser|engines|kafka|pubsub|redis|etcd|zookeeper|check…
#   page       what building the page needs: the wasm target, wasm-bindgen, Trunk, wasm-opt
#   browser    what the browser tests need: Chromium and its driver, and axe-core
#   engines    what building the clients of the distributed engines needs: a C compiler, OpenSSL and protoc
#   kafka      what the tests of Kafka need: Java, and a broker
#   pubsub     what the tests of Google Cloud Pub/Sub need: Java, and Google's emulator
#   redis      what the tests of Redis need: a server
#   etcd       what the tests of etcd need: its server
#   zookeeper  what the tests of ZooKeeper need: Java, and its server
#   check      what `make check` needs: cargo-deny, shellcheck
# Nothing is done twice, nothing is asked, and system packages are installed only by root.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

TOOLS=$FRESHET_CACHE/tools
MISSING=0

# by_hand WHAT HOW: this step could not do it, so the reader must.
by_hand() {
  warn "$1 is missing. Install it by hand: $2"
  MISSING=1
}

one_at_a_time() {
  local lock=$FRESHET_CACHE/setup.lock owner
  while ! mkdir "$lock" 2>/dev/null; do
    owner=$(cat "$lock/pid" 2>/dev/null || true)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
      rm -rf "$lock"
    else
      [ -n "${waiting:-}" ] || note "another set-up is at work (process ${owner:-unknown}); waiting for it"
      waiting=yes
      sleep 1
    fi
  done
  echo $$ >"$lock/pid"
  on_exit "rm -rf '$lock'"
}

# --- system packages (Debian and Ubuntu, root only) -----------------------------------------------------------------

can_apt() { [ "$(id -u)" = 0 ] && have apt-get; }

apt_has() {
  if [ -z "${APT_UPDATED:-}" ]; then
    step "package lists" "apt-get update, so that apt finds current packages" apt-get update || return 1
    APT_UPDATED=yes
  fi
  case $(apt-cache policy "$1" 2>/dev/null) in *"Candidate: "[0-9]*) ;; *) return 1 ;; esac
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }

# --- the wasm target ------------------------------------------------------------------------------------------------

# wasm_works RUSTC [LINKER]: compiles and links a library, since a folder being there proves little.
wasm_works() {
  local probe=$FRESHET_CACHE/probe
  mkdir -p "$probe"
  echo '#[unsafe(no_mangle)] pub extern "C" fn f(n: usize) -> usize { vec![0u8; n].len() }' |
    "$1" --edition 2024 --target wasm32-unknown-unknown --crate-type cdylib --crate-name probe \
      ${2:+-C linker="$2"} --out-dir "$probe" - >/dev/null 2>&1
}

distribution_works() {
  local bin=$FRESHET_CACHE/wasm-rust/bin
  [ -x "$bin/rustc" ] && [ -x "$bin/wasm-ld" ] && wasm_works "$bin/rustc" "$bin/wasm-ld"
}

# The distribution's compiler under names of ours: in front of PATH this folder replaces Rust's commands and nothing else.
link_distribution() {
  local bin=$FRESHET_CACHE/wasm-rust/bin name
  rm -rf "$bin"
  mkdir -p "$bin"
  for name in cargo rustc rustdoc cargo-clippy clippy-driver; do
    if [ -x "/usr/bin/$name" ]; then ln -s "/usr/bin/$name" "$bin/$name"; fi
  done
  ln -s /usr/bin/wasm-ld-22 "$bin/wasm-ld"
}

# Builds std for wasm from the compiler's own source, and puts it where that compiler looks for it.
build_std() {
  local crate=$FRESHET_CACHE/wasm-std into
  into=$(/usr/bin/rustc --print target-libdir --target wasm32-unknown-unknown)
  rm -rf "$crate"
  mkdir -p "$crate/src" || return
  printf '[package]\nname = "freshet-std-seed"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$crate/Cargo.toml"
  : >"$crate/src/lib.rs"
  # Bitcode is embedded because link-time optimisation of the page needs it in std, too.
  (
    unset CARGO RUSTC RUSTDOC RUSTUP_TOOLCHAIN
    cd "$crate" && PATH=$FRESHET_CACHE/wasm-rust/bin:$PATH RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
      CARGO_TARGET_DIR=$crate/target \
      cargo build --release --target wasm32-unknown-unknown -Zbuild-std=std,panic_abort,proc_macro,test
  ) || return
  rm -rf "$into"
  mkdir -p "$into" || return
  find "$crate/target/wasm32-unknown-unknown/release/deps" -name '*.rlib' ! -name 'libfreshet_std_seed-*' -exec cp {} "$into/" \;
  rm -rf "$crate"
}

wasm_target() {
  if ! have rustc || ! have cargo; then die "Rust is missing. Install it by hand: https://rustup.rs"; fi
  if wasm_works rustc; then
    there "wasm target" "rustc $(rustc --version | cut -d' ' -f2)"
    rm -rf "$FRESHET_CACHE/wasm-rust"
    return
  fi
  if distribution_works; then
    there "wasm target" "the distribution's rustc $("$FRESHET_CACHE/wasm-rust/bin/rustc" --version | cut -d' ' -f2)"
    return
  fi
  if have rustup; then
    RUST_BACKTRACE=0 LOG_LINES=3 step "wasm target (rustup)" "the page is Rust compiled to WebAssembly" \
      rustup target add wasm32-unknown-unknown && wasm_works rustc && return
    note "rustup could not; trying the distribution's packages"
  fi
  if can_apt && apt_has rustc-web && apt_has lld-22; then
    step "wasm target (packages)" "a Rust compiler that brings the source of its std" \
      apt_install rustc-web cargo-web rust-web-src rust-web-clippy lld-22 || true
    if [ -x /usr/bin/rustc ] && [ -x /usr/bin/wasm-ld-22 ]; then
      link_distribution
      if ! distribution_works; then
        step "wasm target (std)" "the packages have no std for WebAssembly, so it is built once" build_std || true
      fi
      # Objects made against another std do not link with this one.
      rm -rf "$FRESHET_CACHE/target/wasm32-unknown-unknown" "$FRESHET_ROOT/target/wasm32-unknown-unknown"
      distribution_works && return
    fi
    rm -rf "$FRESHET_CACHE/wasm-rust"
  fi
  by_hand "Rust's target wasm32-unknown-unknown" "rustup target add wasm32-unknown-unknown (https://rustup.rs)"
}

# --- tools from crates.io and npm -----------------------------------------------------------------------------------

# cargo_tool CRATE VERSION COMMAND WHY [ARGUMENTS…]: builds a command once a version, unless PATH has that version.
cargo_tool() {
  local crate=$1 version=$2 command=$3 why=$4 root=$TOOLS/$1-$2
  shift 4
  if have "$command"; then
    case " $("$command" --version 2>/dev/null) " in
      *" $version "*)
        there "$crate $version" "$(command -v "$command")"
        return
        ;;
    esac
  fi
  # Optimising these once-a-build tools to the full would take many times as long as they ever run.
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_PROFILE_RELEASE_DEBUG=false CARGO_TARGET_DIR=$FRESHET_CACHE/tools-build \
    step "$crate $version" "$why" cargo install "$crate" --version "$version" --root "$root" "$@" ||
    by_hand "$crate" "cargo install $crate --version $version $*"
}

wasm_opt() {
  local root=$TOOLS/binaryen-$BINARYEN_VERSION version=''
  if have wasm-opt; then version=$(wasm-opt --version 2>/dev/null | sed -n 's/^wasm-opt version \([0-9]*\).*/\1/p'); fi
  # older ones do not know the instructions that rustc emits
  if [ -n "$version" ] && [ "$version" -ge 120 ]; then
    there "wasm-opt $version" "$(command -v wasm-opt)"
  elif have npm; then
    step "wasm-opt $BINARYEN_VERSION" "makes the page's WebAssembly smaller" \
      npm install --prefix "$root" --no-audit --no-fund --loglevel=error "binaryen@$BINARYEN_VERSION" ||
      by_hand wasm-opt "npm install --global binaryen@$BINARYEN_VERSION"
  else
    by_hand "wasm-opt 120 or later" "Node.js with npm (then run this again), or the package binaryen of your system"
  fi
}

# --- the browser ----------------------------------------------------------------------------------------------------

axe_core() {
  # shellcheck source=scripts/browser.sh
  . "$FRESHET_ROOT/scripts/browser.sh"
  local how="npm install --prefix $AXE_ROOT axe-core@$AXE_VERSION"
  if [ -e "$FRESHET_AXE" ]; then
    there "axe-core $AXE_VERSION" "$FRESHET_AXE"
  elif have npm; then
    step "axe-core $AXE_VERSION" "finds what shuts readers out of the page" \
      npm install --prefix "$AXE_ROOT" --no-audit --no-fund --loglevel=error "axe-core@$AXE_VERSION" ||
      by_hand axe-core "$how"
  else
    by_hand axe-core "Node.js with npm, then $how"
  fi
}

browser() {
  # shellcheck source=scripts/browser.sh
  . "$FRESHET_ROOT/scripts/browser.sh"
  if find_browser; then
    there "browser and driver" "$FRESHET_CHROMIUM, $FRESHET_CHROMEDRIVER"
    return
  fi
  if can_apt && apt_has chromium && apt_has chromium-driver; then
    step "browser and driver" "the page is tested in a real browser" apt_install chromium chromium-driver &&
      find_browser && return
  fi
  by_hand "Chromium with its chromedriver" \
    "both of one version, on PATH or named by FRESHET_CHROMIUM and FRESHET_CHROMEDRIVER ($BROWSER_PROBLEM)"
}

# --- the distributed engines ----------------------------------------------------------------------------------------

# links LIBRARY HEADER: whether the C compiler finds both.
links() {
  local probe=$FRESHET_CACHE/probe
  mkdir -p "$probe"
  printf '#include <%s>\nint main(void) { return 0; }\n' "$2" | cc -x c - -o "$probe/links" "-l$1" >/dev/null 2>&1
}

# librdkafka is compiled from the source that its crate brings.
can_build_engines() { have cc && have c++ && have make && links ssl openssl/ssl.h && links z zlib.h; }

# etcd's client is generated from etcd's own descriptions.
can_generate() {
  local probe=$FRESHET_CACHE/probe
  mkdir -p "$probe"
  have protoc || return 1
  printf 'syntax = "proto3"; import "google/protobuf/descriptor.proto";\n' >"$probe/probe.proto"
  protoc --proto_path="$probe" --descriptor_set_out="$probe/probe.out" probe.proto >/dev/null 2>&1
}

protoc_there() {
  if can_generate; then
    there "protoc" "$(command -v protoc)"
    return
  fi
  if can_apt && apt_has protobuf-compiler; then
    step "protoc" "etcd's client is generated by it" apt_install protobuf-compiler libprotobuf-dev && can_generate && return
  fi
  by_hand "protoc, or the descriptions that come with it" \
    "the packages protobuf-compiler and libprotobuf-dev, as your system calls them (macOS: brew install protobuf)"
}

engines() {
  protoc_there
  if can_build_engines; then
    there "C compiler, OpenSSL, zlib" "$(command -v cc)"
    return
  fi
  if can_apt && apt_has libssl-dev; then
    step "C compiler, OpenSSL, zlib" "librdkafka, Kafka's client, is compiled from its source" \
      apt_install gcc g++ libc6-dev make pkg-config libssl-dev zlib1g-dev && can_build_engines && return
  fi
  by_hand "a C compiler, make, or the headers of OpenSSL or zlib" \
    "the packages gcc, g++, make, pkg-config, libssl-dev and zlib1g-dev, as your system calls them (macOS: xcode-select --install; brew install openssl pkg-config)"
}

# All jars, or no folder: an interrupted set-up is not taken for a broker.
kafka_jars() {
  rm -rf "$FRESHET_KAFKA.new"
  mvn --batch-mode --no-transfer-progress --file scripts/kafka.xml "-Dkafka.version=$KAFKA_VERSION" \
    dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$FRESHET_KAFKA.new" || return
  rm -rf "$FRESHET_KAFKA" && mv "$FRESHET_KAFKA.new" "$FRESHET_KAFKA"
}

kafka() {
  # shellcheck source=scripts/engines.sh
  . "$FRESHET_ROOT/scripts/engines.sh"
  if find_kafka; then
    there "Kafka $KAFKA_VERSION" "$FRESHET_KAFKA"
    return
  fi
  if ! have_java && can_apt && apt_has default-jre-headless; then
    step "Java" "Kafka runs on it" apt_install default-jre-headless || true
  fi
  if ! have mvn && can_apt && apt_has maven; then
    step "Maven" "fetches Kafka" apt_install maven || true
  fi
  if ! have_java; then
    by_hand "Java 17 or later" "https://adoptium.net, or the package of your system"
  elif ! have mvn; then
    by_hand "Maven" "https://maven.apache.org, or the package of your system"
  else
    step "Kafka $KAFKA_VERSION" "its engine is tested against a real broker" kafka_jars && find_kafka ||
      by_hand "Kafka $KAFKA_VERSION" "its jars into a folder that FRESHET_KAFKA names"
  fi
}

pubsub() {
  # shellcheck source=scripts/engines.sh
  . "$FRESHET_ROOT/scripts/engines.sh"
  if find_pubsub_emulator; then
    there "Pub/Sub emulator" "$FRESHET_PUBSUB_EMULATOR"
    return
  fi
  if ! have_java && can_apt && apt_has default-jre-headless; then
    step "Java" "the Pub/Sub emulator runs on it" apt_install default-jre-headless || true
  fi
  if ! have_java; then
    by_hand "Java 17 or later" "https://adoptium.net, or the package of your system"
    return
  fi
  # Google alone gives it out: by its package archive, where that was added to this machine's, or by its own tools.
  if can_apt && apt_has google-cloud-cli-pubsub-emulator; then
    step "Pub/Sub emulator (packages)" "its engine is tested against Google's own emulator" \
      apt_install google-cloud-cli-pubsub-emulator && find_pubsub_emulator && return
  fi
  if have gcloud; then
    step "Pub/Sub emulator (gcloud)" "its engine is tested against Google's own emulator" \
      gcloud components install pubsub-emulator --quiet && find_pubsub_emulator && return
  fi
  by_hand "Google's Pub/Sub emulator" \
    "only Google gives it out: gcloud components install pubsub-emulator, with the tools of https://cloud.google.com/sdk/docs/install, or the package google-cloud-cli-pubsub-emulator of its archive; FRESHET_PUBSUB_EMULATOR may name its jar"
}

redis() {
  # shellcheck source=scripts/engines.sh
  . "$FRESHET_ROOT/scripts/engines.sh"
  if find_redis; then
    there "Redis" "$FRESHET_REDIS"
    return
  fi
  if can_apt && apt_has redis-server; then
    step "Redis" "its engine of the rate limits is tested against a real server" apt_install redis-server && find_redis && return
  fi
  by_hand "Redis 6 or later" "https://redis.io, or the package of your system; FRESHET_REDIS may name redis-server"
}

etcd() {
  # shellcheck source=scripts/engines.sh
  . "$FRESHET_ROOT/scripts/engines.sh"
  if find_etcd; then
    there "etcd" "$FRESHET_ETCD"
    return
  fi
  if can_apt && apt_has etcd-server; then
    step "etcd" "its engine is tested against real servers" apt_install etcd-server && find_etcd && return
  fi
  by_hand "etcd" "the package etcd-server, or https://github.com/etcd-io/etcd/releases; on PATH, or named by FRESHET_ETCD"
}

zookeeper() {
  # shellcheck source=scripts/engines.sh
  . "$FRESHET_ROOT/scripts/engines.sh"
  if find_zookeeper; then
    there "ZooKeeper" "${FRESHET_ZOOKEEPER%%:*}"
    return
  fi
  if ! have java && can_apt && apt_has default-jre-headless; then
    step "Java" "ZooKeeper runs on it" apt_install default-jre-headless || true
  fi
  if [ ! -f "${ZOOKEEPER_JARS%%:*}" ] && can_apt && apt_has zookeeper; then
    step "ZooKeeper" "its engine is tested against real servers" apt_install zookeeper || true
  fi
  if find_zookeeper; then return; fi
  by_hand "ZooKeeper, or the Java that it runs on" \
    "the package zookeeper, or https://zookeeper.apache.org/releases.html; FRESHET_ZOOKEEPER names the class path (FOLDER/lib/*)"
}

shell_check() {
  if have shellcheck; then
    there shellcheck "$(command -v shellcheck)"
  elif can_apt && apt_has shellcheck; then
    step shellcheck "checks these scripts" apt_install shellcheck || true
  else
    note "shellcheck is not there; the scripts will not be checked (install it by hand: package shellcheck)"
  fi
}

# --- what was asked for ---------------------------------------------------------------------------------------------

[ $# -gt 0 ] || set -- page browser engines kafka pubsub redis etcd zookeeper check
one_at_a_time
for part in "$@"; do
  case $part in
    page)
      wasm_target
      # its lock file names versions that not every index has
      cargo_tool wasm-bindgen-cli "$WASM_BINDGEN_VERSION" wasm-bindgen "joins WebAssembly to JavaScript"
      cargo_tool trunk "$TRUNK_VERSION" trunk "builds and serves the page" --locked
      wasm_opt
      ;;
    browser)
      browser
      axe_core
      ;;
    engines) engines ;;
    kafka) kafka ;;
    pubsub) pubsub ;;
    redis) redis ;;
    etcd) etcd ;;
    zookeeper) zookeeper ;;
    check)
      cargo_tool cargo-deny "$CARGO_DENY_VERSION" cargo-deny "checks the licences and sources of dependencies" --locked
      shell_check
      ;;
    *) die "setup.sh: no part is called '$part'; there are page, browser, engines, kafka, pubsub, redis, etcd, zookeeper and check" ;;
  esac
done
[ "$MISSING" -eq 0 ] || die "set-up is not complete; see above"
# Kept until all is there, so that an interrupted set-up goes on where it was.
rm -rf "$FRESHET_CACHE/tools-build" "$FRESHET_CACHE/probe"
note "set-up took $(duration $SECONDS)"
