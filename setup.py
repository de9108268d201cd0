# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Setup of the Python package, with its launch files, configuration and index entry for ROS."""

from glob import glob

from setuptools import find_packages, setup

NAME = "minkowski_perception"

setup(
    name=NAME,
    version="0.2.0",
    description="Label every point of LiDAR and depth clouds, in ROS 2 and in Python",
    author="The minkowski_perception authors",
    author_email="maintainers@minkowski-perception.example",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: [
            "py.typed",
            "label_sets/*.yaml",
            "node/fastdds.xml",
            "report/assets/*",
            "lab/simulation/sensors/*/*.yaml",
            "weights/*.yaml",
            "weights/*.safetensors",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
        (f"share/{NAME}/config", [*glob("config/*.*"), f"{NAME}/node/fastdds.xml"]),
        (f"share/{NAME}/config/security", glob("config/security/*.xml")),
    ],
    zip_safe=False,
    install_requires=["numpy", "pyyaml", "safetensors", "scipy", "torch>=2.5", "tqdm"],
    # docs/dependencies.md explains each.
    extras_require={
        "bags": ["pointcloud2", "rosbags"],
        "datasets": ["trimesh"],
        "kiss-icp": ["kiss-icp"],
        "las": ["laspy[lazrs]"],
        "numba": ["numba"],
        "pictures": ["matplotlib"],
        "ray": ["ray"],
        "rerun": ["rerun-sdk>=0.23"],
        "simulation": [
            "open3d-cpu; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "open3d; sys_platform != 'linux' or platform_machine != 'x86_64'",
            "libusb-package; sys_platform == 'linux'",
        ],
        "ros": [
            "ros-builtin-interfaces",
            "ros-diagnostic-msgs",
            "ros-nav-msgs",
            "ros-rcl-interfaces",
            "ros-rclpy",
            "ros-rmw-fastrtps-cpp",
            "ros-sensor-msgs",
            "ros-std-msgs",
            "ros-std-srvs",
            "ros-visualization-msgs",
        ],
        "spconv": ["spconv"],
        "spconv-triton": ["spconv-triton"],
        "triton": ["triton"],
        "tensorboard": ["tensorboard"],
        "test": ["hypothesis", "pytest", "pytest-xdist"],
        "dev": ["colcon-common-extensions", "colcon-ros", "mypy", "ruff"],
    },
    entry_points={
        "console_scripts": [
            f"minkowski-perception = {NAME}.commands.main:main",
            f"perception_node = {NAME}.node.start:main",
            f"player = {NAME}.node.player:main",
            f"recorder = {NAME}.node.recorder:main",
            f"view_frame = {NAME}.node.view_frame:main",
        ],
    },
)
