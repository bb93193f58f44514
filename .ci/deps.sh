#!/usr/bin/env bash
# Installs what some tests need of the system: iptables cuts networks, fuse3
# mounts a file system that loses what was not synced, prometheus scrapes a
# cluster and brings promtool, wrk loads one. Without them those tests are skipped,
# and say so.
set -euo pipefail

packages=(iptables fuse3 prometheus wrk)

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
	echo "Not root. Run this: sudo $0" >&2
	exit 1
fi

# The package prometheus starts a daemon when it is installed, and again at every
# boot. The tests start their own and want none of that: policy-rc.d, which both
# init scripts and systemd units ask, forbids it now, and update-rc.d, which knows
# both too, for later. A prometheus that was there before is not touched.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
case " ${missing[*]} " in *" prometheus "*) update-rc.d prometheus disable ;; esac
