# Shared by the scripts of this folder: where things are, what is said, how Debian's tools are had.
# Sourced with the repository as the current folder.
# shellcheck shell=bash

# Everything that is made lies here, and nowhere else.
IMAGES=$PWD/target/images
TOOLS=$IMAGES/tools
RELEASE=trixie
export IMAGES TOOLS RELEASE LC_ALL=C.UTF-8

# Where the script was called: each goes to the repository and comes here. Folders that it is given are meant from there.
CALLER=${OLDPWD:-$PWD}
path() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$CALLER" "$1" ;; esac; }

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() { say "$*"; exit 1; }

# The time of the last commit stands for "now" in everything that is made.
epoch() {
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null)}
    [ -n "$SOURCE_DATE_EPOCH" ] || fail "without git history, set SOURCE_DATE_EPOCH (seconds since 1970)"
    export SOURCE_DATE_EPOCH
}

# need PACKAGE…: installs from Debian what is missing, or says how.
need() {
    local missing
    command -v dpkg-query >/dev/null || fail "this is not Debian; please install: $*"
    missing=$(comm -23 <(printf '%s\n' "$@" | sort -u) \
        <(dpkg-query -W -f '${Status} ${Package}\n' "$@" 2>/dev/null \
            | awk '/^install ok installed/ {print $4}' | sort -u) | tr '\n' ' ')
    [ -n "${missing// /}" ] || return 0
    [ "$(id -u)" = 0 ] || fail "please run: sudo apt-get install --yes --no-install-recommends $missing"
    say "installing from Debian: $missing"
    apt-get update -qq >&2
    # shellcheck disable=SC2086 # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $missing >&2
}

# The archives that this machine itself uses, with the release that the image is made of.
# shellcheck disable=SC2016 # apt's own variables
mirror() { # mirror LABEL
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Label: $1" 2>/dev/null | sort -u | head -1
}
sources() {
    local main security
    main=$(mirror Debian) security=$(mirror Debian-Security)
    [ -n "$main" ] && [ -n "$security" ] || fail "apt knows no archive of Debian and its security updates here"
    printf 'deb %s %s main non-free-firmware\n' "$main" "$RELEASE" "$main" "$RELEASE-updates" \
        "$security" "$RELEASE-security"
}

# tree FOLDER PACKAGES: a small Debian in FOLDER, made again when the packages change.
tree() {
    local folder=$1 packages=$2 made
    made="$folder.made"
    [ "$(cat "$made" 2>/dev/null)" = "$RELEASE $packages" ] && return 0
    need mmdebstrap debian-archive-keyring
    say "making ${folder#"$PWD"/} from Debian $RELEASE (once, about two minutes)"
    # Of an ordinary user's tree most belongs to that user's subordinate ids.
    rm -rf "$folder" "$made" 2>/dev/null || unshare --user --map-auto --map-root-user rm -rf "$folder" "$made"
    mkdir -p "${folder%/*}"
    sources | mmdebstrap --quiet --mode="$([ "$(id -u)" = 0 ] && echo root || echo unshare)" --variant=apt --include="$packages" "$RELEASE" "$folder" - \
        || return 1
    printf '%s' "$RELEASE $packages" >"$made"
}

# What builds the image: newer than what this machine may have, and the same everywhere.
tools() {
    local packages=(
        mkosi systemd systemd-repart systemd-container systemd-ukify systemd-boot-efi systemd-boot-tools
        erofs-utils dosfstools e2fsprogs mtools cryptsetup-bin openssl cpio kmod busybox-static fdisk
        debian-archive-keyring ca-certificates bubblewrap xz-utils zstd python3-pefile python3-cryptography
    )
    [ "$(id -u)" = 0 ] || fail "the image is built by root (loop-free, but Debian's packages want their owners)"
    tree "$TOOLS" "$(IFS=,; printf '%s' "${packages[*]}")"
}

# in_tools COMMAND…: runs it with the tools tree as its root and the repository as /work, in namespaces of its own.
# A plain chroot would not do: the sandbox of mkosi wants "/" to be a mount.
in_tools() {
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --propagation private bash -euc '
        repository=$1; shift
        mount --bind "$TOOLS" "$TOOLS"
        mkdir -p "$TOOLS/work"
        mount --rbind "$repository" "$TOOLS/work"
        for folder in proc sys dev; do mount --rbind "/$folder" "$TOOLS/$folder"; done
        mount -t tmpfs tmpfs "$TOOLS/run"
        mount -t tmpfs tmpfs "$TOOLS/tmp"
        cp --dereference /etc/resolv.conf "$TOOLS/etc/resolv.conf"
        cd "$TOOLS"
        mkdir -p was
        pivot_root . was
        umount --lazy /was
        cd /work
        exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LC_ALL=C.UTF-8 \
            SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-}" "$@"
    ' in_tools "$PWD" "$@"
}

# binary: the program as it is released, in target/images/lazaret. The paths of this machine do not get into it.
binary() {
    local home=${CARGO_HOME:-$HOME/.cargo} auditable=cargo-auditable@0.7.7 folder
    local remap="--remap-path-prefix=$home=/cargo --remap-path-prefix=$PWD=/build"
    epoch
    command -v cargo >/dev/null || fail "cargo is missing: please install the Rust toolchain named in rust-toolchain.toml"
    need gcc libc6-dev libclang-dev linux-libc-dev pkg-config binutils
    if [ ! -x "$IMAGES/cargo-tools/bin/cargo-auditable" ]; then
        say "building $auditable (once, a minute)"
        (cd / && CARGO_TARGET_DIR="$IMAGES/cargo" cargo install --quiet --locked \
            --root "$IMAGES/cargo-tools" "$auditable" >&2)
    fi
    say "building the program"
    # The folder of downloaded crates is named after where they came from.
    for folder in "$home"/registry/src/*; do remap="$remap --remap-path-prefix=$folder=/crates"; done
    env PATH="$IMAGES/cargo-tools/bin:$PATH" CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$IMAGES/cargo" \
        CARGO_PROFILE_RELEASE_STRIP=symbols \
        CFLAGS="-ffile-prefix-map=$home=/cargo -ffile-prefix-map=$PWD=/build" \
        RUSTFLAGS="$remap -C link-arg=-Wl,-z,relro,-z,now,-z,noexecstack -C link-arg=-Wl,--build-id=sha1" \
        cargo auditable build --quiet --release --locked -p lazaret --bin lazaret >&2
    install -m 0755 "$IMAGES/cargo/release/lazaret" "$IMAGES/lazaret"
    hardened "$IMAGES/lazaret" || fail "the program is not built as it must be"
}

# hardened FILE: position-independent, relocations read-only before it starts, no executable stack, no symbols.
hardened() {
    local headers dynamic sections bad=0
    headers=$(readelf --wide --file-header --program-headers "$1")
    dynamic=$(readelf --wide --dynamic "$1")
    sections=$(readelf --wide --sections "$1")
    grep -Eq 'Type: +DYN' <<<"$headers" && grep -q 'FLAGS_1.*PIE' <<<"$dynamic" || { say "not PIE"; bad=1; }
    grep -q GNU_RELRO <<<"$headers" && grep -q 'FLAGS_1.*NOW' <<<"$dynamic" || { say "no full RELRO"; bad=1; }
    grep -Eq 'GNU_STACK.* RW +0' <<<"$headers" || { say "executable stack"; bad=1; }
    ! grep -Eq ' \.(symtab|debug_info) ' <<<"$sections" || { say "not stripped"; bad=1; }
    grep -q ' \.dep-v0 ' <<<"$sections" || { say "no list of its dependencies (cargo auditable)"; bad=1; }
    ! grep -Eq 'RPATH|RUNPATH' <<<"$dynamic" || { say "looks for libraries in a folder of its own"; bad=1; }
    ! grep -qaF -e "$PWD" -e "${CARGO_HOME:-$HOME/.cargo}/" "$1" || { say "paths of this machine are in it"; bad=1; }
    return $bad
}
