#!/bin/sh
# How a model's volumes agree with the experts' on cases it never saw, and the pictures of docs/models.md.
#
#     sh benchmarks/agreement.sh DATA [MODEL] [PICTURES]
#
# DATA holds covid10_linear and medseg_ggo_consolidation. The tables go to PICTURES/tables.
set -eu
data=$1
model=${2:-best}
pictures=${3:-docs/images}
for set in covid10_linear medseg_ggo_consolidation; do
    tables=$pictures/tables/$set
    dicomnode evaluate "$model" --data "$data/$set" --cross-validate --tables "$tables" > /dev/null
    echo "$set, cases that $model never saw"
    dicomnode agree "$tables/reference.csv" "$tables/prediction.csv" --out "$pictures/$set"
done
