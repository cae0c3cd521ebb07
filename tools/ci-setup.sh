#!/bin/sh
# What the full test run wants beyond `npm ci` on a fresh Debian 12 with Node 20: nothing that it cannot do without.
#   - SwiftShader, its Vulkan loader and a Chromium come with the optional npm package; where that is missing,
#     Debian's libvulkan1 and chromium stand in for the last two.
#   - dcm2niix, dcmtk, pydicom, gdcm, nibabel and teem read the same files as this package; comparisons are skipped without them.
#   - gcc and Vulkan's headers build a layer through which Mesa compiles for AMD GPUs that are not there (docs/hardware.md); those checks are
#     skipped without them.
#   - lavapipe (Mesa 23 or newer, on Debian 12 from bookworm-backports) adds f16 and is several times as fast;
#     tests on it are skipped without it. SGP_SAM_LAVAPIPE=0 leaves it out.
# Needs root for apt; without it, says what is missing and goes on. Safe to run again: then it only looks.
set -eu
cd "$(dirname "$0")/.."

say() { echo "ci-setup: $*"; }

packages=''
backports=''

lavapipe_is_new() {
  version=$(dpkg-query -W -f '${db:Status-Status} ${Version}' mesa-vulkan-drivers 2>/dev/null) || return 1
  case $version in 'installed '*) dpkg --compare-versions "${version#installed }" ge 23 ;; *) return 1 ;; esac
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  say 'no apt here: install libvulkan and Mesa 23 or newer by your own means for tests on lavapipe'
  exit 0
fi

if [ ! -e node_modules/@sparticuz/chromium/bin/swiftshader.tar.br ]; then
  say 'the optional package @sparticuz/chromium is missing (npm ci brings it): using Debian'\''s chromium'
  command -v chromium >/dev/null || packages="$packages chromium"
fi

# Programs of others that read the same images, and those written here; tests that compare are skipped without.
for tool in dcm2niix dcmtk dicom3tools python3-numpy python3-pydicom python3-gdcm python3-nibabel teem-apps \
  gcc libc6-dev libvulkan-dev; do
  dpkg-query -W -f '${db:Status-Status}' "$tool" 2>/dev/null | grep -qx installed || packages="$packages $tool"
done

if [ "${SGP_SAM_LAVAPIPE:-1}" != 0 ] && ! lavapipe_is_new; then
  if grep -qs '^VERSION_ID="12"' /etc/os-release && grep -qs '^ID=debian' /etc/os-release; then
    backports='mesa-vulkan-drivers'
  else
    packages="$packages mesa-vulkan-drivers"
  fi
fi

if [ -n "$packages$backports" ] && ! ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'; then
  packages="$packages libvulkan1"
fi

if [ -z "$packages$backports" ]; then
  say 'everything is there'
  exit 0
fi

if [ "$(id -u)" != 0 ]; then
  say "missing, and not root:$packages${backports:+ $backports (from bookworm-backports)}"
  say 'going on without: the tests that need them are skipped'
  exit 0
fi

if [ -n "$backports" ] && ! apt-cache policy 2>/dev/null | grep -q 'bookworm-backports'; then
  mirror=${SGP_SAM_DEBIAN_MIRROR:-http://deb.debian.org/debian}
  echo "deb $mirror bookworm-backports main" >/etc/apt/sources.list.d/sgp-sam-backports.list
  say "added $mirror bookworm-backports"
fi

export DEBIAN_FRONTEND=noninteractive
# A mirror that cannot be reached must not stop the run: the tests do without.
apt-get update -q || say 'apt-get update failed'
if [ -n "$packages" ]; then
  # shellcheck disable=SC2086 # a list of names
  apt-get install -y -q --no-install-recommends $packages || say "could not install:$packages"
fi
if [ -n "$backports" ]; then
  apt-get install -y -q --no-install-recommends -t bookworm-backports $backports ||
    say "could not install $backports from bookworm-backports: tests on lavapipe are skipped"
fi
