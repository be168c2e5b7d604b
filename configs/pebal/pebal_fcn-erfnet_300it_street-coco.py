"""ERFNet fine-tuned with pasted COCO objects under PEBAL's losses, on a CPU."""

_base_ = ["../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py"]
model = dict(
    decode_head=dict(num_classes=20),  # the last one is the abstention
    closed_set_loss=False,  # the abstention loss holds it
    energy_head=dict(
        num_classes=19,
        losses=[
            dict(type="AbstentionLoss", outlier_weight=0.1, loss_weight=1.0),
            # With 0.05, as beside a cross entropy, all energies fall to zero: abstaining pays most
            # there, and nothing else in these losses holds the logits up.
            dict(type="EnergyLoss", margin_in=-12.0, margin_out=2.0, loss_weight=0.5),
            # 0.5 times the released 5e-4 and 3e-6: they are terms of the energy loss there.
            dict(type="SparsityLoss", loss_weight=2.5e-4),
            dict(type="SmoothnessLoss", loss_weight=1.5e-6),
        ],
    ),
)
