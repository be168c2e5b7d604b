"""Bag in, bag out: stamps, copies, storages and failures."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ros_doubles import ColourSegmentor, street

rosbags = pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")

from bag_doubles import (  # noqa: E402
    CAMERA,
    PERIOD,
    T0,
    camera_bag,
    image,
    read_bag,
    read_results,
    write_bag,
)

from ood_seg.perception.core.tracking import InstanceTracker  # noqa: E402
from ood_seg.perception.io.frames import is_bag  # noqa: E402
from ood_seg.ros import bags  # noqa: E402
from ood_seg.ros.bags import annotate  # noqa: E402
from ood_seg.ros.fields import Header  # noqa: E402
from ood_seg.ros.images import array_of  # noqa: E402

IMAGES = [street(seed=seed) for seed in range(4)]
OUTPUTS = ("labels", "anomaly", "anomaly_mask", "overlay", "objects")


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "png"])
def test_results_have_the_times_of_their_images(tmp_path, storage, encoding):
    source = camera_bag(tmp_path / "in", IMAGES, storage=storage, encoding=encoding)
    seen = []
    summary = annotate(
        source, tmp_path / "out", ColourSegmentor(), progress=lambda *done: seen.append(done)
    )
    assert (summary.topic, summary.frames, summary.failures) == (CAMERA, 4, ())
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    results = read_results(tmp_path / "out")
    stamps = [T0 + index * PERIOD for index in range(4)]
    for name in OUTPUTS:
        sent = results[f"/ood_seg/{name}"]
        assert [one.time for one in sent] == [stamp + 7_000_000 for stamp in stamps]
        heads = [one.message.header for one in sent]
        assert [head.stamp.sec * 10**9 + head.stamp.nanosec for head in heads] == stamps
        assert {head.frame_id for head in heads} == {"camera_optical"}
        assert summary.written[f"/ood_seg/{name}"] == 4
    for pixels, labels, mask in zip(
        IMAGES, results["/ood_seg/labels"], results["/ood_seg/anomaly_mask"], strict=True
    ):
        np.testing.assert_array_equal(array_of(labels.message), pixels[..., 0] % 3)
        np.testing.assert_array_equal(
            array_of(mask.message), np.where(pixels[..., 2] >= 200, 255, 0)
        )
    assert [one.time for one in results["/ood_seg/label_info"]] == [T0 + 7_000_000]
    assert [one.message.status[0].level for one in results["/diagnostics"]] == [0] * 4


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_everything_else_is_copied_byte_for_byte(tmp_path, storage):
    source = camera_bag(tmp_path / "in", IMAGES, storage=storage)
    annotate(source, tmp_path / "out", ColourSegmentor())
    before, after = read_bag(source), read_bag(tmp_path / "out")
    for topic in (CAMERA, "/note"):
        assert after[topic] == before[topic]
    assert len(before["/note"]) == 4


@pytest.mark.parametrize(("old", "new"), [("sqlite3", "mcap"), ("mcap", "sqlite3")])
def test_storage_can_be_changed(tmp_path, old, new):
    source = camera_bag(tmp_path / "in", IMAGES[:1], storage=old)
    for wanted, expected in ((None, old), (new, new)):
        target = tmp_path / f"out_{wanted}"
        annotate(source, target, ColourSegmentor(), storage=wanted)
        (file,) = (path for path in target.iterdir() if path.name != "metadata.yaml")
        assert file.name == target.name + (".mcap" if expected == "mcap" else ".db3")
        assert read_bag(target)["/note"] == read_bag(source)["/note"]
    with pytest.raises(ValueError, match="expected one of sqlite3, mcap, got 'hdf5'"):
        annotate(source, tmp_path / "other", ColourSegmentor(), storage="hdf5")


@pytest.mark.parametrize(("storage", "suffix"), [("sqlite3", ".db3"), ("mcap", ".mcap")])
def test_file_of_a_bag_is_a_bag(tmp_path, storage, suffix):
    source = camera_bag(tmp_path / "in", IMAGES, storage=storage) / f"in{suffix}"
    assert is_bag(source)
    assert annotate(source, tmp_path / "out", ColourSegmentor()).frames == 4
    assert (tmp_path / "out" / f"out{suffix}").is_file()


def test_results_without_the_recording(tmp_path):
    source = camera_bag(tmp_path / "in", IMAGES)
    summary = annotate(
        source,
        tmp_path / "out",
        ColourSegmentor(),
        copy=False,
        outputs=["objects"],
        namespace="/front",
    )
    assert set(read_bag(tmp_path / "out")) == {
        "/front/objects",
        "/front/label_info",
        "/diagnostics",
    }
    assert summary.written == {"/front/label_info": 1, "/front/objects": 4, "/diagnostics": 4}


def test_damaged_images_are_errors_and_the_others_are_analysed(tmp_path):
    covered = np.zeros_like(IMAGES[0])
    kind = "sensor_msgs/msg/Image"
    data = [image(IMAGES[0], T0), image(covered, T0 + 1), image(IMAGES[1], T0 + 2, "mono8")]
    data += [image(IMAGES[2], T0 + 3)[:-200], image(IMAGES[3], T0 + 4)]
    messages = [(CAMERA, kind, T0 + index, one) for index, one in enumerate(data)]
    source = write_bag(tmp_path / "in", messages)
    summary = annotate(source, tmp_path / "out", ColourSegmentor(), batch_size=2)
    assert summary.frames == 5
    assert [failure.index for failure in summary.failures] == [1, 2, 3]
    reasons = [failure.message for failure in summary.failures]
    assert "the lens is covered" in reasons[0]
    assert "got 'mono8'" in reasons[1]
    assert "damaged" in reasons[2]
    results = read_results_without_images(tmp_path / "out")
    assert [time - T0 for time, _ in results["/ood_seg/labels"]] == [0, 4]
    assert len(read_bag(tmp_path / "out")[CAMERA]) == 5
    levels = [message.status[0].level for _, message in results["/diagnostics"]]
    assert levels == [0, 2, 2, 2, 0]
    values = {pair.key: pair.value for pair in results["/diagnostics"][-1][1].status[0].values}
    assert (values["frames"], values["failures"]) == ("2", "3")
    # The damaged message has no header to read: its log time stands in.
    stamp = results["/diagnostics"][3][1].header.stamp
    assert (stamp.sec * 10**9 + stamp.nanosec) == T0 + 3


def read_results_without_images(path):
    from rosbags.highlevel import AnyReader

    found = {}
    with AnyReader([path]) as reader:
        chosen = [one for one in reader.connections if one.topic != CAMERA]
        for connection, time, data in reader.messages(chosen):
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((time, message))
    return found


def test_images_of_one_log_time_keep_their_order(tmp_path):
    kind = "sensor_msgs/msg/Image"
    for storage in ("sqlite3", "mcap"):
        messages = [(CAMERA, kind, T0, image(pixels, T0 + k)) for k, pixels in enumerate(IMAGES)]
        source = write_bag(tmp_path / storage, messages, storage=storage)
        annotate(source, tmp_path / f"{storage}_out", ColourSegmentor())
        results = read_results(tmp_path / f"{storage}_out")
        labels = {
            one.message.header.stamp.nanosec: one.message for one in results["/ood_seg/labels"]
        }
        for index, pixels in enumerate(IMAGES):
            np.testing.assert_array_equal(array_of(labels[index]), pixels[..., 0] % 3)


def test_tracks_reach_the_objects(tmp_path):
    source = camera_bag(tmp_path / "in", [IMAGES[0]] * 4)
    annotate(
        source,
        tmp_path / "out",
        ColourSegmentor(min_area=5),
        tracker=InstanceTracker(),
        outputs=["objects"],
    )
    sent = read_results(tmp_path / "out")["/ood_seg/objects"]
    ids = {found.id for one in sent for found in one.message.detections}
    assert len(ids) == 1
    assert ids != {""}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_an_interrupted_run_leaves_a_readable_part(tmp_path, storage, error):
    source = camera_bag(tmp_path / "in", IMAGES, storage=storage)

    def stop(done, total):
        if done == 2:
            raise error

    with pytest.raises(error):
        annotate(source, tmp_path / "out", ColourSegmentor(), progress=stop)
    assert not (tmp_path / "out").exists()
    done = read_bag(tmp_path / "out.part" / "out")
    assert len(done["/ood_seg/labels"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.part"]


def test_latency_of_a_bag_excludes_waiting():
    sent = []
    bag = SimpleNamespace(send=lambda topic, message, time: sent.append(message))
    segmentor = ColourSegmentor()
    (result,) = segmentor.stream(IMAGES[:1])
    latency = {"decode": 0.1, "predict": 0.2, "judge": 0.3, "total": 9.0}
    annotator = bags._Annotator(bag, segmentor, [], "/front", "model.onnx")
    annotator.add(replace(result, latency=latency), Header.at(T0), T0)
    (status,) = sent[-1].fields["status"]
    assert status.fields["name"] == "front: anomaly segmentation"
    values = {pair.fields["key"]: pair.fields["value"] for pair in status.fields["values"]}
    assert values["latency_mean_ms"] == values["latency_max_ms"] == "600.0"


def test_an_existing_topic_is_refused(tmp_path):
    source = camera_bag(tmp_path / "in", IMAGES[:1])
    annotate(source, tmp_path / "once", ColourSegmentor())
    with pytest.raises(ValueError, match=r"/ood_seg/\w+; .*--namespace"):
        annotate(tmp_path / "once", tmp_path / "twice", ColourSegmentor(), topic=CAMERA)
    annotate(
        tmp_path / "once", tmp_path / "twice", ColourSegmentor(), topic=CAMERA, namespace="/two"
    )
    # Diagnostics of both stand in one topic.
    assert len(read_bag(tmp_path / "twice")["/diagnostics"]) == 2


def test_types_of_other_packages_are_copied(tmp_path):
    """As Humble writes them: no definition, no hash; and as Jazzy does, with both."""
    import sqlite3

    other = "my_msgs/msg/Thing"
    definition = ("float64 x\n", "RIHS01_" + "7" * 64)
    messages = [
        ("/thing", other, T0, b"\0\1\0\0" + b"12345678"),
        (CAMERA, "sensor_msgs/msg/Image", T0 + 1, image(IMAGES[0], T0)),
    ]
    source = write_bag(tmp_path / "in", messages, definitions={other: definition})
    annotate(source, tmp_path / "jazzy", ColourSegmentor())
    with sqlite3.connect(tmp_path / "jazzy" / "jazzy.db3") as base:
        rows = base.execute(
            "SELECT encoded_message_definition, type_description_hash FROM message_definitions "
            "WHERE topic_type = ?",
            [other],
        ).fetchall()
    assert rows == [definition]
    with sqlite3.connect(source / "in.db3") as base:
        base.execute("DELETE FROM message_definitions")
        base.execute("UPDATE topics SET type_description_hash = ''")
    metadata = source / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(definition[1], "''"))
    annotate(source, tmp_path / "humble", ColourSegmentor())
    assert read_bag(tmp_path / "humble")["/thing"] == [(T0, b"\0\1\0\0" + b"12345678")]
    assert len(read_bag(tmp_path / "humble")["/ood_seg/labels"]) == 1
    assert "/ood_seg/labels" in read_results_without_things(tmp_path / "humble")


def read_results_without_things(path):
    from rosbags.highlevel import AnyReader

    with AnyReader([path]) as reader:
        return {one.topic for one in reader.connections}


def test_an_older_version_of_an_output_type_is_refused(tmp_path):
    kind = "vision_msgs/msg/Detection2DArray"
    old = ("std_msgs/Header header\n", "RIHS01_" + "1" * 64)
    messages = [
        ("/boxes", kind, T0, b"\0\1\0\0" + bytes(16)),
        (CAMERA, "sensor_msgs/msg/Image", T0 + 1, image(IMAGES[0], T0)),
    ]
    source = write_bag(tmp_path / "in", messages, definitions={kind: old})
    with pytest.raises(ValueError, match=f"{kind} in another version"):
        annotate(source, tmp_path / "out", ColourSegmentor())
    annotate(source, tmp_path / "alone", ColourSegmentor(), copy=False)
