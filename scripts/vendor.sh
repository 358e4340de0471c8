#!/usr/bin/env bash
# Copy the libraries of the chat page, of exact versions, from the npm registry into src/r1kit/serve/page/vendor/.
set -euo pipefail
cd "$(dirname "$0")/.."
vendor=$PWD/src/r1kit/serve/page/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# vendor NAME VERSION FILE...: the license and these files of a package
vendor() {
    local name=$1 version=$2
    shift 2
    mkdir -p "$work/$name" "$vendor/$name"
    (cd "$work" && npm pack --silent "$name@$version" >/dev/null && tar xzf "$name-$version.tgz" -C "$name")
    (cd "$work/$name/package" && cp -r LICENSE "$@" "$vendor/$name")
}

rm -rf "$vendor"
vendor katex 0.19.1 dist/katex.min.js dist/katex.min.css dist/fonts
vendor markdown-it 15.0.3 dist/browser/markdown-it.umd.min.js
vendor dompurify 3.5.0 dist/purify.min.js
rm "$vendor"/katex/fonts/*.{woff,ttf} # the style sheet prefers woff2, which all current browsers read
sed -i '/^\/\/# sourceMappingURL=/d' "$vendor"/*/*.js
