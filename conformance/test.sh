#!/usr/bin/env bash
# Everything there is to test, against real servers and mail clients. Installs the Debian packages that
# are missing, builds, and runs every test; a test that would skip for want of a program fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Package and the file that shows it is there.
needed=(
    dovecot-imapd:/usr/lib/dovecot/imap-login
    dovecot-pop3d:/usr/lib/dovecot/pop3-login
    dovecot-managesieved:/usr/lib/dovecot/managesieve-login
    dovecot-sieve:/usr/lib/dovecot/modules/lib90_sieve_plugin.so
    dovecot-submissiond:/usr/lib/dovecot/submission-login
    dovecot-lmtpd:/usr/lib/dovecot/lmtp
    postfix:/usr/sbin/postfix
    haproxy:/usr/sbin/haproxy
    nginx:/usr/sbin/nginx
    libnginx-mod-mail:/usr/lib/nginx/modules/ngx_mail_module.so
    libnginx-mod-stream:/usr/lib/nginx/modules/ngx_stream_module.so
    fetchmail:/usr/bin/fetchmail
    swaks:/usr/bin/swaks
    sieve-connect:/usr/bin/sieve-connect
    isync:/usr/bin/mbsync
    curl:/usr/bin/curl
    python3:/usr/bin/python3
    openssl:/usr/bin/openssl
    redis-server:/usr/bin/redis-server
    postgresql:/usr/bin/pg_createcluster
    mariadb-server:/usr/sbin/mariadbd
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
    # The tests start servers of their own. Postfix gets no configuration, and this file is how
    # Debian is told to start no service that it installs.
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e "$policy" ]]; then
        trap '"${root[@]}" rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod 755 "$policy"
    fi
    echo "postfix postfix/main_mailer_type select No configuration" |
        "${root[@]}" debconf-set-selections
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
    if [[ -n "$(trap -p EXIT)" ]]; then
        "${root[@]}" rm -f "$policy"
        trap - EXIT
    fi
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
