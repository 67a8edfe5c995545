#!/usr/bin/env bash
# The harness does not run this file. It looks in it for a line that begins with a command it knows, and starts that.
node adapter.mjs
