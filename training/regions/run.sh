#!/bin/sh
# From the data folder to the head that ships: see README.md beside this file.
set -eu
data=${1:?the folder with outfits/ and fashion/} out=${2:?a folder for views and weights, 16 GB}
here=$(dirname "$0") python=${PYTHON:-python}
export OMP_NUM_THREADS=1

"$python" "$here/views.py" --data "$data" --out "$out/views"
for part in "" --without-aside; do
    "$python" "$here/train.py" --views "$out/views" --out "$out/teacher$part.pt" $part \
        --as-teacher --steps "${TEACHER_STEPS:-2800}"
    "$python" "$here/train.py" --views "$out/views" --out "$out/head$part.pt" $part \
        --teacher "$out/teacher$part.pt" --steps "${STEPS:-2700}"
done
"$python" "$here/export.py" --data "$data" --weights "$out/head.pt" --without-aside "$out/head--without-aside.pt"
