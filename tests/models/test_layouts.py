"""Conversion of published layouts: same weights, same logits; anything unknown is refused."""

import subprocess
import sys

import published_networks as published
import published_small_networks as small
import pytest
import torch

from ood_seg.models.layouts import LAYOUTS, convert_checkpoint

WIDTHS = published.SMALL_WIDTHS
IMAGE = torch.randn(2, 3, 65, 97, generator=torch.Generator().manual_seed(1))


def wrapped(weights: dict, prefix: str, holder: str = "", **others) -> dict:
    """A checkpoint as the publishers save it."""
    weights = {prefix + key: value for key, value in weights.items()}
    return {holder: weights, **others} if holder else {**weights, **others}


def checkpoints() -> dict[str, tuple[dict, dict]]:
    """Weights and checkpoint of every layout, small where its names allow it."""
    random = published.random_weights
    nvidia = random(published.deep_wv3_plus_shapes(WIDTHS))
    pebal = random(published.deep_wv3_plus_shapes(WIDTHS, num_classes=20), seed=1)
    rpl = random(published.rpl_shapes(WIDTHS), seed=2)
    hybrid = random(published.dense_hybrid_shapes(WIDTHS), seed=3)
    erfnet, cgnet = random(small.erfnet_shapes(), seed=4), random(small.cgnet_shapes(), seed=5)
    criterion = {"criterion.nll_loss.weight": torch.ones(19)}
    training = {"optimizer": {"state": {}}, "epoch": 3}
    return {
        "nvidia": (nvidia, wrapped(nvidia | criterion, "module.", "state_dict", **training)),
        "pebal": (pebal, wrapped(pebal, "branch1.", "model", iteration=9, **training)),
        "rpl": (rpl, wrapped(rpl, "module.branch1.", "model", **training)),
        "densehybrid": (hybrid, wrapped(hybrid, "")),
        "erfnet": (erfnet, wrapped(erfnet, "module.")),
        "cgnet": (cgnet, wrapped(cgnet, "module.", "model", epoch=7)),
    }


CHECKPOINTS = checkpoints()
# What a decode head needs beside the small widths.
HEADS = {
    "nvidia": {},
    "pebal": {"num_classes": 20},
    "rpl": {"type": "ResidualPatternHead", "wraps": "DeepWV3PlusHead"},
    "densehybrid": {"type": "DenseHybridHead"},
}


def build(head: dict, energy_head: dict | None = None):
    """A small `OODEncoderDecoder` of our WideResNet38 parts."""
    pytest.importorskip("mmseg")
    from mmengine.config import ConfigDict
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    import ood_seg.register  # noqa: F401

    init_default_scope("mmseg")
    backbone = {"stem_channels": WIDTHS["stem"], "channels": WIDTHS["mods"]}
    decode_head = {
        "type": "DeepWV3PlusHead",
        "in_channels": (WIDTHS["mods"][0][-1], WIDTHS["mods"][-1][-1]),
        "channels": WIDTHS["head"],
        "low_channels": WIDTHS["low"],
        "num_classes": 19,
    }
    config = {
        "type": "OODEncoderDecoder",
        "backbone": {"type": "WideResNet38", "num_blocks": WIDTHS["blocks"], **backbone},
        "decode_head": decode_head | head,
        "energy_head": energy_head,
        "test_cfg": {"mode": "whole"},
    }
    return MODELS.build(ConfigDict(config))


def shipped_config(name: str):
    pytest.importorskip("mmseg")
    from mmengine.config import Config

    from ood_seg.config_files import resolve_config
    from ood_seg.startup import prepare

    prepare()
    return Config.fromfile(resolve_config(name))


def build_shipped(name: str):
    """The model of a shipped config."""
    config = shipped_config(name)
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    init_default_scope("mmseg")
    return MODELS.build(config.model)


def logits_of(model, checkpoint: dict, images: torch.Tensor) -> torch.Tensor:
    """Logits at the images' size after a strict load of the converted weights."""
    result = model.load_state_dict(convert_checkpoint(checkpoint).state_dict, strict=True)
    assert not result.missing_keys
    assert not result.unexpected_keys
    size = images.shape[2:]
    metas = [{"img_shape": size, "ori_shape": size, "pad_shape": size}] * len(images)
    with torch.no_grad():
        return model.eval().encode_decode(images, metas)


def assert_equal_logits(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("name", HEADS)
def test_wide_resnet_gives_the_published_logits_at_an_odd_size(name):
    weights, checkpoint = CHECKPOINTS[name]
    ours = logits_of(build(HEADS[name]), checkpoint, IMAGE)
    with torch.no_grad():
        theirs = torch.cat(published.deep_wv3_plus(weights, IMAGE), dim=1)
    assert theirs.shape[1] == {"pebal": 20, "rpl": 38, "densehybrid": 21}.get(name, 19)
    assert_equal_logits(ours, theirs)


def test_cgnet_gives_the_published_logits_at_an_odd_size():
    weights, checkpoint = CHECKPOINTS["cgnet"]
    ours = logits_of(build_shipped("energy_fcn-cgnet_cityscapes"), checkpoint, IMAGE)
    with torch.no_grad():
        assert_equal_logits(ours, small.cgnet(weights, IMAGE))


def test_erfnet_gives_the_published_logits_where_the_original_runs():
    weights, checkpoint = CHECKPOINTS["erfnet"]
    model = build_shipped("energy_erfnet-original_cityscapes")
    with torch.no_grad():
        expected = small.erfnet(weights, IMAGE[:, :, :64, :96])
    assert_equal_logits(logits_of(model, checkpoint, IMAGE[:, :, :64, :96]), expected)
    # The original takes sizes divisible by 8 alone; the config pads the others to such a size.
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        small.erfnet(weights, IMAGE)
    data = model.data_preprocessor({"inputs": [IMAGE[0]], "data_samples": [sample_of(IMAGE[0])]})
    assert data["inputs"].shape[2:] == (72, 104)
    with torch.no_grad():
        (result,) = model.predict(data["inputs"], data["data_samples"])
        padded = small.erfnet(weights, data["inputs"])[:, :19, :65, :97]
    assert_equal_logits(result.seg_logits.data, padded[0])


@pytest.mark.parametrize("name", HEADS)
def test_shipped_configs_give_the_published_score(name):
    weights, checkpoint = CHECKPOINTS[name]
    conversion = convert_checkpoint(checkpoint)
    config = shipped_config(conversion.layout.configs[conversion.num_channels])
    model = build(HEADS[name], config.model.energy_head)
    model.load_state_dict(conversion.state_dict, strict=True)
    images = IMAGE[:1]
    with torch.no_grad():
        (result,) = model.eval().predict(images)
        maps = published.deep_wv3_plus(weights, images)
    if name == "densehybrid":
        score = maps[1].softmax(dim=1)[:, 1].log() - maps[0].logsumexp(dim=1)
    else:
        score = -maps[-1][:, :19].logsumexp(dim=1)
        # The released 7-tap kernel, as it prints its weights.
        half = torch.tensor([0.00443305, 0.05400558, 0.24203622])
        kernel = torch.cat([half, torch.tensor([0.39905027]), half.flip(0)])
        padded = torch.nn.functional.pad(score[:, None], (3, 3, 3, 3), mode="reflect")
        score = torch.nn.functional.conv2d(padded, torch.outer(kernel, kernel)[None, None])[:, 0]
    assert (result.pred_anomaly.data - score).abs().max() <= 1e-4 * score.abs().max()
    labels = maps[0][:, :19].argmax(dim=1)
    assert (result.pred_sem_seg.data == labels).float().mean() > 0.999


def sample_of(image: torch.Tensor):
    from mmseg.structures import SegDataSample

    size = tuple(image.shape[1:])
    return SegDataSample(metainfo={"ori_shape": size, "img_shape": size})


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_weight_arrives_once_and_unchanged(name):
    weights, checkpoint = CHECKPOINTS[name]
    conversion = convert_checkpoint(checkpoint)
    assert conversion.layout.name == name
    kept = {k: v for k, v in weights.items() if "encoder.output_conv" not in k}
    kept = {k: v for k, v in kept.items() if "proj_head" not in k}
    assert len(conversion.state_dict) == len(kept) + len(conversion.added)
    arrived = {tensor.data_ptr() for tensor in conversion.state_dict.values()}
    assert {tensor.data_ptr() for tensor in kept.values()} <= arrived


def test_dropped_and_added_keys_are_reported():
    left_out = {name: convert_checkpoint(c).dropped for name, (_, c) in CHECKPOINTS.items()}
    assert left_out == {
        "nvidia": ("optimizer", "epoch", "module.criterion.nll_loss.weight"),
        "pebal": ("iteration", "optimizer", "epoch"),
        "rpl": (
            "optimizer",
            "epoch",
            "module.branch1.residual_block.proj_head.proj.0.weight",
            "module.branch1.residual_block.proj_head.proj.0.bias",
        ),
        "densehybrid": (),
        "erfnet": ("module.encoder.output_conv.weight", "module.encoder.output_conv.bias"),
        "cgnet": ("epoch",),
    }
    added = {name: convert_checkpoint(c).added for name, (_, c) in CHECKPOINTS.items()}
    assert {name: keys for name, keys in added.items() if keys} == {
        "cgnet": ("decode_head.conv_seg.bias",)
    }


def test_channels_are_counted_where_the_classifier_has_them():
    counts = {n: convert_checkpoint(c).num_channels for n, (_, c) in CHECKPOINTS.items()}
    expected = {"nvidia": 19, "pebal": 20, "rpl": 19, "densehybrid": 19, "erfnet": 20, "cgnet": 19}
    assert counts == expected


def test_conversion_does_not_change_the_checkpoint():
    _, checkpoint = CHECKPOINTS["pebal"]
    keys = list(checkpoint["model"])
    convert_checkpoint(checkpoint)
    assert list(checkpoint["model"]) == keys


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_keys_without_a_place_are_listed(name):
    _, checkpoint = CHECKPOINTS[name]
    holder = next((h for h in ("state_dict", "model") if h in checkpoint), None)
    weights = checkpoint[holder] if holder else checkpoint
    extra = {f"extra{index}.weight": torch.zeros(1) for index in range(7)}
    spoiled = {holder: weights | extra} if holder else weights | extra
    with pytest.raises(ValueError) as caught:
        convert_checkpoint(spoiled, origin="x.pth")
    message = str(caught.value)
    assert message.startswith(f"x.pth looks like {convert_checkpoint(checkpoint).layout.title}")
    assert "7 of its" in message
    assert message.endswith(", ".join(list(extra)[:5]) + ", ...")


def test_layouts_need_torch_alone():
    program = (
        "import sys\n"
        "for name in ('mmseg', 'mmengine', 'mmcv', 'rich'): sys.modules[name] = None\n"
        "import ood_seg.models.layouts"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_foreign_weights_are_refused_with_their_first_keys():
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    with pytest.raises(ValueError) as caught:
        convert_checkpoint(state, origin="x.pth")
    message = str(caught.value)
    assert "7 unmatched keys: 0.weight, 0.bias, 1.weight, 1.bias, 1.running_mean, ..." in message
    for layout in LAYOUTS:
        assert layout.title in message


def test_converted_weights_are_refused_a_second_time():
    _, checkpoint = CHECKPOINTS["nvidia"]
    converted = {"state_dict": convert_checkpoint(checkpoint).state_dict}
    with pytest.raises(ValueError, match=r"mmsegmentation.*backbone\.mod1"):
        convert_checkpoint(converted)


def test_checkpoints_without_weights_classifier_or_order_are_refused():
    with pytest.raises(ValueError, match=r"holds no weights.*'epoch'"):
        convert_checkpoint({"epoch": 3})
    weights, _ = CHECKPOINTS["nvidia"]
    headless = {key: value for key, value in weights.items() if key != "final.6.weight"}
    with pytest.raises(ValueError, match="classifier"):
        convert_checkpoint(headless)
    twice = weights | {"module.mod1.conv1.weight": weights["mod1.conv1.weight"]}
    with pytest.raises(ValueError, match="twice"):
        convert_checkpoint(twice)
