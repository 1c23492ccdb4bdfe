# shellcheck shell=bash
# find_browser: a Chromium and the driver of the same version, in FRESHET_CHROMIUM and FRESHET_CHROMEDRIVER, or in
# BROWSER_PROBLEM why there are none. FRESHET_AXE: where set-up puts axe-core, which the browser tests run in the page.
# shellcheck disable=SC2034 # BROWSER_PROBLEM is read where this is sourced

AXE_VERSION=4.14.1
AXE_ROOT=$FRESHET_CACHE/tools/axe-core-$AXE_VERSION
export FRESHET_AXE=${FRESHET_AXE:-$AXE_ROOT/node_modules/axe-core/axe.min.js}

# "Chromium 156.0.8078.79 built on Debian" -> 156
major_version() { "$1" --version 2>/dev/null | sed -n 's/^[^0-9]*\([0-9][0-9]*\)\..*/\1/p' | head -n 1; }

find_browser() {
  local name
  BROWSER_PROBLEM=
  for name in chromium chromium-browser google-chrome google-chrome-stable chrome \
    "/Applications/Chromium.app/Contents/MacOS/Chromium" \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
    if [ -z "${FRESHET_CHROMIUM:-}" ]; then FRESHET_CHROMIUM=$(command -v "$name" || true); fi
  done
  : "${FRESHET_CHROMEDRIVER:=$(command -v chromedriver || true)}"
  if [ -z "$FRESHET_CHROMIUM" ]; then
    BROWSER_PROBLEM="found no browser"
  elif [ -z "$FRESHET_CHROMEDRIVER" ]; then
    BROWSER_PROBLEM="found $FRESHET_CHROMIUM, but no chromedriver"
  elif [ -z "$(major_version "$FRESHET_CHROMIUM")" ] ||
    [ "$(major_version "$FRESHET_CHROMIUM")" != "$(major_version "$FRESHET_CHROMEDRIVER")" ]; then
    BROWSER_PROBLEM="$FRESHET_CHROMIUM and $FRESHET_CHROMEDRIVER are not of one version"
  else
    export FRESHET_CHROMIUM FRESHET_CHROMEDRIVER
    return 0
  fi
  return 1
}
