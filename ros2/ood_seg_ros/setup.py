"""Build of the ament_python package `ood_seg_ros`."""

from glob import glob

from setuptools import setup

NAME = "ood_seg_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.xml")),
        (f"share/{NAME}/config", glob("config/*.yaml")),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    description="ROS 2 node of ood-seg",
    license="Apache-2.0",
    entry_points={"console_scripts": [f"anomaly_node = {NAME}.node:main"]},
)
