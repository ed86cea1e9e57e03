#!/usr/bin/env bash
# dist_test.sh CONFIG CHECKPOINT GPUS [flags of test.py]
# GPUS is the number of processes on this machine; without GPUs they share the CPU (gloo).
# Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT. The interpreter: PYTHON.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
shift 3
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
