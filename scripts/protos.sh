#!/usr/bin/env bash
# Regenerates Sources/WireSchemas from protos/. Needs protoc and the resolved swift-protobuf checkout, whose plugin it builds.
# PROTOC_GEN_SWIFT names a ready plugin and saves the build.
set -euo pipefail
cd "$(dirname "$0")/.."

plugin=${PROTOC_GEN_SWIFT:-}
if [ -z "$plugin" ]; then
  checkout=$PWD/.build/checkouts/swift-protobuf
  scratch=$PWD/.build/protoc-gen-swift
  [ -d "$checkout" ] || swift package resolve
  swift build --package-path "$checkout" --scratch-path "$scratch" -c release --product protoc-gen-swift
  plugin=$scratch/release/protoc-gen-swift
fi

protoc --plugin=protoc-gen-swift="$plugin" --proto_path=protos \
  --swift_opt=Visibility=Public --swift_opt=UseAccessLevelOnImports=true \
  --swift_out=Sources/WireSchemas protos/*.proto
