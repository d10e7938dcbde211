#!/bin/sh
# The variables of endpoint.json, unless the endpoint on RunPod sets them itself; then the worker.
. /opt/parts/variables.sh
exec "$@"
