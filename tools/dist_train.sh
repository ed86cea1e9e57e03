#!/usr/bin/env bash
# dist_train.sh CONFIG GPUS [flags of train.py]
# GPUS is the number of processes on this machine; without GPUs they share the CPU (gloo).
# Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT. The interpreter: PYTHON.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
