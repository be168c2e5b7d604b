# Start of every config on ERFNet: its weights in mmsegmentation's layout, evaluated at the size
# that they are trained for.
_base_ = [
    "../models/erfnet_cityscapes.py",
    "../datasets/evaluation_1024x512.py",
    "../default_runtime.py",
]
load_from = "{{$OOD_SEG_DATA:data}}/weights/erfnet_cityscapes_mmseg.pth"
