# SPDX-License-Identifier: Apache-2.0

# Has this shell source every env file of a folder with set -a, and prints what the variables A and Z then are:
# file, A, Z and an empty word, each ended by NUL; a variable that is set has a = before its value. Argument: the folder.
for file in "$1"/*; do
  (
    set -a
    . "$file" >/dev/null 2>&1 </dev/null || exit 0
    printf '%s\0' "${file##*/}" "${A+=}${A-}" "${Z+=}${Z-}" ""
  )
done
true
