#!/bin/bash -eu
# Builds every fuzz target of the tree for OSS-Fuzz, whose base image has compile_native_go_fuzzer.
cd "$SRC/postern"
go get github.com/AdamKorcz/go-118-fuzz-build/testing
grep -rHoE '^func Fuzz[A-Za-z0-9]+' --include='*_test.go' . | sed -E 's#^\./##; s#/[^/]*:func # #' |
  while read -r folder target; do
    compile_native_go_fuzzer "postern/$folder" "$target" "$(tr / _ <<<"$folder")_$target"
  done
