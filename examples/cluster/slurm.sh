#!/bin/bash
# A search on Slurm: an array, each task with the same command. Change what stands behind CHANGE. Then:
#   sbatch slurm.sh
#
# The tasks share a database, and a folder that all nodes reach. Where there is no database server,
# --storage takes the path of a file of Optuna's journal in that folder, such as $SHARED/houses.log.
#
# The password in STORAGE is seen by whoever may list the processes of the node.
#
# Before the time of a task is over, or when it is preempted, Slurm sends SIGTERM: the worker hands its
# trials back, says so and ends with 130, and this script puts the task into the queue again.
#SBATCH --job-name=kerasreg-search
#SBATCH --array=0-7              # CHANGE: how many tasks; add %4 to have at most four at a time.
#SBATCH --cpus-per-task=8        # CHANGE
#SBATCH --mem=16G                # CHANGE
##SBATCH --gres=gpu:1            # CHANGE: without the first #, a GPU for each task.
#SBATCH --time=04:00:00          # CHANGE
#SBATCH --signal=B:TERM@120      # Two minutes before the end, to this script.
#SBATCH --requeue
#SBATCH --output=search-%A_%a.log
set -u

SHARED=${SHARED:-$HOME/search}                                             # CHANGE
STORAGE=${STORAGE:-postgresql://USER:PASSWORD@HOST/DATABASE}               # CHANGE
# A folder of its own each time that the task begins: what counts is in the database.
LOCAL=${TMPDIR:-/tmp}/${SLURM_JOB_ID:-0}_${SLURM_ARRAY_TASK_ID:-0}_${SLURM_RESTART_COUNT:-0}
mkdir -p "$SHARED" "$LOCAL"

# CHANGE: source the environment with `pip install "kerasreg[tensorflow,optuna]" "psycopg[binary]"`.
srun kerasreg search \
    --data="$SHARED/houses.csv" --target=price --trials=1000 \
    --workers="${SLURM_GPUS_ON_NODE:-1}" \
    --storage="$STORAGE" --artifacts="$SHARED/artifacts" \
    --output_dir="$LOCAL/houses" &
search=$!

stopped=
trap 'stopped=yes; kill -TERM "$search"' TERM
wait "$search"
code=$?
if [ -n "$stopped" ]; then
    # The trap has ended the first wait: now the trials are handed back.
    wait "$search"
    code=$?
    scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
fi
# One task has made the ensemble, the report and the export.
if [ -d "$LOCAL/houses/model/1" ]; then
    cp -r "$LOCAL/houses" "$SHARED/found"
fi
exit "$code"
