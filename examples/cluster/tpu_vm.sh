#!/bin/bash
# A search on Cloud TPU VMs: each has one host, and runs the same program for its own cores. Change what
# stands behind CHANGE. Then:
#   bash tpu_vm.sh search.py
#
# search.py is a program of yours with a `kerasreg.tuners.VectorizedStudySearch` that has
# `storage=os.environ["STORAGE"]`, `artifacts=os.environ["ARTIFACTS"]` and
# `devices=keras.distribution.list_devices()`, which divides lanes over the cores of the host. `kerasreg
# search` itself needs TensorFlow, whose lanes do not run on TPUs.
#
# Nobody has run this on a TPU: docs/scaling.md says what was run on what.
set -eu

PROGRAM=$1
NAME=${NAME:-kerasreg-search}
HOSTS=${HOSTS:-2}                                                  # CHANGE: how many TPU VMs.
ZONE=${ZONE:-europe-west4-a}                                       # CHANGE
TYPE=${TYPE:-v5litepod-8}                                          # CHANGE: a type that has one host.
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}                            # CHANGE: it depends on the type.
ARTIFACTS=${ARTIFACTS:-gs://BUCKET/search}                         # CHANGE
STORAGE=${STORAGE:-postgresql://USER:PASSWORD@HOST/DATABASE}       # CHANGE

on_host() {
    gcloud compute tpus tpu-vm ssh "$NAME-$1" --zone="$ZONE" --command="$2"
}

delete_all() {
    for host in $(seq "$HOSTS"); do
        gcloud compute tpus tpu-vm delete "$NAME-$host" --zone="$ZONE" --quiet || true
    done
}

# What was begun is billed until it is deleted, also where the search fails.
trap delete_all EXIT
for host in $(seq "$HOSTS"); do
    gcloud compute tpus tpu-vm create "$NAME-$host" --zone="$ZONE" --accelerator-type="$TYPE" \
        --version="$RUNTIME" --spot
    gcloud compute tpus tpu-vm scp "$PROGRAM" "$NAME-$host:search.py" --zone="$ZONE"
    on_host "$host" \
        'pip install "kerasreg[optuna,artifacts]" "jax[tpu]" gcsfs "psycopg[binary]"'
done

# A VM that is taken away does not end the search: the trials are taken over by the others.
searches=()
for host in $(seq "$HOSTS"); do
    on_host "$host" "KERAS_BACKEND=jax STORAGE='$STORAGE' ARTIFACTS='$ARTIFACTS' python search.py" &
    searches+=($!)
done
failed=0
for search in "${searches[@]}"; do
    wait "$search" || failed=$((failed + 1))
done
# As long as one of them has come to the end, the search has.
[ "$failed" -lt "$HOSTS" ]
