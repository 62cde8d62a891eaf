#!/bin/sh
# From the data folder to the head that ships: see README.md beside this file.
set -eu
data=${1:?the folder with outfits/ and fashion/} out=${2:?a folder for checkpoints}
here=$(dirname "$0") python=${PYTHON:-python}
# One thread each: making batches and learning from them are two processes.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

"$python" "$here/train.py" --data "$data" --out "$out" --epochs "${EPOCHS:-28}" --seed "${SEED:-0}"
"$python" "$here/export.py" --data "$data" --checkpoint "$out/checkpoint.pt"
