#!/usr/bin/env bash
# Runs every fuzz test of the tree for a while: .ci/fuzz.sh [time each, 10s].
set -euo pipefail
cd "$(dirname "$0")/.."
each="${1:-10s}"

git ls-files -- '*_test.go' | while read -r file; do
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r name; do
		echo "== ./$(dirname "$file") $name"
		go test "./$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "$each" </dev/null
	done
done
