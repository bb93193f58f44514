#!/usr/bin/env bash
# Installs what the fault tests need of the system: iptables cuts networks,
# fuse3 mounts a file system that loses what was not synced. Without them those
# tests are skipped, and say so.
set -euo pipefail

packages=(iptables fuse3)

missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
	echo "Everything is there: ${packages[*]}"
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "This system has no apt-get. Install these with its own package manager: ${missing[*]}" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "Not root. Run this: sudo apt-get install ${missing[*]}" >&2
	exit 1
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
