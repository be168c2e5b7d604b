# Start of the fine-tuning configs on CGNet, evaluated at the size that its weights are used at.
_base_ = [
    "../models/cgnet_cityscapes.py",
    "../datasets/evaluation_1024x512.py",
    "../default_runtime.py",
]
load_from = "{{$OOD_SEG_DATA:data}}/weights/cgnet_m3n21_cityscapes_train_mmseg.pth"
