#!/bin/sh
# From the data folder to the weights that ship: see README.md beside this file.
set -eu
data=${1:?the folder with outfits/, outfits-tags/, fashion/ and grocery/} out=${2:?a folder for views and weights, 40 GB}
here=$(dirname "$0") python=${PYTHON:-python}
export OMP_NUM_THREADS=1

"$python" "$here/views.py" --data "$data" --out "$out/views" --passes 48 --late 16
for seed in 0 1; do
    "$python" "$here/train.py" --views "$out/views" --out "$out/first-$seed.pt" --as-teacher --seed $seed \
        --steps "${FIRST_STEPS:-2500}"
done
"$python" "$here/pseudo.py" --data "$data" --teacher "$out/first-0.pt" --teacher "$out/first-1.pt" --out "$out/masks"

"$python" "$here/views.py" --data "$data" --pseudo "$out/masks" --out "$out/more-views" --passes 24 --late 12
for part in "" --without-aside; do
    "$python" "$here/train.py" --views "$out/more-views" --out "$out/teacher$part.pt" $part \
        --as-teacher --steps "${TEACHER_STEPS:-2600}"
    "$python" "$here/train.py" --views "$out/more-views" --out "$out/student$part.pt" $part \
        --teacher "$out/teacher$part.pt" --steps "${STEPS:-3400}"
done
"$python" "$here/export.py" --data "$data" --weights "$out/student.pt" --without-aside "$out/student--without-aside.pt"
