#!/usr/bin/env bash
# slurm_train.sh PARTITION JOB CONFIG [flags of train.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS from the environment; GPUS_PER_NODE=0 asks for none. The interpreter: PYTHON.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
PARTITION=$1
JOB=$2
CONFIG=$3
shift 3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
TASKS_PER_NODE=$((GPUS_PER_NODE > 0 && GPUS_PER_NODE < GPUS ? GPUS_PER_NODE : GPUS))
GRES=()
if [ "$GPUS_PER_NODE" -gt 0 ]; then
    GRES=(--gres="gpu:$TASKS_PER_NODE")
fi
# shellcheck disable=SC2086
exec srun --partition="$PARTITION" --job-name="$JOB" ${GRES[@]+"${GRES[@]}"} --ntasks="$GPUS" --ntasks-per-node="$TASKS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$CONFIG" --launcher slurm "$@"
