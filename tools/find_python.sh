#!/bin/sh
# Print the Python that gfvideo shall use: the one that is named, or the first of the usual names that runs and is 3.11, 3.12 or 3.13.
# A name that exists may still not run (the shims of version managers), so each is asked for its version.
case "${1:-}" in
    -h|--help) echo 'usage: find_python.sh [PYTHON]'; exit 0 ;;
esac
tried=''
[ $# -gt 0 ] || set -- python3 python3.13 python3.12 python3.11 python
for name in "$@"; do
    version=$("$name" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || version=''
    case "$version" in
        3.11.*|3.12.*|3.13.*) command -v "$name"; exit 0 ;;
        '') tried="$tried
  $name: not found, or it does not run" ;;
        *) tried="$tried
  $name: Python $version" ;;
    esac
done
cat >&2 <<MESSAGE
gfvideo needs Python 3.11, 3.12 or 3.13. Looked for:$tried
Install one of them, or name the one you have, for example:  make install PYTHON=/path/to/python3.12
MESSAGE
exit 1
