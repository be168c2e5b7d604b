"""`Refinement`: texts and configs, sources on disk, ONNX models, and what is refused."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ood_seg.refinement import Evidence, Refinement, layered, pooled

SIZE = (20, 30)


def scores(seed=0):
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)


def evidence(name="street", **given):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    labels = np.full(SIZE, 0, np.uint8)
    labels[:, 20:] = 13
    return Evidence(**{"image": image, "labels": labels, "name": name} | given)


def label_map():
    masks = np.zeros(SIZE, np.uint8)
    masks[2:9, 3:12], masks[5:18, 15:28] = 1, 7
    return masks


def run_lengths(mask):
    """Uncompressed COCO run lengths of a mask, by a loop."""
    counts, value, length = [], False, 0
    for pixel in mask.T.reshape(-1):
        if pixel != value:
            counts.append(length)
            value, length = pixel, 0
        length += 1
    return {"size": list(mask.shape), "counts": [*counts, length]}


def test_texts_dicts_and_json_give_the_same_steps():
    texts = ["segments,across=8+16,weight=0.3", "saliency=maps,weight=8,known=none,confident=-4"]
    dicts = [
        {"type": "segments", "across": [8, 16], "weight": 0.3},
        {"type": "saliency", "source": "maps", "weight": 8, "known": [], "confident": -4},
    ]
    refinement = Refinement.of(texts)
    for other in (dicts, [json.dumps(one) for one in dicts], refinement.record(), refinement):
        assert Refinement.of(other).record() == refinement.record()
    name = "Energy+segments(across=8+16,weight=0.3)+saliency(weight=8,known=none,confident=-4)"
    assert refinement.score_name("Energy") == name
    assert Refinement.of("segments").score_name("Energy") == "Energy+segments"
    assert Refinement.of("slivers").needs == {"labels"}


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("segment", r"'segment'.*segments.*did you mean 'segments'"),
        ("segments,wieght=1", r"'wieght'.*did you mean 'weight'"),
        ("segments,weight=2", r"weight: .*0 to 1, got 2"),
        ("segments,across=0", r"across: .*1 to 512, got 0"),
        ("segments,method=sam", r"method: .*watershed, slic, felzenszwalb, got 'sam'"),
        ("segments,weight", r"KEY=VALUE"),
        ("segments,weight=1,weight=0", r"each key once"),
        ("saliency=maps", r"weight: .*weight=8"),
        ("saliency=maps,weight=-1", r"weight: .*from 0, got -1"),
        ("boxes=found.json", r"weight"),
        ("slivers,width=1.5", r"width: .*integer"),
        ("masks=m.onnx,mean=1+2", r"mean: .*one number or three"),
        ('{"type": "masks"', r"not JSON"),
        ({"kind": "masks"}, r"NAME"),
        ([], r"at least one of segments"),
        (7, r"7"),
    ],
)
def test_a_wrong_specification_is_named(specification, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Refinement.of([specification] if specification == 7 else specification)


def test_steps_are_applied_in_their_order_and_change_nothing_given():
    values, found = scores(), evidence(saliency=np.full(SIZE, 0.5, np.float32), masks=label_map())
    before = values.copy()
    first = Refinement.of(["saliency,weight=4", "masks"])(values, found)
    raised = values + np.where(found.labels == 13, 0, 2).astype(np.float32)
    np.testing.assert_allclose(first, pooled(raised, layered(label_map()), keep=0), atol=1e-5)
    second = Refinement.of(["masks", "saliency,weight=4"])(values, found)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("kind", ["png", "png16", "npy", "stack", "rle", "annotations", "counts"])
def test_masks_of_every_format_are_the_same(kind, tmp_path):
    masks = label_map()
    each = [masks == 1, masks == 7]
    if kind.startswith("png"):
        cv2.imwrite(str(tmp_path / "street.png"), masks.astype(np.uint16 if "16" in kind else "u1"))
    elif kind in ("npy", "stack"):
        np.save(tmp_path / "street.npy", masks if kind == "npy" else np.stack(each))
    else:
        listed = [run_lengths(mask) for mask in each]
        if kind == "counts":
            coco = pytest.importorskip("pycocotools.mask")
            encoded = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in each]
            listed = [{**one, "counts": one["counts"].decode()} for one in encoded]
        if kind != "rle":
            listed = {"annotations": [{"segmentation": one} for one in listed]}
        (tmp_path / "street.json").write_text(json.dumps(listed))
    refinement = Refinement.of(f"masks={tmp_path}").open()
    found = refinement(scores(), evidence())
    np.testing.assert_array_equal(found, pooled(scores(), layered(masks), keep=0))


def test_overlapping_masks_are_averaged_with_the_smaller_on_top(tmp_path):
    whole, part = np.zeros((2, *SIZE), bool)
    whole[2:18, 2:28], part[4:8, 4:9] = True, True
    np.save(tmp_path / "street.npy", np.stack([part, whole]))
    found = Refinement.of(f"masks={tmp_path}")(scores(), evidence())
    values = scores()
    assert found[5, 5] == pytest.approx(values[part].mean(), abs=1e-6)
    assert found[3, 3] == pytest.approx(values[whole & ~part].mean(), abs=1e-6)
    np.testing.assert_array_equal(found[~whole], values[~whole])


def test_files_are_found_by_folder_then_by_the_last_part_of_the_name(tmp_path):
    for folder, level in (("a", 0), ("b", 255)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "0.png"), np.full(SIZE, level, np.uint8))
    cv2.imwrite(str(tmp_path / "b" / "1.png"), np.full(SIZE, 51, np.uint8))
    refine = Refinement.of(f"saliency={tmp_path},weight=10,known=none")
    for name, gain in (("a/0", 0), ("b/0", 10), ("drive/1", 2)):
        np.testing.assert_allclose(refine(scores(), evidence(name)) - scores(), gain, atol=1e-5)
    with pytest.raises(ValueError, match=r"several files.*0: .*a.0.png.*b.0.png"):
        refine(scores(), evidence("0"))


def test_what_a_mask_folder_lacks_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        Refinement.of(f"masks={tmp_path / 'absent'}").open()
    with pytest.raises(ValueError, match=rf"{tmp_path}.*\.png, \.npy, \.json"):
        Refinement.of(f"masks={tmp_path}").open()
    cv2.imwrite(str(tmp_path / "other.png"), label_map())
    with pytest.raises(ValueError, match=r"street: .*street\.png"):
        Refinement.of(f"masks={tmp_path}").open()(scores(), evidence())


@pytest.mark.parametrize("step", ["masks", "saliency"])
def test_another_size_a_colour_image_and_damage_are_refused(step, tmp_path):
    refine = Refinement.of(f"{step}={tmp_path}" + (",weight=1" if step == "saliency" else ""))
    file = tmp_path / "street.png"
    cv2.imwrite(str(file), label_map()[1:])
    with pytest.raises(ValueError, match=r"street.*19x30.*20x30"):
        refine(scores(), evidence())
    cv2.imwrite(str(file), np.dstack([label_map()] * 3))
    with pytest.raises(ValueError, match=r"street.*one channel"):
        refine(scores(), evidence())
    file.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"street.*not an image"):
        refine(scores(), evidence())


def test_bad_run_lengths_name_the_mask(tmp_path):
    content = [run_lengths(label_map() == 1), {"size": list(SIZE), "counts": [5, 5]}]
    (tmp_path / "street.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"mask 1: .*600 pixels.*10"):
        Refinement.of(f"masks={tmp_path}")(scores(), evidence())


def test_boxes_of_a_file(tmp_path):
    file = tmp_path / "boxes.json"
    boxes = [
        {"box": [0, 0, 30, 10], "known": True, "confidence": 0.5},
        {"box": [0, 0, 5, 5], "known": False},
    ]
    file.write_text(json.dumps({"drive/street": boxes, "empty": []}))
    refine = Refinement.of(f"boxes={file},weight=4,outside=1").open()
    change = refine(scores(), evidence("drive/street")) - scores()
    expected = np.full(SIZE, -1.0)
    expected[:10], expected[:5, :5] = -2, 0
    np.testing.assert_allclose(change, expected, atol=1e-5)
    np.testing.assert_allclose(refine(scores(), evidence("empty")), scores() - 1, atol=1e-5)
    with pytest.raises(ValueError, match=r"does not name the image 'absent'"):
        refine(scores(), evidence("absent"))
    for wrong, message in (
        ({"box": [0, 0, 5], "known": True}, "'box'"),
        ({"box": [0, 0, 5, -1], "known": True}, "'box'"),
        ({"box": [0, 0, 5, 1]}, "'known'"),
        ({"box": [0, 0, 5, 1], "known": True, "confidence": 2}, "'confidence'"),
    ):
        file.write_text(json.dumps({"street": [wrong]}))
        with pytest.raises(ValueError, match=rf"street: box 0: .*{message}"):
            Refinement.of(f"boxes={file},weight=4").open()


def test_maps_that_are_not_finite_and_missing_evidence_are_refused():
    refine, values = Refinement.of("segments"), scores()
    values[3, 4], values[0, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"street: .*2 of 600 .*NaN or infinite"):
        refine(values, evidence())
    with pytest.raises(ValueError, match=r"street: .*segments needs the image.*--images"):
        refine(scores(), evidence(image=None))
    with pytest.raises(ValueError, match=r"street: .*saliency needs the labels.*--predicted"):
        Refinement.of("saliency,weight=1")(scores(), evidence(labels=None))
    with pytest.raises(ValueError, match=r"image: expected 20x30.*19x30"):
        refine(scores(), evidence(image=evidence().image[1:]))
    with pytest.raises(ValueError, match=r"masks=PATH"):
        Refinement.of("masks")(scores(), evidence())
    with pytest.raises(ValueError, match=r"shape \(2, 20, 30\)"):
        refine(np.zeros((2, *SIZE), np.float32), evidence())


def brightness_model(path, *, shape=(1, 3, 16, 16), maps=1, gain=1.0, kind=None):
    """An ONNX model whose maps are the mean of the channels times `gain`."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    kind = kind or TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "gain"], ["one"]),
        helper.make_node("Concat", ["one"] * maps, ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, (1, maps, *shape[2:]))],
        [helper.make_tensor("gain", kind, (1,), [gain])],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))


def halves():
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, 15:] = 204
    return image


@pytest.mark.parametrize("shape", [(1, 3, 20, 30), (1, 3, "h", "w")])
def test_saliency_of_an_onnx_model(shape, tmp_path):
    pytest.importorskip("onnxruntime")
    brightness_model(tmp_path / "m.onnx", shape=shape)
    options = f"{tmp_path / 'm.onnx'},weight=10,known=none,mean=0,std=255,side=32"
    refine = Refinement.of(f"saliency={options}").open()
    change = refine(scores(), evidence(image=halves())) - scores()
    np.testing.assert_allclose(change[:, :13], 0, atol=1e-5)
    np.testing.assert_allclose(change[:, 17:], 8, atol=1e-5)


def test_masks_of_an_onnx_model(tmp_path):
    pytest.importorskip("onnxruntime")
    brightness_model(tmp_path / "m.onnx", shape=(1, 3, 20, 30), maps=2)
    refine = Refinement.of(f"masks={tmp_path / 'm.onnx'},mean=0,std=255").open()
    values = scores()
    found = refine(values, evidence(image=halves()))
    np.testing.assert_array_equal(found[:, :15], values[:, :15])
    np.testing.assert_allclose(found[:, 15:], values[:, 15:].mean(), atol=1e-6)


def test_a_model_with_another_input_or_output_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto

    path = tmp_path / "m.onnx"
    text = f"saliency={path},weight=1,known=none"
    for options in ({"shape": (1, 1, 16, 16)}, {"kind": TensorProto.DOUBLE}):
        brightness_model(path, **options)
        with pytest.raises(ValueError, match=r"m\.onnx: .*float32 \(1, 3, H, W\), got"):
            Refinement.of(text).open()
    brightness_model(path, maps=3)
    with pytest.raises(ValueError, match=r"street.*one saliency map, got 3"):
        Refinement.of(text)(scores(), evidence())
    brightness_model(path, gain=300.0)
    with pytest.raises(ValueError, match=r"street.*from 0 to 1"):
        Refinement.of(text)(scores(), evidence(image=halves()))
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"m\.onnx is not an ONNX model"):
        Refinement.of(text).open()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"m\.onnx does not exist"):
        Refinement.of(text).open()


def test_it_imports_without_torch_and_openmmlab():
    program = "import sys, ood_seg.refinement; print(sorted({'torch','mmseg'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def test_a_missing_scikit_image_is_named_with_its_extra(monkeypatch):
    from ood_seg.commands._errors import expected_message

    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ImportError) as caught:
        Refinement.of("segments,method=slic").open()
    message = expected_message(caught.value, "infer")
    assert "pip install 'ood-seg[refine]'" in message
    Refinement.of("segments").open()
