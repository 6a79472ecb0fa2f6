#!/usr/bin/env bash
# Everything there is to test, against real servers and mail clients. Installs the Debian packages that
# are missing, builds, and runs every test; a test that would skip for want of a program fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Package and the file that shows it is there.
needed=(
    dovecot-imapd:/usr/lib/dovecot/imap-login
    isync:/usr/bin/mbsync
    curl:/usr/bin/curl
    python3:/usr/bin/python3
    openssl:/usr/bin/openssl
)
missing=()
for entry in "${needed[@]}"; do
    [[ -e "${entry#*:}" ]] || missing+=("${entry%%:*}")
done
if (( ${#missing[@]} > 0 )); then
    echo "installing ${missing[*]}"
    root=()
    (( EUID == 0 )) || root=(sudo)
    "${root[@]}" apt-get update -q </dev/null
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
fi

# Hundreds of sessions at once take more open files than a shell usually may have.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

# The tests run the program as a child, and `cargo test` alone does not always build it.
cargo build --workspace </dev/null

log=$(mktemp)
trap 'rm -f "$log"' EXIT
GATEPOST_REQUIRE_SERVERS=1 cargo test --workspace --no-fail-fast -- --show-output </dev/null 2>&1 | tee "$log" && status=0 || status=$?

echo
echo "=== what ran"
# Cargo names each test program, or the crate whose documentation is tested, ahead of its result.
awk '
    /^ +Running / { name = $NF; sub(/.*\//, "", name); sub(/-[0-9a-f]+\)$/, "", name) }
    /^ +Doc-tests / { name = $2 " (documentation)" }
    /^test result:/ { sub(/^test result: /, ""); print name ": " $0 }
' "$log"
if (( status != 0 )); then
    echo "=== failed"
    grep -E '^test .* FAILED$|^error' "$log" || true
fi
exit "$status"
