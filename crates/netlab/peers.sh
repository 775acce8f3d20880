#!/bin/sh
# Unpacks Debian packages as peers for the laboratory, with the libraries that this machine lacks for them.
# Nothing is installed and no service starts. Usage: peers.sh [PACKAGE...], default: keepalived.
# Folder: $KEEPALIVED_RS_PEERS, else peers in $KEEPALIVED_RS_CACHE, $XDG_CACHE_HOME/keepalived-rs or ~/.cache/keepalived-rs.
set -eu

cache=${KEEPALIVED_RS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keepalived-rs}
folder=${KEEPALIVED_RS_PEERS:-$cache/peers}
[ $# -gt 0 ] || set -- keepalived

for package; do
    tree=$folder/$package
    [ ! -e "$tree" ] || continue
    new=$tree.new.$$
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$new/archives"
    # What apt would install along with it is what this machine lacks.
    missing=$(apt-get install --simulate --no-install-recommends "$package" | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    (
        cd "$new/archives"
        # shellcheck disable=SC2086
        printf '%s\n' "$package" $missing | sort -u | xargs apt-get download --quiet
        for archive in *.deb; do dpkg-deb --extract "$archive" ..; done
    )
    rm -r "$new/archives"
    mv "$new" "$tree"
    echo "$tree"
done
