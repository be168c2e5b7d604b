"""ERFNet fine-tuned with pasted COCO objects under Meta-OoD's entropy loss, on a CPU."""

_base_ = ["../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py"]
model = dict(
    closed_set_loss=False,  # the loss holds it
    energy_head=dict(
        losses=[
            # 190 = 19 / (1 - 0.9): the cross entropy in it weighs 1, as in the other configs.
            dict(type="MetaOODLoss", outlier_weight=0.9, loss_weight=190.0),
        ],
    ),
)
