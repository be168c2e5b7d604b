#!/usr/bin/env bash
# Decisions on your own copies of Road Anomaly and Fishyscapes Static, before and after training:
#
#     tools/gallery.sh energy_fcn-erfnet_cityscapes [CONFIG CHECKPOINT]
#
# Writes work_dirs/gallery/SET/decisions.png and report.html with twelve images of each set: those of
# the lowest, the middle and the highest AP. Such images may not be redistributed.
set -euo pipefail
data=${OOD_SEG_DATA:-data} out=${GALLERY:-work_dirs/gallery}
before=${1:?name the config of the model before training}
sets=(road_anomaly fs_static)
declare -A truth=([road_anomaly]=$data/road_anomaly/RoadAnomaly_jpg/frames
  [fs_static]=$data/fs_static/labels_masks)
declare -A images=([road_anomaly]=${truth[road_anomaly]} [fs_static]=$data/fs_static/images)
declare -A labels=([road_anomaly]="0:0 2:1" [fs_static]="0:0 1:1")

evaluate() { # NAME CONFIG [CHECKPOINT]
  local name=$1
  ood-seg test "${@:2}" --sets "${sets[@]}" --work-dir "$out/$name" --out "$out/$name/maps"
  for set in "${sets[@]}"; do
    # shellcheck disable=SC2086
    ood-seg evaluate "$out/$name/maps/$set" "${truth[$set]}" --label-map ${labels[$set]} \
      --method "$name" --dataset "$set" --images "${images[$set]}" --out "$out/$name/$set"
  done
}

evaluate before "$before"
names=(before)
if [ $# -gt 1 ]; then
  evaluate after "${@:2}"
  names=(after before)
fi
for set in "${sets[@]}"; do
  evaluations=("${names[@]/#/$out/}")
  ood-seg report "${evaluations[@]/%//$set}" --out "$out/$set"
done
