#!/bin/sh
# Installs outpost as a service, or upgrades it, from a folder or an address that holds the released files:
#
#   sudo sh install.sh                                  from the folder that this script is in
#   sudo sh install.sh --from FOLDER|URL                from there
#   sudo sh install.sh --uninstall                      takes program and unit away; configuration and samples stay
#
# The files: outpost-TARGET (the program for one kind of processor), outpost.service, outpost.yml,
# default-rules.yml, outpost.default, and SHA256SUMS, which every file is checked against.
# --root FOLDER installs below another root and starts nothing.
# An existing configuration and existing rules are left as they are.
set -eu

from=$(cd "$(dirname "$0")" && pwd)
root= uninstall=no machine=$(uname -m)
# A shell that su has started may lack the folders with groupadd and useradd.
PATH=$PATH:/usr/sbin:/sbin
say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --from) [ $# -gt 1 ] || die "--from wants a folder or an address"; from=$2; shift 2 ;;
    --root) [ $# -gt 1 ] || die "--root wants a folder"; root=${2%/}; shift 2 ;;
    --machine) [ $# -gt 1 ] || die "--machine wants what uname -m says"; machine=$2; shift 2 ;;
    --uninstall) uninstall=yes; shift ;;
    *) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p;}' "$0"; exit 2 ;;
  esac
done

has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || die "needs root: sudo sh install.sh"

if [ -z "$root" ] && [ "$(dpkg-query -W -f='${db:Status-Status}' outpost 2>/dev/null)" = installed ]; then
  die "outpost is installed as a Debian package: upgrade or remove that with apt"
fi

if [ "$uninstall" = yes ]; then
  if has_systemd; then systemctl disable --now outpost >/dev/null 2>&1 || true; fi
  rm -f "$root/usr/bin/outpost" "$root/usr/lib/systemd/system/outpost.service"
  if has_systemd; then systemctl daemon-reload; fi
  say "outpost is removed. Its configuration (/etc/outpost, /etc/default/outpost) and samples (/var/lib/outpost) are left:
rm -r them yourself."
  exit 0
fi

# A 32-bit system may run on a 64-bit kernel, as Raspberry Pi OS does: then programs are 32-bit.
bits=$(getconf LONG_BIT 2>/dev/null || echo 64)
case $machine in
  x86_64 | amd64) target=x86_64-unknown-linux-musl ;;
  aarch64 | arm64) if [ "$bits" = 32 ]; then target=armv7-unknown-linux-musleabihf; else target=aarch64-unknown-linux-musl; fi ;;
  armv7* | armv8l) target=armv7-unknown-linux-musleabihf ;;
  armv6*) die "this processor is an ARMv6 (Raspberry Pi 1 or Zero): there is no outpost for it; a Zero 2 W or a Pi 2 has ARMv7" ;;
  *) die "there is no outpost for $machine: x86_64, aarch64 and armv7 are built" ;;
esac
board=
if [ -r /proc/device-tree/model ]; then board=$(tr -d '\0' </proc/device-tree/model); fi
say "outpost for ${board:-$machine}: $target"

needs() { for program in "$@"; do command -v "$program" >/dev/null || die "needs $program, which is not there: nothing is installed"; done; }
needs install sha256sum
[ -n "$root" ] || needs getent groupadd useradd
case $from in
  http://* | https://*) command -v curl >/dev/null || command -v wget >/dev/null || die "needs curl or wget to fetch from $from" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"; rm -f "$root/usr/bin/outpost.new"' EXIT
fetch() {
  case $from in
    http://* | https://*)
      if command -v curl >/dev/null; then curl -fsSL -o "$work/$1" "$from/$1"; else wget -qO "$work/$1" "$from/$1"; fi ||
        die "$from/$1 cannot be fetched" ;;
    *) cp "$from/$1" "$work/$1" 2>/dev/null || die "$from/$1 is not there" ;;
  esac
}
program=outpost-$target
for file in SHA256SUMS "$program" outpost.service outpost.yml default-rules.yml outpost.default; do fetch "$file"; done
for file in "$program" outpost.service outpost.yml default-rules.yml outpost.default; do
  sum=$(sed -n "s/^\([0-9a-f]\{64\}\)[ *]*$file\$/\1/p" "$work/SHA256SUMS")
  [ -n "$sum" ] || die "SHA256SUMS does not name $file: nothing is installed"
  [ "$(sha256sum <"$work/$file" | cut -d' ' -f1)" = "$sum" ] || die "$file is not what SHA256SUMS says: nothing is installed"
done
# Beside the old one and then in its place: a running outpost keeps its file. It is tried there: /tmp may be noexec.
install -d -m 0755 "$root/usr/bin"
install -m 0755 "$work/$program" "$root/usr/bin/outpost.new"
if [ -z "$root" ]; then
  "$root/usr/bin/outpost.new" --version >/dev/null || die "the program does not run on this machine: nothing is installed"
fi

# Whoever has switched the service off wants it off.
state=
if has_systemd; then state=$(systemctl is-enabled outpost 2>/dev/null || true); fi
install -d -m 0755 "$root/etc/outpost" "$root/etc/default" "$root/usr/lib/systemd/system"
install -d -m 0700 "$root/etc/outpost/secrets"
mv "$root/usr/bin/outpost.new" "$root/usr/bin/outpost"
# Where the Debian package has it: a package that is installed later takes both over.
install -m 0644 "$work/outpost.service" "$root/usr/lib/systemd/system/outpost.service"
kept=
[ -e "$root/etc/outpost/outpost.yml" ] && kept=" (yours is kept)" || install -m 0644 "$work/outpost.yml" "$root/etc/outpost/outpost.yml"
# Whoever has taken the default rules away does not want them back.
[ -d "$root/etc/outpost/rules" ] || install -D -m 0644 "$work/default-rules.yml" "$root/etc/outpost/rules/default.yml"
[ -e "$root/etc/default/outpost" ] || install -m 0644 "$work/outpost.default" "$root/etc/default/outpost"
if [ -z "$root" ]; then
  getent group outpost >/dev/null || groupadd --system outpost
  getent passwd outpost >/dev/null || useradd --system --gid outpost --no-create-home --home-dir /var/lib/outpost \
    --shell /usr/sbin/nologin outpost
  install -d -o outpost -g outpost -m 0750 /var/lib/outpost
fi
if has_systemd; then
  systemctl daemon-reload
  case $state in
    disabled | masked*) say "The service is $state and left so." ;;
    *)
      systemctl enable --quiet outpost
      systemctl restart outpost ||
        die "outpost is installed, but does not start: sudo outpost doctor, or journalctl -u outpost -n 20, says why" ;;
  esac
fi

say "
Installed: $root/usr/bin/outpost, configuration $root/etc/outpost/outpost.yml$kept."
for copy in /usr/local/bin/outpost /etc/systemd/system/outpost.service; do
  if [ -f "$root$copy" ]; then say "$copy is another one and goes before what is installed now: sudo rm $copy"; fi
done
if ! has_systemd; then
  say "systemd does not run here; start it by hand, as the user outpost:
  outpost --config.file=/etc/outpost/outpost.yml --storage.path=/var/lib/outpost"
elif systemctl --quiet is-active outpost; then
  say "It runs: http://$(uname -n):9090"
fi
say "
Next:
  sudo outpost doctor                             what this machine still needs
  sudo usermod -aG docker outpost                 show containers (makes the account as mighty as root); then:
                                                  sudo systemctl restart outpost
  sudoedit /etc/outpost/outpost.yml               scrape more, alert, federate; then: sudo systemctl reload outpost"
