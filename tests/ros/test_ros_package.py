"""The node's program and the files of its package."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ElementTree

import pytest
from ros_doubles import ColourSegmentor

pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")

import fake_ros


def test_main_runs_and_cleans_up(monkeypatch):
    seen = fake_ros.install(monkeypatch, {"model": "model.onnx"})
    from ood_seg_ros import node

    monkeypatch.setattr(node, "_load", lambda model, runtime: ColourSegmentor())

    def interrupt(ros):
        raise KeyboardInterrupt

    seen.spin = interrupt
    assert node.main() == 0
    assert seen.spun == 1
    assert seen.shut_down
    assert seen.nodes[0].destroyed
    assert seen.nodes[0].name == "ood_seg"


def test_main_without_a_model(monkeypatch):
    seen = fake_ros.install(monkeypatch)
    from ood_seg_ros import node

    assert node.main() == 1
    assert seen.nodes[0].logged == [
        ("fatal", "model: expected the path of an exported .onnx file, got none")
    ]
    assert seen.spun == 0
    assert seen.shut_down


def test_node_imports_without_ros():
    source = (fake_ros.NODE_FOLDER / "ood_seg_ros" / "node.py").read_text()
    top = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in top}
    assert not any(name.split(".")[0] in ("rclpy", "rcl_interfaces") for name in names)


def test_package_files_agree(monkeypatch):
    fake_ros.install(monkeypatch)
    from ood_seg_ros import node

    folder = fake_ros.NODE_FOLDER
    package = ElementTree.parse(folder / "package.xml").getroot()
    assert package.attrib["format"] == "3"
    assert package.findtext("name") == "ood_seg_ros"
    assert package.findtext("export/build_type") == "ament_python"
    assert (folder / "resource" / "ood_seg_ros").is_file()
    depends = {element.text for element in package.findall("exec_depend")}
    assert {"rclpy", "rcl_interfaces", *fake_ros.PACKAGES} <= depends
    launch = ElementTree.parse(folder / "launch" / "ood_seg.launch.xml").getroot()
    arguments = {element.attrib["name"] for element in launch.findall("arg")}
    assert arguments == {"model", "image", "image_transport", "name", "config"}
    given = {one.attrib["name"] for one in launch.iter("param") if "name" in one.attrib}
    assert given == {"model", "image_transport"}
    assert {one.attrib["from"] for one in launch.iter("remap")} == {
        topic for topic, _ in node.TRANSPORTS.values()
    }
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((folder / "config" / "ood_seg.yaml").read_text())
    parameters = config["/**"]["ros__parameters"]
    defaults = {name: default for name, (default, _) in node.PARAMETERS.items()}
    assert parameters == {"runtime": "onnxruntime", **defaults}
    assert {**parameters, **dict.fromkeys(given)}.keys() == {
        *node.PARAMETERS,
        *node.FIXED_PARAMETERS,
    }
